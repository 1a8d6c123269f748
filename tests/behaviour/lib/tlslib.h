// The interface of libtlslib.so and of libtlsstatic.so: thread-local variables of a library.
#ifndef TESTS_BEHAVIOUR_LIB_TLSLIB_H_
#define TESTS_BEHAVIOUR_LIB_TLSLIB_H_

// An int that starts at 1234 in every thread.
using IntAddress = int* (*)();
// An object with a constructor and a destructor; the call counts its uses by this thread.
using Touch = int (*)();
// How many such objects live.
using Live = int (*)();

extern "C" {
int* tlslib_int();
char* tlslib_array();  // 10,000 bytes, zero at first.
int tlslib_touch();
int tlslib_live();
}

#endif  // TESTS_BEHAVIOUR_LIB_TLSLIB_H_
