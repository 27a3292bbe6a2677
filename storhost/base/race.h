/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What ThreadSanitizer cannot see by itself: that ring memory orders what driver and device do.
 *
 * Both reach it at addresses of their own, so that a store by one and the load of it by the other have nothing in common
 * for TSan. The device publishes before it stores to the ring and observes after it loads from there; a driver that is
 * compiled with TSan does so where its barriers are. Without TSan neither is anything.
 */
#ifndef STORHOST_BASE_RACE_H
#define STORHOST_BASE_RACE_H

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define RACE_CHECKED 1
#endif
#elif defined(__SANITIZE_THREAD__)
#define RACE_CHECKED 1
#endif

#ifdef RACE_CHECKED
void __tsan_acquire(void *address);
void __tsan_release(void *address);

extern char race_ring;

static inline void race_publish(void)
{
	__tsan_release(&race_ring);
}

static inline void race_observe(void)
{
	__tsan_acquire(&race_ring);
}
#else
static inline void race_publish(void)
{
}

static inline void race_observe(void)
{
}
#endif

#endif
