/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * ThreadSanitizer and the driver's volatile objects: State, ConfigPending, DpcReady, the status byte, ring memory. They
 * are read and written without a lock, each in one access, and what follows from them is decided under the lock or by
 * barriers. The compiler reports these accesses apart from all others (-tsan-distinguish-volatile); nothing is done.
 */
#define NOTHING(size)                                                                                                  \
	void __tsan_volatile_read##size(void *address);                                                                \
	void __tsan_volatile_write##size(void *address);                                                               \
	void __tsan_unaligned_volatile_read##size(void *address);                                                      \
	void __tsan_unaligned_volatile_write##size(void *address);                                                     \
	void __tsan_volatile_read##size(void *address)                                                                 \
	{                                                                                                              \
		(void)address;                                                                                         \
	}                                                                                                              \
	void __tsan_volatile_write##size(void *address)                                                                \
	{                                                                                                              \
		(void)address;                                                                                         \
	}                                                                                                              \
	void __tsan_unaligned_volatile_read##size(void *address)                                                       \
	{                                                                                                              \
		(void)address;                                                                                         \
	}                                                                                                              \
	void __tsan_unaligned_volatile_write##size(void *address)                                                      \
	{                                                                                                              \
		(void)address;                                                                                         \
	}

NOTHING(1)
NOTHING(2)
NOTHING(4)
NOTHING(8)
NOTHING(16)
