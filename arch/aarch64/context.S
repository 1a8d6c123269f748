// aarch64: context switch, entry of a new G, bare kernel threads (contract: arch/arch.h).
//
// A suspended stack, from the saved sp upwards: x19 to x28, x29, x30, d8 to d15, fpcr, one word unused. What the
// procedure call standard lets a callee destroy is not saved, the upper halves of v8 to v15 and all of SVE among it.
// Return addresses are signed, if at all, with the stack pointer of the frame that keeps them: x30 is not signed here,
// and a frame that is resumed finds the stack pointer it signed with. All kernel threads of a process have the same keys.
// No landing pads (BTI): all this is entered by bl, ret or svc, and a ret may go anywhere.
//
// The resumed side is left by a ret, though the call it answers was made on another stack: the processor predicts by the
// calls it has seen last, and Gs that switch to each other mostly stand in the same functions.

        .text

// void goshim_switch(Context* from, const Context* to, void* to_tp, std::atomic<uint32_t>* from_busy)
        .globl  goshim_switch
        .hidden goshim_switch
        .type   goshim_switch, %function
        .p2align 6
goshim_switch:
        .cfi_startproc
        sub     x9, sp, #176
        mrs     x10, fpcr
        stp     x19, x20, [x9]
        stp     x21, x22, [x9, #16]
        stp     x23, x24, [x9, #32]
        stp     x25, x26, [x9, #48]
        stp     x27, x28, [x9, #64]
        stp     x29, x30, [x9, #80]
        stp     d8, d9, [x9, #96]
        stp     d10, d11, [x9, #112]
        stp     d12, d13, [x9, #128]
        stp     d14, d15, [x9, #144]
        str     x10, [x9, #160]
        str     x9, [x0]
        ldr     x9, [x1]                // *to was published before: who chose it has seen its busy word at 0 (acquire)
        mov     sp, x9                  // from here on a backtrace is the resumed flow's
        .cfi_def_cfa_offset 176
        .cfi_offset x19, -176
        .cfi_offset x20, -168
        .cfi_offset x21, -160
        .cfi_offset x22, -152
        .cfi_offset x23, -144
        .cfi_offset x24, -136
        .cfi_offset x25, -128
        .cfi_offset x26, -120
        .cfi_offset x27, -112
        .cfi_offset x28, -104
        .cfi_offset x29, -96
        .cfi_offset x30, -88
        .cfi_offset d8, -80
        .cfi_offset d9, -72
        .cfi_offset d10, -64
        .cfi_offset d11, -56
        .cfi_offset d12, -48
        .cfi_offset d13, -40
        .cfi_offset d14, -32
        .cfi_offset d15, -24
        .globl  goshim_switch_middle
        .hidden goshim_switch_middle
goshim_switch_middle:
        msr     tpidr_el0, x2
        stlr    wzr, [x3]               // release: everything of *from above is visible first
        ldr     x11, [x9, #160]
        ldp     x19, x20, [x9]
        ldp     x21, x22, [x9, #16]
        ldp     x23, x24, [x9, #32]
        ldp     x25, x26, [x9, #48]
        ldp     x27, x28, [x9, #64]
        ldp     x29, x30, [x9, #80]
        ldp     d8, d9, [x9, #96]
        ldp     d10, d11, [x9, #112]
        ldp     d12, d13, [x9, #128]
        ldp     d14, d15, [x9, #144]
        cmp     x10, x11                // writing fpcr is slow: only when it differs
        b.ne    2f
1:      add     sp, x9, #176
        .cfi_remember_state
        .cfi_def_cfa_offset 0
        .cfi_restore x19
        .cfi_restore x20
        .cfi_restore x21
        .cfi_restore x22
        .cfi_restore x23
        .cfi_restore x24
        .cfi_restore x25
        .cfi_restore x26
        .cfi_restore x27
        .cfi_restore x28
        .cfi_restore x29
        .cfi_restore x30
        .cfi_restore d8
        .cfi_restore d9
        .cfi_restore d10
        .cfi_restore d11
        .cfi_restore d12
        .cfi_restore d13
        .cfi_restore d14
        .cfi_restore d15
        ret
        .cfi_restore_state
2:      msr     fpcr, x11
        b       1b
        .cfi_endproc
        .globl  goshim_switch_end
        .hidden goshim_switch_end
goshim_switch_end:
        .size   goshim_switch, .-goshim_switch

// First code of a new flow: entry in x19, argument in x20 (make_context). The return address is undefined: backtraces
// end here.
        .globl  goshim_context_entry
        .hidden goshim_context_entry
        .type   goshim_context_entry, %function
goshim_context_entry:
        .cfi_startproc
        .cfi_undefined x30
        mov     x29, #0
        mov     x30, #0
        mov     x0, x20
        blr     x19
        brk     #1
        .cfi_endproc
        .size   goshim_context_entry, .-goshim_context_entry

// long goshim_clone(unsigned long flags, void* stack, int* parent_tid, void* tp, int* child_tid): the child pops fn and
// arg from its stack. The kernel takes the arguments in this order.
        .globl  goshim_clone
        .hidden goshim_clone
        .type   goshim_clone, %function
goshim_clone:
        .cfi_startproc
        mov     x8, #220                // clone
        svc     #0
        cbz     x0, 1f
        ret
1:      .cfi_undefined x30
        mov     x29, #0
        mov     x30, #0
        ldp     x1, x0, [sp], #16
        blr     x1
        brk     #1
        .cfi_endproc
        .size   goshim_clone, .-goshim_clone

// long goshim_read_word(const void* word)
        .globl  goshim_read_word
        .hidden goshim_read_word
        .type   goshim_read_word, %function
        .p2align 4
        .globl  goshim_words_begin
        .hidden goshim_words_begin
goshim_words_begin:
goshim_read_word:
        .cfi_startproc
        ldr     w0, [x0]
        ret
        .cfi_endproc
        .size   goshim_read_word, . - goshim_read_word

// long goshim_touch_word(void* word)
        .globl  goshim_touch_word
        .hidden goshim_touch_word
        .type   goshim_touch_word, %function
goshim_touch_word:
        .cfi_startproc
1:      ldaxr   w1, [x0]
        stxr    w2, w1, [x0]
        cbnz    w2, 1b
        mov     w0, w1
        ret
        .globl  goshim_bad_word
        .hidden goshim_bad_word
goshim_bad_word:
        mov     x0, #-1
        ret
        .cfi_endproc
        .size   goshim_touch_word, . - goshim_touch_word

#include "arch/aarch64/marks.inc"
