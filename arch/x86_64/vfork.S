// x86-64: vfork. The child returns into the caller's frame first and overwrites what lies below it, the return address
// included: that one stays in a register, and so does whether the caller is a G. A system call changes rax, rcx and r11
// only.

        .text

// pid_t goshim_vfork()
        .globl  goshim_vfork
        .hidden goshim_vfork
        .type   goshim_vfork, @function
        .p2align 4
goshim_vfork:
        .cfi_startproc
        subq    $8, %rsp
        .cfi_adjust_cfa_offset 8
        callq   goshim_before_vfork
        addq    $8, %rsp
        .cfi_adjust_cfa_offset -8
        movl    %eax, %esi
        popq    %rdi
        .cfi_adjust_cfa_offset -8
        .cfi_register rip, rdi
        movl    $58, %eax               // vfork
        syscall
        pushq   %rdi
        .cfi_adjust_cfa_offset 8
        .cfi_offset rip, -8
        movq    %rax, %rdi
        subq    $8, %rsp
        .cfi_adjust_cfa_offset 8
        callq   goshim_after_vfork
        addq    $8, %rsp
        .cfi_adjust_cfa_offset -8
        retq
        .cfi_endproc
        .size   goshim_vfork, .-goshim_vfork

        .section .note.GNU-stack, "", @progbits
