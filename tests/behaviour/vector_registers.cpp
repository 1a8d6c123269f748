// Shows that every register survives preemption at any instruction: loops without calls hold their own pattern in the
// general registers, the flags, xmm, ymm or zmm and mask registers, and check it over and over.
#include "check.h"

#include <atomic>

#if defined(__x86_64__)
namespace {

constexpr int64_t kRounds = 60 * 1000 * 1000;

// Each loop returns the number of rounds left when it met a foreign value; 0 if it never did.
int64_t hold_general(uint64_t pattern) {
  int64_t left = kRounds;
  asm volatile(
      "mov %1, %%r8; mov %1, %%r9; mov %1, %%r10; mov %1, %%r11; mov %1, %%r12; mov %1, %%r13; mov %1, %%r14\n"
      "mov %1, %%r15; mov %1, %%rbx; mov %1, %%rsi; mov %1, %%rdi\n"
      "1: cmp %1, %%r8; jne 2f; cmp %1, %%r9; jne 2f; cmp %1, %%r10; jne 2f; cmp %1, %%r11; jne 2f\n"
      "cmp %1, %%r12; jne 2f; cmp %1, %%r13; jne 2f; cmp %1, %%r14; jne 2f; cmp %1, %%r15; jne 2f\n"
      "cmp %1, %%rbx; jne 2f; cmp %1, %%rsi; jne 2f; cmp %1, %%rdi; jne 2f\n"
      "mov %1, -16(%%rsp); cmp %1, -16(%%rsp); jne 2f; mov %1, -128(%%rsp); cmp %1, -128(%%rsp); jne 2f\n"
      "dec %0; jnz 1b\n"
      "2:\n"
      : "+c"(left)
      : "d"(pattern)
      : "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "rbx", "rsi", "rdi", "cc", "memory");
  return left;
}

// The carry and the direction flag; dec leaves the carry alone.
int64_t hold_flags() {
  int64_t left = kRounds;
  asm volatile(
      "std; stc\n"
      "1: jnc 2f; dec %0; jnz 1b\n"
      "pushfq; pop %%rax; test $0x400, %%eax; jnz 3f; mov $1, %0; jmp 3f\n"
      "2: nop\n"
      "3: cld\n"
      : "+c"(left)
      :
      : "rax", "cc", "memory");
  return left;
}

int64_t hold_xmm(const uint64_t* pattern) {
  int64_t left = kRounds;
  asm volatile(
      "movdqu (%1), %%xmm0; movdqa %%xmm0, %%xmm1; movdqa %%xmm0, %%xmm7; movdqa %%xmm0, %%xmm8\n"
      "movdqa %%xmm0, %%xmm15\n"
      "1: movdqa %%xmm0, %%xmm2; pcmpeqd %%xmm1, %%xmm2; movdqa %%xmm7, %%xmm3; pcmpeqd %%xmm8, %%xmm3\n"
      "pand %%xmm3, %%xmm2; movdqa %%xmm15, %%xmm3; pcmpeqd %%xmm0, %%xmm3; pand %%xmm3, %%xmm2\n"
      "movdqa %%xmm7, %%xmm3; pcmpeqd %%xmm0, %%xmm3; pand %%xmm3, %%xmm2\n"
      "pmovmskb %%xmm2, %%eax; cmp $0xffff, %%eax; jne 2f; dec %0; jnz 1b\n"
      "movdqu (%1), %%xmm2; pcmpeqd %%xmm0, %%xmm2; pmovmskb %%xmm2, %%eax; cmp $0xffff, %%eax; je 2f; mov $1, %0\n"
      "2:\n"
      : "+c"(left)
      : "r"(pattern)
      : "rax", "xmm0", "xmm1", "xmm2", "xmm3", "xmm7", "xmm8", "xmm15", "cc", "memory");
  return left;
}

[[gnu::target("avx2")]] int64_t hold_ymm(const uint64_t* pattern) {
  int64_t left = kRounds;
  asm volatile(
      "vmovdqu (%1), %%ymm0; vmovdqa %%ymm0, %%ymm1; vmovdqa %%ymm0, %%ymm9; vmovdqa %%ymm0, %%ymm15\n"
      "1: vpcmpeqd %%ymm0, %%ymm1, %%ymm2; vpcmpeqd %%ymm9, %%ymm15, %%ymm3; vpand %%ymm2, %%ymm3, %%ymm2\n"
      "vpcmpeqd %%ymm9, %%ymm0, %%ymm3; vpand %%ymm2, %%ymm3, %%ymm2\n"
      "vpmovmskb %%ymm2, %%eax; cmp $-1, %%eax; jne 2f; dec %0; jnz 1b\n"
      "vpcmpeqd (%1), %%ymm0, %%ymm2; vpmovmskb %%ymm2, %%eax; cmp $-1, %%eax; je 2f; mov $1, %0\n"
      "2: vzeroupper\n"
      : "+c"(left)
      : "r"(pattern)
      : "rax", "xmm0", "xmm1", "xmm2", "xmm3", "xmm9", "xmm15", "cc", "memory");
  return left;
}

[[gnu::target("avx512f,avx512bw")]] int64_t hold_zmm(const uint64_t* pattern) {
  int64_t left = kRounds;
  asm volatile(
      "vmovdqu64 (%1), %%zmm0; vmovdqa64 %%zmm0, %%zmm15; vmovdqa64 %%zmm0, %%zmm16; vmovdqa64 %%zmm0, %%zmm31\n"
      "kmovq (%1), %%k3; kmovq %%k3, %%k7\n"
      "1: vpcmpd $4, %%zmm0, %%zmm15, %%k1; vpcmpd $4, %%zmm16, %%zmm31, %%k2; kortestw %%k1, %%k2; jnz 2f\n"
      "vpcmpd $4, %%zmm0, %%zmm31, %%k1; kxorq %%k3, %%k7, %%k2; kortestq %%k1, %%k2; jnz 2f; dec %0; jnz 1b\n"
      "vpcmpd $4, (%1), %%zmm0, %%k1; kmovq (%1), %%k2; kxorq %%k2, %%k7, %%k2; kortestq %%k1, %%k2; jz 2f\n"
      "mov $1, %0\n"
      "2: vzeroupper\n"
      : "+c"(left)
      : "r"(pattern)
      : "xmm0", "xmm15", "cc", "memory");
  return left;
}

}  // namespace

int main() {
  static std::atomic<int> left;
  constexpr int kHolders = 10;
  left = kHolders;
  parallel(kHolders + 4, [](int index) {
    if (index >= kHolders) {  // The others that want the processor.
      for (unsigned step = 0; left > 0; step++) stir(step);
      return;
    }
    uint64_t pattern[8];
    for (int i = 0; i < 8; i++) pattern[i] = 0x0101010101010101u * static_cast<uint64_t>(17 + index * 8 + i);
    int64_t bad;
    if (index % 5 == 1) {
      bad = hold_general(pattern[0]);
    } else if (index % 5 == 2) {
      bad = hold_flags();
    } else if (index % 5 == 3 && __builtin_cpu_supports("avx2")) {
      bad = hold_ymm(pattern);
    } else if (index % 5 == 4 && __builtin_cpu_supports("avx512bw")) {
      bad = hold_zmm(pattern);
    } else {
      bad = hold_xmm(pattern);
    }
    if (bad != 0) check_fail(__FILE__, __LINE__, "thread %d: a register changed", index);
    left--;
  });
  return 0;
}
#else
int main() { SKIP("the register loops are written for x86-64"); }
#endif
