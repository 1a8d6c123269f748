// aarch64: injection and interruptible system calls (contract: arch/arch.h).
//
// A saved area begins with a signal frame as the kernel made it, and rt_sigreturn brings it back: user mode has no
// instruction that loads the last general register and jumps, and the kernel restores SVE and the rest as well.

        .set    REGS_AT, 312            // siginfo, ucontext up to regs[0]
        .set    SP_AT, REGS_AT + 31 * 8
        .set    PC_AT, SP_AT + 8
        .set    VREGS_AT, 592 + 16      // the first record: fpsimd_context, its head, fpsr and fpcr

// Where a register of the interrupted flow is: at x19 + offset (DW_CFA_expression: DW_OP_breg19 offset).
        .macro  saved_at dwarf_register, offset
        .cfi_escape 0x10, \dwarf_register, 3, 0x83, ((\offset) & 0x7f) | 0x80, (\offset) >> 7
        .endm

        .text

// Entered by the return of a signal handler (save_context): x19 is the area, sp is aligned, the no-preempt counter is
// raised. A signal frame for unwinders: everything of the interrupted flow is in the area. Column 96 is what libgcc
// calls the pc of such a frame, whose x30 is a register like any other.
        .globl  goshim_inject_entry
        .hidden goshim_inject_entry
        .type   goshim_inject_entry, %function
        .p2align 4
        .cfi_startproc
        .cfi_signal_frame
        .cfi_return_column 96
        // The CFA is the interrupted sp (DW_CFA_def_cfa_expression: DW_OP_breg19 SP_AT, DW_OP_deref).
        .cfi_escape 0x0f, 4, 0x83, (SP_AT & 0x7f) | 0x80, SP_AT >> 7, 0x06
        .irp    n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30
        saved_at \n, REGS_AT + 8 * \n
        .endr
        .irp    n, 8, 9, 10, 11, 12, 13, 14, 15
        saved_at 64 + \n, VREGS_AT + 16 * \n
        .endr
        saved_at 96, PC_AT
        saved_at 32, PC_AT              // the same, by the number that gdb knows it by
        nop                             // unwinders that look one byte before a return address still find this entry
goshim_inject_entry:
        mov     x0, x19
        bl      goshim_injected
        mov     x0, x19
        bl      goshim_make_frame_current
        mrs     x1, tpidr_el0
        adrp    x2, goshim_nopreempt_offset
        ldr     x2, [x2, :lo12:goshim_nopreempt_offset]
        adrp    x3, goshim_pending_offset
        ldr     x3, [x3, :lo12:goshim_pending_offset]
        ldr     w4, [x1, x2]
        sub     w4, w4, #1
        str     w4, [x1, x2]
        .globl  goshim_critical_begin
        .hidden goshim_critical_begin
goshim_critical_begin:
        cbnz    w4, 2f                  // an outer user of the counter will see the requests
        ldr     w5, [x1, x3]
        cbnz    w5, 3f
2:      mov     sp, x19
        mov     x8, #139                // rt_sigreturn
        svc     #0
3:      ldr     w4, [x1, x2]
        add     w4, w4, #1
        str     w4, [x1, x2]
        .globl  goshim_critical_end
        .hidden goshim_critical_end
goshim_critical_end:
        b       goshim_inject_entry
        .cfi_endproc
        .size   goshim_inject_entry, .-goshim_inject_entry

// long goshim_syscall_unless(const std::atomic<uint32_t>* stop, long nr, long a, long b, long c, long d, long e,
//                            long f)
// The word is read without an order: who sets it then interrupts this kernel thread.
        .globl  goshim_syscall_unless
        .hidden goshim_syscall_unless
        .type   goshim_syscall_unless, %function
        .p2align 4
goshim_syscall_unless:
        .cfi_startproc
        mov     x9, x0
        mov     x8, x1
        mov     x0, x2
        mov     x1, x3
        mov     x2, x4
        mov     x3, x5
        mov     x4, x6
        mov     x5, x7
        .globl  goshim_syscall_check
        .hidden goshim_syscall_check
goshim_syscall_check:
        ldr     w10, [x9]
        cbnz    w10, goshim_syscall_stopped
        .globl  goshim_syscall_at
        .hidden goshim_syscall_at
