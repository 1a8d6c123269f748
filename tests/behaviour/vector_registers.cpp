// Shows that every register survives preemption at any instruction: loops without calls hold their own pattern in the
// general registers, the flags, xmm, ymm or zmm and mask registers, and check it over and over.
#include "check.h"

#include <atomic>

#if defined(__x86_64__)
namespace {

constexpr int64_t kRounds = 60 * 5 * 1000 * 1000;

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
#elif defined(__aarch64__)
#include <sys/auxv.h>

namespace {

// Both return the number of rounds left when they met a foreign value; 0 if they never did.
// The general registers (x18 is the platform's, x29 the compiler's), each with a value of its own, and the carry.
int64_t hold_general(uint64_t pattern) {
  register int64_t left asm("x0") = 5 * 1000 * 1000;
  register uint64_t base asm("x19") = pattern;
  asm volatile(
      "add x2, x19, #2; add x3, x19, #3; add x4, x19, #4; add x5, x19, #5; add x6, x19, #6; add x7, x19, #7\n"
      "add x8, x19, #8; add x9, x19, #9; add x10, x19, #10; add x11, x19, #11; add x12, x19, #12; add x13, x19, #13\n"
      "add x14, x19, #14; add x15, x19, #15; add x16, x19, #16; add x17, x19, #17; add x20, x19, #20; add x21, x19, "
      "#21\n"
      "add x22, x19, #22; add x23, x19, #23; add x24, x19, #24; add x25, x19, #25; add x26, x19, #26; add x27, x19, "
      "#27\n"
      "add x28, x19, #28\n"
      "1: cmp x0, #0\n"  // sets the carry
      "sub x1, x2, x19; sub x1, x1, #2; cbnz x1, 2f; sub x1, x3, x19; sub x1, x1, #3; cbnz x1, 2f\n"
      "sub x1, x4, x19; sub x1, x1, #4; cbnz x1, 2f; sub x1, x5, x19; sub x1, x1, #5; cbnz x1, 2f\n"
      "sub x1, x6, x19; sub x1, x1, #6; cbnz x1, 2f; sub x1, x7, x19; sub x1, x1, #7; cbnz x1, 2f\n"
      "sub x1, x8, x19; sub x1, x1, #8; cbnz x1, 2f; sub x1, x9, x19; sub x1, x1, #9; cbnz x1, 2f\n"
      "sub x1, x10, x19; sub x1, x1, #10; cbnz x1, 2f; sub x1, x11, x19; sub x1, x1, #11; cbnz x1, 2f\n"
      "sub x1, x12, x19; sub x1, x1, #12; cbnz x1, 2f; sub x1, x13, x19; sub x1, x1, #13; cbnz x1, 2f\n"
      "sub x1, x14, x19; sub x1, x1, #14; cbnz x1, 2f; sub x1, x15, x19; sub x1, x1, #15; cbnz x1, 2f\n"
      "sub x1, x16, x19; sub x1, x1, #16; cbnz x1, 2f; sub x1, x17, x19; sub x1, x1, #17; cbnz x1, 2f\n"
      "sub x1, x20, x19; sub x1, x1, #20; cbnz x1, 2f; sub x1, x21, x19; sub x1, x1, #21; cbnz x1, 2f\n"
      "sub x1, x22, x19; sub x1, x1, #22; cbnz x1, 2f; sub x1, x23, x19; sub x1, x1, #23; cbnz x1, 2f\n"
      "sub x1, x24, x19; sub x1, x1, #24; cbnz x1, 2f; sub x1, x25, x19; sub x1, x1, #25; cbnz x1, 2f\n"
      "sub x1, x26, x19; sub x1, x1, #26; cbnz x1, 2f; sub x1, x27, x19; sub x1, x1, #27; cbnz x1, 2f\n"
      "sub x1, x28, x19; sub x1, x1, #28; cbnz x1, 2f\n"
      "b.cc 2f; sub x0, x0, #1; cbnz x0, 1b\n"
      "2:\n"
      : "+r"(left)
      : "r"(base)
      : "x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13", "x14", "x15", "x16", "x17",
        "x20", "x21", "x22", "x23", "x24", "x25", "x26", "x27", "x28", "cc", "memory");
  return left;
}

int64_t hold_vectors(uint64_t pattern) {
  register int64_t left asm("x0") = 5 * 1000 * 1000;
  register uint64_t base asm("x19") = pattern;
  asm volatile(
      "add x1, x19, #0; dup v0.2d, x1; add x1, x19, #1; dup v1.2d, x1; add x1, x19, #2; dup v2.2d, x1\n"
      "add x1, x19, #3; dup v3.2d, x1; add x1, x19, #4; dup v4.2d, x1; add x1, x19, #5; dup v5.2d, x1\n"
      "add x1, x19, #6; dup v6.2d, x1; add x1, x19, #7; dup v7.2d, x1; add x1, x19, #8; dup v8.2d, x1\n"
      "add x1, x19, #9; dup v9.2d, x1; add x1, x19, #10; dup v10.2d, x1; add x1, x19, #11; dup v11.2d, x1\n"
      "add x1, x19, #12; dup v12.2d, x1; add x1, x19, #13; dup v13.2d, x1; add x1, x19, #14; dup v14.2d, x1\n"
      "add x1, x19, #15; dup v15.2d, x1; add x1, x19, #16; dup v16.2d, x1; add x1, x19, #17; dup v17.2d, x1\n"
      "add x1, x19, #18; dup v18.2d, x1; add x1, x19, #19; dup v19.2d, x1; add x1, x19, #20; dup v20.2d, x1\n"
      "add x1, x19, #21; dup v21.2d, x1; add x1, x19, #22; dup v22.2d, x1; add x1, x19, #23; dup v23.2d, x1\n"
      "add x1, x19, #24; dup v24.2d, x1; add x1, x19, #25; dup v25.2d, x1; add x1, x19, #26; dup v26.2d, x1\n"
      "add x1, x19, #27; dup v27.2d, x1; add x1, x19, #28; dup v28.2d, x1; add x1, x19, #29; dup v29.2d, x1\n"
      "add x1, x19, #30; dup v30.2d, x1; add x1, x19, #31; dup v31.2d, x1\n"
      "1:\n"
      "mov x1, v0.d[0]; sub x1, x1, x19; sub x1, x1, #0; cbnz x1, 2f; mov x1, v1.d[1]; sub x1, x1, x19; sub x1, x1, "
      "#1; cbnz x1, 2f\n"
      "mov x1, v2.d[0]; sub x1, x1, x19; sub x1, x1, #2; cbnz x1, 2f; mov x1, v3.d[1]; sub x1, x1, x19; sub x1, x1, "
      "#3; cbnz x1, 2f\n"
      "mov x1, v4.d[0]; sub x1, x1, x19; sub x1, x1, #4; cbnz x1, 2f; mov x1, v5.d[1]; sub x1, x1, x19; sub x1, x1, "
      "#5; cbnz x1, 2f\n"
      "mov x1, v6.d[0]; sub x1, x1, x19; sub x1, x1, #6; cbnz x1, 2f; mov x1, v7.d[1]; sub x1, x1, x19; sub x1, x1, "
      "#7; cbnz x1, 2f\n"
      "mov x1, v8.d[0]; sub x1, x1, x19; sub x1, x1, #8; cbnz x1, 2f; mov x1, v9.d[1]; sub x1, x1, x19; sub x1, x1, "
      "#9; cbnz x1, 2f\n"
      "mov x1, v10.d[0]; sub x1, x1, x19; sub x1, x1, #10; cbnz x1, 2f; mov x1, v11.d[1]; sub x1, x1, x19; sub x1, x1, "
      "#11; cbnz x1, 2f\n"
      "mov x1, v12.d[0]; sub x1, x1, x19; sub x1, x1, #12; cbnz x1, 2f; mov x1, v13.d[1]; sub x1, x1, x19; sub x1, x1, "
      "#13; cbnz x1, 2f\n"
      "mov x1, v14.d[0]; sub x1, x1, x19; sub x1, x1, #14; cbnz x1, 2f; mov x1, v15.d[1]; sub x1, x1, x19; sub x1, x1, "
      "#15; cbnz x1, 2f\n"
      "mov x1, v16.d[0]; sub x1, x1, x19; sub x1, x1, #16; cbnz x1, 2f; mov x1, v17.d[1]; sub x1, x1, x19; sub x1, x1, "
      "#17; cbnz x1, 2f\n"
      "mov x1, v18.d[0]; sub x1, x1, x19; sub x1, x1, #18; cbnz x1, 2f; mov x1, v19.d[1]; sub x1, x1, x19; sub x1, x1, "
      "#19; cbnz x1, 2f\n"
      "mov x1, v20.d[0]; sub x1, x1, x19; sub x1, x1, #20; cbnz x1, 2f; mov x1, v21.d[1]; sub x1, x1, x19; sub x1, x1, "
      "#21; cbnz x1, 2f\n"
      "mov x1, v22.d[0]; sub x1, x1, x19; sub x1, x1, #22; cbnz x1, 2f; mov x1, v23.d[1]; sub x1, x1, x19; sub x1, x1, "
      "#23; cbnz x1, 2f\n"
      "mov x1, v24.d[0]; sub x1, x1, x19; sub x1, x1, #24; cbnz x1, 2f; mov x1, v25.d[1]; sub x1, x1, x19; sub x1, x1, "
      "#25; cbnz x1, 2f\n"
      "mov x1, v26.d[0]; sub x1, x1, x19; sub x1, x1, #26; cbnz x1, 2f; mov x1, v27.d[1]; sub x1, x1, x19; sub x1, x1, "
      "#27; cbnz x1, 2f\n"
      "mov x1, v28.d[0]; sub x1, x1, x19; sub x1, x1, #28; cbnz x1, 2f; mov x1, v29.d[1]; sub x1, x1, x19; sub x1, x1, "
      "#29; cbnz x1, 2f\n"
      "mov x1, v30.d[0]; sub x1, x1, x19; sub x1, x1, #30; cbnz x1, 2f; mov x1, v31.d[1]; sub x1, x1, x19; sub x1, x1, "
      "#31; cbnz x1, 2f\n"
      "sub x0, x0, #1; cbnz x0, 1b\n"
      "2:\n"
      : "+r"(left)
      : "r"(base)
      : "x1", "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v11", "v12", "v13", "v14", "v15",
        "v16", "v17", "v18", "v19", "v20", "v21", "v22", "v23", "v24", "v25", "v26", "v27", "v28", "v29", "v30", "v31",
        "cc", "memory");
  return left;
}

// The upper parts of the vectors, the predicates and the first-fault register of SVE: each vector element, and so many
// elements of the predicates, by the pattern.
int64_t hold_sve(uint64_t pattern) {
  int64_t left = 1000 * 1000;
  asm volatile(
      ".arch_extension sve\n"
      "ptrue p7.b; mov x1, %1; index z0.d, x1, #1; mov z1.d, z0.d; mov z8.d, z0.d; mov z15.d, z0.d; mov z31.d, z0.d\n"
      "and x2, %1, #15; whilelo p0.b, xzr, x2; mov p4.b, p0.b; mov p15.b, p0.b; wrffr p0.b\n"
      "1: cmpne p1.d, p7/z, z0.d, z31.d; b.ne 2f; cmpne p1.d, p7/z, z1.d, z8.d; b.ne 2f\n"
      "cmpne p1.d, p7/z, z1.d, z15.d; b.ne 2f; cmpne p1.d, p7/z, z0.d, z1.d; b.ne 2f\n"
      "eors p1.b, p7/z, p0.b, p4.b; b.ne 2f; eors p1.b, p7/z, p4.b, p15.b; b.ne 2f\n"
      "rdffr p2.b; eors p1.b, p7/z, p2.b, p0.b; b.ne 2f\n"
      "sub %0, %0, #1; cbnz %0, 1b\n"
      "index z2.d, x1, #1; cmpne p1.d, p7/z, z0.d, z2.d; b.ne 3f; whilelo p2.b, xzr, x2\n"
      "eors p1.b, p7/z, p2.b, p15.b; b.eq 2f\n"
      "3: mov %0, #1\n"
      "2: .arch_extension nosve\n"
      : "+r"(left)
      : "r"(pattern)
      : "x1", "x2", "v0", "v1", "v2", "v8", "v15", "v31", "p0", "p1", "p2", "p4", "p7", "p15", "cc", "memory");
  return left;
}

}  // namespace

int main() {
  static std::atomic<int> left;
  constexpr int kHolders = 6;
  left = kHolders;
  parallel(kHolders + 3, [](int index) {
    if (index >= kHolders) {  // The others that want the processor.
      for (unsigned step = 0; left > 0; step++) stir(step);
      return;
    }
    const uint64_t pattern = 0x0101010101010101u * static_cast<uint64_t>(17 + index);
    const bool sve = (getauxval(AT_HWCAP) & HWCAP_SVE) != 0;
    if ((index % 3 == 2 && sve ? hold_sve(pattern) : index % 2 ? hold_general(pattern) : hold_vectors(pattern)) != 0) {
      check_fail(__FILE__, __LINE__, "thread %d: a register changed", index);
    }
    left--;
  });
  return 0;
}
#else
int main() { SKIP("there are no register loops for this processor"); }
#endif
