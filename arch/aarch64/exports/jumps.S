// aarch64: functions that save the registers of their caller. They cannot be wrapped, since the frame they save must be
// the program's: each lets a function of interpose/signal.cpp note the G's signal mask and name libc's function, with
// the arguments preserved, and jumps there.

        .text
        .arch   armv8.5-a              // bti, a nop to older processors

        .macro  jump_after note
        .cfi_startproc
        bti     c
        stp     x29, x30, [sp, #-32]!
        .cfi_adjust_cfa_offset 32
        .cfi_offset x29, -32
        .cfi_offset x30, -24
        mov     x29, sp
        stp     x0, x1, [sp, #16]
        bl      \note
        mov     x16, x0                 // a branch through x16 may enter a function marked for BTI
        ldp     x0, x1, [sp, #16]
        ldp     x29, x30, [sp], #32
        .cfi_adjust_cfa_offset -32
        .cfi_restore x29
        .cfi_restore x30
        br      x16
        .cfi_endproc
        .endm

        .globl  __sigsetjmp
        .type   __sigsetjmp, %function
        .p2align 4
__sigsetjmp:
        jump_after goshim_note_sigsetjmp
        .size   __sigsetjmp, .-__sigsetjmp

        .globl  setjmp
        .type   setjmp, %function
        .p2align 4
setjmp:
        bti     c
        mov     w1, #1
        jump_after goshim_note_sigsetjmp
        .size   setjmp, .-setjmp

        .globl  getcontext
        .type   getcontext, %function
        .p2align 4
getcontext:
        jump_after goshim_note_getcontext
        .size   getcontext, .-getcontext

        .globl  setcontext
        .type   setcontext, %function
        .p2align 4
setcontext:
        jump_after goshim_note_setcontext
        .size   setcontext, .-setcontext

        .globl  swapcontext
        .type   swapcontext, %function
        .p2align 4
swapcontext:
        jump_after goshim_note_swapcontext
        .size   swapcontext, .-swapcontext

#include "arch/aarch64/marks.inc"
