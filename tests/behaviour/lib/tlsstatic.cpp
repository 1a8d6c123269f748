// A library that demands static TLS (initial-exec model), loaded while threads live: ld.so must initialise the block
// of every thread there is.
extern "C" {
__attribute__((tls_model("initial-exec"))) static __thread int tlsstatic_number = 4321;
__attribute__((tls_model("initial-exec"))) static __thread int tlsstatic_zero;

__attribute__((visibility("default"))) int* tlsstatic_int() { return &tlsstatic_number; }
__attribute__((visibility("default"))) int* tlsstatic_other() { return &tlsstatic_zero; }
}
