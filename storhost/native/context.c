/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Processors' stacks under ASan (-Wl,--wrap=swapcontext). Its own version forgets the whole stack, half a megabyte, at
 * every switch; enough is to forget a stack when a processor begins on it.
 */
#include <dlfcn.h>
#include <sanitizer/asan_interface.h>
#include <stdlib.h>
#include <ucontext.h>

int __wrap_swapcontext(ucontext_t *from, const ucontext_t *to);

int __wrap_swapcontext(ucontext_t *from, const ucontext_t *to)
{
	static int (*real)(ucontext_t *from, const ucontext_t *to);

	if (!real)
		real = (int (*)(ucontext_t *, const ucontext_t *))(uintptr_t)dlsym(RTLD_NEXT, "swapcontext");
	if (!real)
		abort();
	return real(from, to);
}

void __real_makecontext(ucontext_t *context, void (*function)(void), int arguments, ...);
void __wrap_makecontext(ucontext_t *context, void (*function)(void), int arguments, ...);

/* Of functions without arguments. */
void __wrap_makecontext(ucontext_t *context, void (*function)(void), int arguments, ...)
{
	if (arguments)
		abort();
	ASAN_UNPOISON_MEMORY_REGION(context->uc_stack.ss_sp, context->uc_stack.ss_size);
	__real_makecontext(context, function, 0);
}
