"""aarch64, for goshim's commands in gdb: the registers of a suspended flow (context.S)."""
ARCHITECTURE = "aarch64"  # gdb's name
SP, PC = "sp", "pc"
# What goshim_switch() leaves from the saved sp upwards, a name for each word; None is not needed. It returns to x30.
SWITCH_FRAME = (*(f"x{n}" for n in range(19, 30)), "pc", *(None for _ in range(10)))

