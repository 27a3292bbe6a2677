/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What virtio/common sees of the outside in a host test: every register access, stall and barrier goes to the test.
 *
 * A test that links a source which uses one of the virtio_test_* names defines it. The barriers are calls so that a
 * test device can act exactly where a real one would race with the driver.
 */
#ifndef VIRTIO_PLATFORM_H
#define VIRTIO_PLATFORM_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define VOID void
#define TRUE 1
#define FALSE 0
#define FORCEINLINE inline __attribute__((always_inline))
#define C_ASSERT(Expression) _Static_assert(Expression, #Expression)
#define DECLSPEC_NOINLINE __attribute__((noinline))
#define VIRTIO_ASSERT(Expression) assert(Expression)
#define RtlZeroMemory(Destination, Length) ((void)memset((Destination), 0, (Length)))
#define RtlCopyMemory(Destination, Source, Length) ((void)memcpy((Destination), (Source), (Length)))

typedef void *PVOID;
typedef char CHAR;
typedef uint8_t UCHAR, BOOLEAN, *PUCHAR;
typedef uint16_t USHORT;
typedef uint32_t ULONG;
typedef uint64_t ULONGLONG;

typedef uint8_t u8;
typedef uint16_t le16;
typedef uint32_t le32;
typedef uint64_t le64;

enum virtio_test_barrier {
    BARRIER_READ,
    BARRIER_WRITE,
    BARRIER_FULL
};

void virtio_test_barrier(enum virtio_test_barrier kind);
uint32_t virtio_test_read(void *context, volatile void *reg, unsigned width);
void virtio_test_write(void *context, volatile void *reg, unsigned width, uint32_t value);
void virtio_test_stall(unsigned microseconds);

static FORCEINLINE VOID VirtioReadBarrier(VOID) {
    virtio_test_barrier(BARRIER_READ);
}

static FORCEINLINE VOID VirtioWriteBarrier(VOID) {
    virtio_test_barrier(BARRIER_WRITE);
}

static FORCEINLINE VOID VirtioFullBarrier(VOID) {
    virtio_test_barrier(BARRIER_FULL);
}

static FORCEINLINE UCHAR VirtioRead8(PVOID Context, volatile VOID *Register) {
    return (UCHAR)virtio_test_read(Context, Register, 1);
}

static FORCEINLINE USHORT VirtioRead16(PVOID Context, volatile VOID *Register) {
    return (USHORT)virtio_test_read(Context, Register, 2);
}

static FORCEINLINE ULONG VirtioRead32(PVOID Context, volatile VOID *Register) {
    return virtio_test_read(Context, Register, 4);
}

static FORCEINLINE VOID VirtioWrite8(PVOID Context, volatile VOID *Register, UCHAR Value) {
    virtio_test_write(Context, Register, 1, Value);
}

static FORCEINLINE VOID VirtioWrite16(PVOID Context, volatile VOID *Register, USHORT Value) {
    virtio_test_write(Context, Register, 2, Value);
}

static FORCEINLINE VOID VirtioWrite32(PVOID Context, volatile VOID *Register, ULONG Value) {
    virtio_test_write(Context, Register, 4, Value);
}

static FORCEINLINE VOID VirtioStall(ULONG Microseconds) {
    virtio_test_stall(Microseconds);
}

#endif
