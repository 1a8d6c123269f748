// x86-64: context switch, entry of a new G, bare kernel threads (contract: arch/arch.h).
//
// A suspended stack, from the saved sp upwards: mxcsr and x87 control word (8 bytes), r15 r14 r13 r12 rbx rbp, return
// address. The resumed side is left by a ret, though the call it answers was made on another stack: the processor predicts
// by the calls it has seen last, and Gs that switch to each other mostly stand in the same functions. A jump would leave
// its stack of predictions one too deep, and every return up to the program would be mispredicted.

        .macro  push_saved register
        pushq   \register
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset \register, 0
        .endm

        .macro  pop_saved register
        popq    \register
        .cfi_adjust_cfa_offset -8
        .cfi_restore \register
        .endm

        // arch_prctl(ARCH_SET_FS, base). In the second half of a switch: r12 is reloaded at its end.
        .macro  tell_kernel base
        movq    \base, %rsi
        movq    %rcx, %r12              // the system call clobbers rcx and r11
        movl    $158, %eax
        movl    $0x1002, %edi
        syscall
        movq    %r12, %rcx
        .endm

        .text

        .set    TP_DIRECT, 0            // as in port.h
        .set    TP_TRAPPED, 1
        .set    CELL_TP, 0              // TpCell
        .set    CELL_TRAP, 8
        .set    CELL_KNOWN, 16
        .set    CELL_CHANGING, 20
        .set    CELL_SWITCHES, 24

// void goshim_switch(Context* from, const Context* to, void* to_tp, std::atomic<uint32_t>* from_busy,
//                    TpCell* cell)
        .globl  goshim_switch
        .hidden goshim_switch
        .type   goshim_switch, @function
        .p2align 6
goshim_switch:
        .cfi_startproc
        push_saved %rbp
        push_saved %rbx
        push_saved %r12
        push_saved %r13
        push_saved %r14
        push_saved %r15
        subq    $8, %rsp
        .cfi_adjust_cfa_offset 8
        stmxcsr (%rsp)
        fnstcw  4(%rsp)
        movq    (%rsp), %r9
        movq    %rsp, (%rdi)
        movq    (%rsi), %rsp            // from here on a backtrace is the resumed flow's
        .globl  goshim_switch_middle
        .hidden goshim_switch_middle
goshim_switch_middle:
        cmpb    $TP_DIRECT, goshim_tp_mode(%rip)
        jne     3f
0:      wrfsbase %rdx
1:      movl    $0, (%rcx)              // stores are not reordered: a release
        cmpq    %r9, (%rsp)             // loading the control words is slow: only when they differ
        jne     4f
2:      addq    $8, %rsp
        .cfi_remember_state
        .cfi_adjust_cfa_offset -8
        pop_saved %r15
        pop_saved %r14
        pop_saved %r13
        pop_saved %r12
        pop_saved %rbx
        pop_saved %rbp
        retq
        .cfi_restore_state
3:      cmpb    $TP_TRAPPED, goshim_tp_mode(%rip)
        jne     5f
        testq   %r8, %r8
        jz      5f
        movq    %rdx, CELL_TP(%r8)      // before the register: T1
        incq    CELL_SWITCHES(%r8)
        cmpl    $0, CELL_KNOWN(%r8)
        je      0b
        cmpl    $1, CELL_KNOWN(%r8)     // T4
        je      6f
        decl    CELL_KNOWN(%r8)
5:      tell_kernel %rdx
        jmp     1b
6:      movl    $1, CELL_CHANGING(%r8)
        tell_kernel CELL_TRAP(%r8)
        movl    $0, CELL_KNOWN(%r8)
        movl    $0, CELL_CHANGING(%r8)
        jmp     0b
4:      ldmxcsr (%rsp)
        fldcw   4(%rsp)
        jmp     2b
        .cfi_endproc
        .globl  goshim_switch_end
        .hidden goshim_switch_end
goshim_switch_end:
        .size   goshim_switch, .-goshim_switch

// First code of a new flow: entry in r12, argument in r13 (make_context). The return address is undefined: backtraces
// end here.
        .globl  goshim_context_entry
        .hidden goshim_context_entry
        .type   goshim_context_entry, @function
goshim_context_entry:
        .cfi_startproc
        .cfi_undefined rip
        xorl    %ebp, %ebp
        movq    %r13, %rdi
        callq   *%r12
        ud2
        .cfi_endproc
        .size   goshim_context_entry, .-goshim_context_entry

// long goshim_clone(unsigned long flags, void* stack, int* parent_tid, int* child_tid, void* tp): the child pops fn and
// arg from its stack.
        .globl  goshim_clone
        .hidden goshim_clone
        .type   goshim_clone, @function
goshim_clone:
        .cfi_startproc
        movq    %rcx, %r10
        movl    $56, %eax               // clone
        syscall
        testq   %rax, %rax
        jz      1f
        retq
1:      .cfi_undefined rip
        xorl    %ebp, %ebp
        popq    %rax
        popq    %rdi
        callq   *%rax
        ud2
        .cfi_endproc
        .size   goshim_clone, .-goshim_clone

// void* goshim_probe_fs_base(): null if user mode may not read it (skip_probe() in traps.cpp).
        .globl  goshim_probe_fs_base
        .hidden goshim_probe_fs_base
        .type   goshim_probe_fs_base, @function
        .p2align 4
goshim_probe_fs_base:
        .cfi_startproc
        rdfsbase %rax
        retq
        .globl  goshim_no_fs_base
        .hidden goshim_no_fs_base
goshim_no_fs_base:
        xorl    %eax, %eax
        retq
        .cfi_endproc
        .size   goshim_probe_fs_base, .-goshim_probe_fs_base

// long goshim_read_word(const void* word)
        .globl  goshim_read_word
        .hidden goshim_read_word
        .type   goshim_read_word, @function
        .p2align 4
        .globl  goshim_words_begin
        .hidden goshim_words_begin
goshim_words_begin:
goshim_read_word:
        .cfi_startproc
        movl    (%rdi), %eax
        retq
        .cfi_endproc
        .size   goshim_read_word, . - goshim_read_word

// long goshim_touch_word(void* word)
        .globl  goshim_touch_word
        .hidden goshim_touch_word
        .type   goshim_touch_word, @function
goshim_touch_word:
        .cfi_startproc
        xorl    %eax, %eax
        lock xaddl %eax, (%rdi)
        retq
        .globl  goshim_bad_word
        .hidden goshim_bad_word
goshim_bad_word:
        movq    $-1, %rax
        retq
        .cfi_endproc
        .size   goshim_touch_word, . - goshim_touch_word

        .section .note.GNU-stack, "", @progbits
