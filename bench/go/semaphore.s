// Empty: with a file of assembler in the package, functions may be declared without a body (locks.go).
