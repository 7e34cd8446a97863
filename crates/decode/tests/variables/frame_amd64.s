// The address of the caller's saved frame pointer: the call frame address is 16 above.
TEXT ·framePointer(SB), 4, $0-8
	MOVQ BP, ret+0(FP)
	RET
