// aarch64: vfork. The child returns into the caller's frame first and overwrites what lies below it: the return address
// stays in a register, and so does whether the caller is a G. A system call changes x0 only.

        .text

// pid_t goshim_vfork()
        .globl  goshim_vfork
        .hidden goshim_vfork
        .type   goshim_vfork, %function
        .p2align 4
goshim_vfork:
        .cfi_startproc
        stp     x29, x30, [sp, #-16]!
        .cfi_adjust_cfa_offset 16
        .cfi_offset x29, -16
        .cfi_offset x30, -8
        mov     x29, sp
        bl      goshim_before_vfork
        mov     w9, w0
        ldp     x29, x30, [sp], #16
        .cfi_adjust_cfa_offset -16
        .cfi_restore x29
        .cfi_restore x30
        mov     x0, #0x4111             // CLONE_VM | CLONE_VFORK | SIGCHLD
        mov     x1, #0
        mov     x2, #0
        mov     x3, #0
        mov     x4, #0
        mov     x8, #220                // clone
        svc     #0
        mov     w1, w9
        b       goshim_after_vfork
        .cfi_endproc
        .size   goshim_vfork, .-goshim_vfork

#include "arch/aarch64/marks.inc"
