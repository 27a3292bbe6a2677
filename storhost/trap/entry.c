/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The assembly of trap/: a copy that may fault, and the way from a faulting instruction into a hook and back. */
#define _GNU_SOURCE 1 /* the registers in ucontext.h */

#include "trap/machine.h"

#ifdef __x86_64__

__asm__(".pushsection .text\n"
	".hidden trap_copy\n"
	".globl trap_copy\n"
	".type trap_copy, @function\n"
	"trap_copy:\n"
	"	mov %rdx, %rcx\n"
	".hidden trap_copy_access\n"
	".globl trap_copy_access\n"
	"trap_copy_access:\n"
	"	rep movsb\n"
	".hidden trap_copy_end\n"
	".globl trap_copy_end\n"
	"trap_copy_end:\n"
	"	mov %rcx, %rax\n"
	"	ret\n"
	".size trap_copy, . - trap_copy\n"
	".popsection\n");

/*
 * The Microsoft x64 convention has no red zone: what lies below the driver's stack pointer is free. The slot that is
 * reserved first receives the address to return to; flags and 15 registers follow it (128 bytes); rbp, which C
 * preserves, remembers them while the stack is aligned for the 512 bytes of fxsave.
 */
__asm__(".pushsection .text\n"
	".hidden trap_hook_entry\n"
	".globl trap_hook_entry\n"
	".type trap_hook_entry, @function\n"
	"trap_hook_entry:\n"
	"	lea -8(%rsp), %rsp\n"
	"	pushfq\n"
	"	push %rax\n	push %rcx\n	push %rdx\n	push %rbx\n	push %rbp\n"
	"	push %rsi\n	push %rdi\n	push %r8\n	push %r9\n	push %r10\n"
	"	push %r11\n	push %r12\n	push %r13\n	push %r14\n	push %r15\n"
	"	lea 128(%rsp), %rdi\n"
	"	mov %rsp, %rbp\n"
	"	sub $512, %rsp\n"
	"	and $-16, %rsp\n"
	"	fxsave64 (%rsp)\n"
	"	cld\n"
	"	call trap_hook_enter\n"
	"	fxrstor64 (%rsp)\n"
	"	mov %rbp, %rsp\n"
	"	pop %r15\n	pop %r14\n	pop %r13\n	pop %r12\n	pop %r11\n"
	"	pop %r10\n	pop %r9\n	pop %r8\n	pop %rdi\n	pop %rsi\n"
	"	pop %rbp\n	pop %rbx\n	pop %rdx\n	pop %rcx\n	pop %rax\n"
	"	popfq\n"
	"	ret\n"
	".hidden trap_hook_end\n"
	".globl trap_hook_end\n"
	"trap_hook_end:\n"
	".size trap_hook_entry, . - trap_hook_entry\n"
	".popsection\n");

#else

__asm__(".pushsection .text\n"
	".hidden trap_copy\n"
	".globl trap_copy\n"
	".type trap_copy, @function\n"
	"trap_copy:\n"
	"	push %esi\n"
	"	push %edi\n"
	"	mov 12(%esp), %edi\n"
	"	mov 16(%esp), %esi\n"
	"	mov 20(%esp), %ecx\n"
	".hidden trap_copy_access\n"
	".globl trap_copy_access\n"
	"trap_copy_access:\n"
	"	rep movsb\n"
	".hidden trap_copy_end\n"
	".globl trap_copy_end\n"
	"trap_copy_end:\n"
	"	mov %ecx, %eax\n"
	"	pop %edi\n"
	"	pop %esi\n"
	"	ret\n"
	".size trap_copy, . - trap_copy\n"
	".popsection\n");

#endif
