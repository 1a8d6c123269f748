// x86-64: injection and interruptible system calls (contract: arch/arch.h).
//
// A saved area begins with the general registers in the order of gregset_t (sys/ucontext.h), then the mask of xsave
// components, then the xsave image.

        .set    R8_AT, 0
        .set    R9_AT, 8
        .set    R10_AT, 16
        .set    R11_AT, 24
        .set    R12_AT, 32
        .set    R13_AT, 40
        .set    R14_AT, 48
        .set    R15_AT, 56
        .set    RDI_AT, 64
        .set    RSI_AT, 72
        .set    RBP_AT, 80
        .set    RBX_AT, 88
        .set    RDX_AT, 96
        .set    RAX_AT, 104
        .set    RCX_AT, 112
        .set    RSP_AT, 120
        .set    RIP_AT, 128
        .set    EFL_AT, 136
        .set    XMASK_AT, 184
        .set    XSAVE_AT, 192

        .set    RED_ZONE, 128
        .set    FRAME, 40               // rax, rcx, rbx, flags, rip: what is restored last, through the stack

// Where a register of the interrupted flow is: at rbx + offset (DW_CFA_expression: DW_OP_breg3 offset).
        .macro  saved_at dwarf_register, offset
        .cfi_escape 0x10, \dwarf_register, 3, 0x73, (\offset & 0x7f) | 0x80, \offset >> 7
        .endm

        .text

// Entered by the return of a signal handler (save_context): rbx is the area, rsp is aligned, the no-preempt counter is
// raised. A signal frame for unwinders: everything of the interrupted flow is in the area.
        .globl  goshim_inject_entry
        .hidden goshim_inject_entry
        .type   goshim_inject_entry, @function
        .p2align 4
        .cfi_startproc
        .cfi_signal_frame
        // The CFA is the interrupted rsp (DW_CFA_def_cfa_expression: DW_OP_breg3 RSP_AT, DW_OP_deref).
        .cfi_escape 0x0f, 4, 0x73, (RSP_AT & 0x7f) | 0x80, RSP_AT >> 7, 0x06
        saved_at 0, RAX_AT
        saved_at 1, RDX_AT
        saved_at 2, RCX_AT
        saved_at 3, RBX_AT
        saved_at 4, RSI_AT
        saved_at 5, RDI_AT
        saved_at 6, RBP_AT
        saved_at 8, R8_AT
        saved_at 9, R9_AT
        saved_at 10, R10_AT
        saved_at 11, R11_AT
        saved_at 12, R12_AT
        saved_at 13, R13_AT
        saved_at 14, R14_AT
        saved_at 15, R15_AT
        saved_at 16, RIP_AT
        nop                             // unwinders that look one byte before a return address still find this entry
goshim_inject_entry:
        movq    %rbx, %rdi
        callq   goshim_injected
        movq    RSP_AT(%rbx), %rcx
        subq    $(RED_ZONE + FRAME), %rcx
        movq    RAX_AT(%rbx), %rax
        movq    %rax, (%rcx)
        movq    RCX_AT(%rbx), %rax
        movq    %rax, 8(%rcx)
        movq    RBX_AT(%rbx), %rax
        movq    %rax, 16(%rcx)
        movq    EFL_AT(%rbx), %rax
        movq    %rax, 24(%rcx)
        movq    RIP_AT(%rbx), %rax
        movq    %rax, 32(%rcx)
        movl    XMASK_AT(%rbx), %eax
        movl    XMASK_AT+4(%rbx), %edx
        testl   %eax, %eax
        jz      4f
        xrstor64 XSAVE_AT(%rbx)
1:      movq    R8_AT(%rbx), %r8
        movq    R9_AT(%rbx), %r9
        movq    R10_AT(%rbx), %r10
        movq    R11_AT(%rbx), %r11
        movq    R12_AT(%rbx), %r12
        movq    R13_AT(%rbx), %r13
        movq    R14_AT(%rbx), %r14
        movq    R15_AT(%rbx), %r15
        movq    RDI_AT(%rbx), %rdi
        movq    RSI_AT(%rbx), %rsi
        movq    RBP_AT(%rbx), %rbp
        movq    RDX_AT(%rbx), %rdx
        movq    goshim_nopreempt_offset(%rip), %rax
        decl    %fs:(%rax)
        .globl  goshim_critical_begin
        .hidden goshim_critical_begin
goshim_critical_begin:
        jnz     2f                      // an outer user of the counter will see the requests
        movq    goshim_pending_offset(%rip), %rax
        cmpl    $0, %fs:(%rax)
        jne     3f