goshim_syscall_at:
        svc     #0
        .globl  goshim_syscall_done
        .hidden goshim_syscall_done
goshim_syscall_done:
        ret
        .globl  goshim_syscall_stopped
        .hidden goshim_syscall_stopped
goshim_syscall_stopped:
        mov     x0, #-4                 // -EINTR
        ret
        .cfi_endproc
        .size   goshim_syscall_unless, .-goshim_syscall_unless

// void goshim_call_on_stack(void* top, void (*fn)(void*), void* arg)
        .globl  goshim_call_on_stack
        .hidden goshim_call_on_stack
        .type   goshim_call_on_stack, %function
        .p2align 4
goshim_call_on_stack:
        .cfi_startproc
        stp     x29, x30, [sp, #-16]!
        .cfi_def_cfa_offset 16
        .cfi_offset x29, -16
        .cfi_offset x30, -8
        mov     x29, sp
        .cfi_def_cfa_register x29
        and     x0, x0, #-16
        mov     sp, x0
        mov     x0, x2
        blr     x1
        mov     sp, x29
        .cfi_def_cfa_register sp
        ldp     x29, x30, [sp], #16
        .cfi_def_cfa_offset 0
        .cfi_restore x29
        .cfi_restore x30
        ret
        .cfi_endproc
        .size   goshim_call_on_stack, .-goshim_call_on_stack

// void goshim_capture_ucontext(void* ucontext): the caller is to find its own registers there. x0 stays what it is.
        .globl  goshim_capture_ucontext
        .hidden goshim_capture_ucontext
        .type   goshim_capture_ucontext, %function
        .p2align 4
        .set    UC_REGS, REGS_AT - 128
goshim_capture_ucontext:
        .cfi_startproc
        mov     x1, sp
        stp     xzr, xzr, [x0, #UC_REGS]
        stp     xzr, xzr, [x0, #UC_REGS + 16]
        stp     xzr, xzr, [x0, #UC_REGS + 32]
        stp     xzr, xzr, [x0, #UC_REGS + 48]
        stp     xzr, xzr, [x0, #UC_REGS + 64]
        stp     xzr, xzr, [x0, #UC_REGS + 80]
        stp     xzr, xzr, [x0, #UC_REGS + 96]
        stp     xzr, xzr, [x0, #UC_REGS + 112]
        stp     xzr, xzr, [x0, #UC_REGS + 128]
        stp     xzr, x19, [x0, #UC_REGS + 144]
        stp     x20, x21, [x0, #UC_REGS + 160]
        stp     x22, x23, [x0, #UC_REGS + 176]
        stp     x24, x25, [x0, #UC_REGS + 192]
        stp     x26, x27, [x0, #UC_REGS + 208]
        stp     x28, x29, [x0, #UC_REGS + 224]
        stp     x30, x1, [x0, #UC_REGS + 240]
        str     x30, [x0, #UC_REGS + 256]
        b       goshim_capture_vectors
        .cfi_endproc
        .size   goshim_capture_ucontext, .-goshim_capture_ucontext

// void goshim_store_vectors(void* vregs): v0 to v31.
        .globl  goshim_store_vectors
        .hidden goshim_store_vectors
        .type   goshim_store_vectors, %function
        .p2align 4
goshim_store_vectors:
        .cfi_startproc
        stp     q0, q1, [x0, #0]
        stp     q2, q3, [x0, #32]
        stp     q4, q5, [x0, #64]
        stp     q6, q7, [x0, #96]
        stp     q8, q9, [x0, #128]
        stp     q10, q11, [x0, #160]
        stp     q12, q13, [x0, #192]
        stp     q14, q15, [x0, #224]
        stp     q16, q17, [x0, #256]
        stp     q18, q19, [x0, #288]
        stp     q20, q21, [x0, #320]
        stp     q22, q23, [x0, #352]
        stp     q24, q25, [x0, #384]
        stp     q26, q27, [x0, #416]
        stp     q28, q29, [x0, #448]
        stp     q30, q31, [x0, #480]
        ret
        .cfi_endproc
        .size   goshim_store_vectors, .-goshim_store_vectors

#include "arch/aarch64/marks.inc"
