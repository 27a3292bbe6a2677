/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What virtio/common sees of the outside in a StorPort miniport.
 *
 * Context of a register access is the HwDeviceExtension. Registers are reached through StorPort on x86 and inline on
 * x64, as the kit defines StorPortReadRegister* and StorPortWriteRegister* there.
 * Both architectures order all but a store before a later load, so only VirtioFullBarrier is an instruction.
 */
#ifndef VIRTIO_PLATFORM_H
#define VIRTIO_PLATFORM_H

#include <ntddk.h>
#include <storport.h>
#include <stddef.h>

#if defined(_X86_)
#include <emmintrin.h>
#endif

typedef UCHAR u8;
typedef USHORT le16;
typedef ULONG le32;
typedef ULONGLONG le64;

#define VIRTIO_ASSERT(Expression) NT_ASSERT(Expression)

/* IRQL: any, for everything below. */

#if defined(_X86_)
/* Whether there is SSE2, which Windows 7 does not insist on. */
DECLSPEC_SELECTANY BOOLEAN VirtioHasFence = FALSE;
#endif

/* Before anything else here. */
static FORCEINLINE VOID VirtioPlatformInitialize(VOID) {
#if defined(_X86_)
    VirtioHasFence = ExIsProcessorFeaturePresent(PF_XMMI64_INSTRUCTIONS_AVAILABLE);
#endif
}

/* Loads before it, then loads after it. */
static FORCEINLINE VOID VirtioReadBarrier(VOID) {
    KeMemoryBarrierWithoutFence();
}

/* Stores before it, then stores after it. */
static FORCEINLINE VOID VirtioWriteBarrier(VOID) {
    KeMemoryBarrierWithoutFence();
}

/*
 * Stores before it, then loads after it: a fence, where the processor has one. KeMemoryBarrier is a locked instruction,
 * which QEMU without KVM takes for an ordinary one if the machine has one processor, though the device works beside it.
 */
static FORCEINLINE VOID VirtioFullBarrier(VOID) {
#if defined(_AMD64_)
    MemoryFence();
#else
    if (VirtioHasFence) {
        _mm_mfence();
    } else {
        KeMemoryBarrier();
    }
#endif
}

static FORCEINLINE UCHAR VirtioRead8(PVOID Context, volatile VOID *Register) {
    UNREFERENCED_PARAMETER(Context);
    return StorPortReadRegisterUchar(Context, (PUCHAR)Register);
}

static FORCEINLINE USHORT VirtioRead16(PVOID Context, volatile VOID *Register) {
    UNREFERENCED_PARAMETER(Context);
    return StorPortReadRegisterUshort(Context, (PUSHORT)Register);
}

static FORCEINLINE ULONG VirtioRead32(PVOID Context, volatile VOID *Register) {
    UNREFERENCED_PARAMETER(Context);
    return StorPortReadRegisterUlong(Context, (PULONG)Register);
}

static FORCEINLINE VOID VirtioWrite8(PVOID Context, volatile VOID *Register, UCHAR Value) {
    UNREFERENCED_PARAMETER(Context);
    StorPortWriteRegisterUchar(Context, (PUCHAR)Register, Value);
}

static FORCEINLINE VOID VirtioWrite16(PVOID Context, volatile VOID *Register, USHORT Value) {
    UNREFERENCED_PARAMETER(Context);
    StorPortWriteRegisterUshort(Context, (PUSHORT)Register, Value);
}

static FORCEINLINE VOID VirtioWrite32(PVOID Context, volatile VOID *Register, ULONG Value) {
    UNREFERENCED_PARAMETER(Context);
    StorPortWriteRegisterUlong(Context, (PULONG)Register, Value);
}

/* Less than 1000 microseconds at a time.  [ddi StorPortStallExecution] */
static FORCEINLINE VOID VirtioStall(ULONG Microseconds) {
    VIRTIO_ASSERT(Microseconds < 1000);
    StorPortStallExecution(Microseconds);
}

#endif
