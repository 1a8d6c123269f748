"""x86-64, for goshim's commands in gdb: the registers of a suspended flow (context.S)."""
ARCHITECTURE = "i386:x86-64"  # gdb's name
SP, PC = "rsp", "rip"
# What goshim_switch() leaves from the saved sp upwards, a name for each word; None is not needed.
SWITCH_FRAME = (None, "r15", "r14", "r13", "r12", "rbx", "rbp", "rip")

