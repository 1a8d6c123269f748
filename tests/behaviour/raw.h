// A system call by an instruction of the program's own. C++20.
#ifndef TESTS_BEHAVIOUR_RAW_H_
#define TESTS_BEHAVIOUR_RAW_H_

// The number stands in the instruction before, as in most programs: an interruption that is none of the program's can
// then be undone.
template <long number>
inline long raw(long a, long b, long c, long d) {
#if defined(__x86_64__)
  long result;
  register long r10 asm("r10") = d;
  register long r8 asm("r8") = 0;
  asm volatile("movl %[number], %%eax\n\tsyscall"
               : "=&a"(result)
               : [number] "i"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
               : "rcx", "r11", "memory");
  return result;
#elif defined(__aarch64__)
  register long x8 asm("x8") = number;
  register long x0 asm("x0") = a;
  register long x1 asm("x1") = b;
  register long x2 asm("x2") = c;
  register long x3 asm("x3") = d;
  register long x4 asm("x4") = 0;
  asm volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4) : "memory");
  return x0;
#endif
}

#endif
