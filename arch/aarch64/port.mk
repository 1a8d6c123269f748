# What the Makefile adds for this port. Landing pads and signed return addresses: older processors take both for nops.
PORT_FLAGS := -mbranch-protection=standard
# The emulator's default processor, with pointer authentication by a cipher that does not take longer than the program.
PORT_EMULATOR := -cpu max,pauth-impdef=on