2:      movq    %rcx, %rsp
        popq    %rax
        popq    %rcx
        .cfi_remember_state
        popq    %rbx
        .cfi_def_cfa %rsp, RED_ZONE + 16
        .cfi_same_value %rax
        .cfi_same_value %rcx
        .cfi_same_value %rdx
        .cfi_same_value %rbx
        .cfi_same_value %rsi
        .cfi_same_value %rdi
        .cfi_same_value %rbp
        .cfi_same_value %r8
        .cfi_same_value %r9
        .cfi_same_value %r10
        .cfi_same_value %r11
        .cfi_same_value %r12
        .cfi_same_value %r13
        .cfi_same_value %r14
        .cfi_same_value %r15
        .cfi_offset %rip, -(RED_ZONE + 8)
        popfq
        .cfi_adjust_cfa_offset -8
        retq    $RED_ZONE
        .cfi_restore_state
3:      movq    goshim_nopreempt_offset(%rip), %rax
        incl    %fs:(%rax)
        .globl  goshim_critical_end
        .hidden goshim_critical_end
goshim_critical_end:
        jmp     goshim_inject_entry
4:      fxrstor64 XSAVE_AT(%rbx)
        jmp     1b
        .cfi_endproc
        .size   goshim_inject_entry, .-goshim_inject_entry

// long goshim_syscall_unless(const std::atomic<uint32_t>* stop, long nr, long a, long b, long c, long d, long e,
//                            long f)
        .globl  goshim_syscall_unless
        .hidden goshim_syscall_unless
        .type   goshim_syscall_unless, @function
        .p2align 4
goshim_syscall_unless:
        .cfi_startproc
        movq    %rdi, %r11
        movq    %rsi, %rax
        movq    %rdx, %rdi
        movq    %rcx, %rsi
        movq    %r8, %rdx
        movq    %r9, %r10
        movq    8(%rsp), %r8
        movq    16(%rsp), %r9
        .globl  goshim_syscall_check
        .hidden goshim_syscall_check
goshim_syscall_check:
        cmpl    $0, (%r11)
        jne     goshim_syscall_stopped
        .globl  goshim_syscall_at
        .hidden goshim_syscall_at
goshim_syscall_at:
        syscall
        .globl  goshim_syscall_done
        .hidden goshim_syscall_done
goshim_syscall_done:
        retq
        .globl  goshim_syscall_stopped
        .hidden goshim_syscall_stopped
goshim_syscall_stopped:
        movq    $-4, %rax               // -EINTR
        retq
        .cfi_endproc
        .size   goshim_syscall_unless, .-goshim_syscall_unless

// void goshim_call_on_stack(void* top, void (*fn)(void*), void* arg)
        .globl  goshim_call_on_stack
        .hidden goshim_call_on_stack
        .type   goshim_call_on_stack, @function
        .p2align 4
goshim_call_on_stack:
        .cfi_startproc
        pushq   %rbp
        .cfi_def_cfa_offset 16
        .cfi_offset %rbp, -16
        movq    %rsp, %rbp
        .cfi_def_cfa_register %rbp
        andq    $-16, %rdi
        movq    %rdi, %rsp
        movq    %rdx, %rdi
        callq   *%rsi
        movq    %rbp, %rsp
        popq    %rbp
        .cfi_def_cfa %rsp, 8
        retq
        .cfi_endproc
        .size   goshim_call_on_stack, .-goshim_call_on_stack

// Where a register of the interrupted flow is in the kernel's frame: at rsp + offset (DW_OP_breg7 offset).
        .macro  in_frame dwarf_register, offset
        .cfi_escape 0x10, \dwarf_register, 3, 0x77, ((\offset) & 0x7f) | 0x80, (\offset) >> 7
        .endm

// The way back from a signal handler. Debuggers know it by these bytes, unwinders by its frame: rsp is the ucontext_t*,
// whose registers begin at byte 40 in the order of a saved area.
        .globl  goshim_restorer
        .hidden goshim_restorer
        .type   goshim_restorer, @function
        .set    UC, 40
        .p2align 4
        .cfi_startproc
        .cfi_signal_frame
        .cfi_escape 0x0f, 4, 0x77, ((UC + RSP_AT) & 0x7f) | 0x80, (UC + RSP_AT) >> 7, 0x06
        in_frame 0, UC + RAX_AT
        in_frame 1, UC + RDX_AT
        in_frame 2, UC + RCX_AT
        in_frame 3, UC + RBX_AT
        in_frame 4, UC + RSI_AT
        in_frame 5, UC + RDI_AT
        in_frame 6, UC + RBP_AT
        in_frame 8, UC + R8_AT
        in_frame 9, UC + R9_AT
        in_frame 10, UC + R10_AT
        in_frame 11, UC + R11_AT
        in_frame 12, UC + R12_AT
        in_frame 13, UC + R13_AT
        in_frame 14, UC + R14_AT
        in_frame 15, UC + R15_AT
        in_frame 16, UC + RIP_AT
        nop
goshim_restorer:
        movq    $15, %rax               // rt_sigreturn
        syscall
        .cfi_endproc
        .size   goshim_restorer, .-goshim_restorer

        .section .note.GNU-stack, "", @progbits
