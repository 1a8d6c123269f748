// x86-64: functions that save the registers of their caller. They cannot be wrapped, since the frame they save must be
// the program's: each lets a function of interpose/signal.cpp note the G's signal mask and name libc's function, with
// the arguments preserved, and jumps there.

        .text

        .macro  jump_after note
        .cfi_startproc
        pushq   %rdi
        .cfi_adjust_cfa_offset 8
        pushq   %rsi
        .cfi_adjust_cfa_offset 8
        subq    $8, %rsp
        .cfi_adjust_cfa_offset 8
        callq   \note
        addq    $8, %rsp
        .cfi_adjust_cfa_offset -8
        popq    %rsi
        .cfi_adjust_cfa_offset -8
        popq    %rdi
        .cfi_adjust_cfa_offset -8
        jmp     *%rax
        .cfi_endproc
        .endm

        .globl  __sigsetjmp
        .type   __sigsetjmp, @function
        .p2align 4
__sigsetjmp:
        jump_after goshim_note_sigsetjmp
        .size   __sigsetjmp, .-__sigsetjmp

        .globl  setjmp
        .type   setjmp, @function
        .p2align 4
setjmp:
        movl    $1, %esi
        jump_after goshim_note_sigsetjmp
        .size   setjmp, .-setjmp

        .globl  getcontext
        .type   getcontext, @function
        .p2align 4
getcontext:
        jump_after goshim_note_getcontext
        .size   getcontext, .-getcontext

        .globl  setcontext
        .type   setcontext, @function
        .p2align 4
setcontext:
        jump_after goshim_note_setcontext
        .size   setcontext, .-setcontext

        .globl  swapcontext
        .type   swapcontext, @function
        .p2align 4
swapcontext:
        jump_after goshim_note_swapcontext
        .size   swapcontext, .-swapcontext

        .section .note.GNU-stack, "", @progbits
