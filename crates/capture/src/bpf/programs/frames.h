// SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0
//
// User stacks by frame pointers, which Go keeps everywhere: each frame holds the address of the next
// one and then where it returns to.
//
// The kernel's own walk (bpf_get_stack) does the same at twice the cost: it also reads behind the
// last frame, whose pointer is 0, and that is a page fault.
#pragma once
#include "kernel.h"
#include "records.h"

INLINE u32 walk_frames(u64 *addresses, struct pt_regs *registers)
{
	struct {
		u64 next, returns_to;
	} frame = { registers->bp, 0 };
	u32 frames = 0;
	addresses[frames++] = registers->ip;
	while (frame.next && frames < FRAMES_MAX && !read_user(&frame, sizeof(frame), (void *)frame.next))
		addresses[frames++] = frame.returns_to;
	return frames;
}
