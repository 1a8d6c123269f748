// Shows that the floating point environment belongs to the thread: rounding mode, x87 precision and mxcsr's
// flush-to-zero survive switches, do not leak into others, and a new thread inherits its creator's.
#include "check.h"

#include <fenv.h>
#include <float.h>
#include <math.h>
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

static const int modes[4] = {FE_TONEAREST, FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO};

static void* keep_environment(void* arg) {
  const int self = (int)(intptr_t)arg;
  const int mode = modes[self % 4];
  CHECK_EQ(fegetround(), FE_UPWARD);  // Main's.
  CHECK_EQ(fesetround(mode), 0);
#if defined(__x86_64__)
  const int flush = self % 2;
  _mm_setcsr((_mm_getcsr() & ~0x8040u) | (flush ? 0x8040u : 0));  // FTZ and DAZ.
  unsigned short control = 0;
  __asm__ volatile("fnstcw %0" : "=m"(control));
  const unsigned short precision = (unsigned short)((control & ~0x300) | (self % 3 == 0 ? 0x200 : 0x300));
  __asm__ volatile("fldcw %0" : : "m"(precision));
#endif
  for (unsigned step = 0; step < 80; step++) {
    stir(step + (unsigned)self);
    if (step % 40 == 39) compute(12 * 1000 * 1000);  // Long enough to be preempted.
    CHECK_EQ(fegetround(), mode);
    volatile double one = 1;
    CHECK_EQ(lrint(2.5 * one), mode == FE_UPWARD ? 3 : 2);
    CHECK_EQ(lrint(-2.5 * one), mode == FE_DOWNWARD ? -3 : -2);
#if defined(__x86_64__)
    CHECK_EQ(_mm_getcsr() & 0x8040u, flush ? 0x8040u : 0);
    volatile float tiny = FLT_MIN, half = 0.5f;
    CHECK_EQ(tiny * half != 0, !flush);
    __asm__ volatile("fnstcw %0" : "=m"(control));
    CHECK_EQ(control & 0x300, precision & 0x300);
#endif
  }
  return arg;
}

int main(void) {
  CHECK_EQ(fesetround(FE_UPWARD), 0);
  run_threads(24, keep_environment);
  CHECK_EQ(fegetround(), FE_UPWARD);
  run_threads(24, keep_environment);  // Recycled threads inherit too.
  return 0;
}
