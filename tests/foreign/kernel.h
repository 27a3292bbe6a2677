/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What these miniports use of the kernel's headers and StorPort has not: objects that a driver keeps, and routines.
 * Those of the second half are looked up by name, so that no import library needs to know how x86 decorates each.
 */
#ifndef FOREIGN_KERNEL_H
#define FOREIGN_KERNEL_H

#include <storport.h>

#if defined(_AMD64_)
#define FASTCALL
#else
#define FASTCALL __fastcall
#endif

typedef ULONG_PTR KSPIN_LOCK;
typedef VOID NTAPI KDEFERRED_ROUTINE(PVOID Dpc, PVOID Context, PVOID Argument1, PVOID Argument2);

/* Room for the kernel's own, of the larger machine. */
typedef struct _KOBJECT {
    ULONGLONG Opaque[16];
} KOBJECT, *PKOBJECT;

enum {
    NotificationEvent,
    SynchronizationEvent
};

/* ---- Imported: ntoskrnl.def of tests/foreign/build.py ---- */

NTSYSAPI ULONG NTAPIV DbgPrintEx(ULONG Component, ULONG Level, PCSTR Format, ...);
NTKERNELAPI PVOID NTAPI MmGetSystemRoutineAddress(PUNICODE_STRING Name);
NTKERNELAPI PVOID NTAPI ExAllocatePoolWithTag(ULONG Type, SIZE_T Bytes, ULONG Tag);
NTKERNELAPI VOID NTAPI ExFreePoolWithTag(PVOID Block, ULONG Tag);
NTKERNELAPI VOID NTAPI KeInitializeDpc(PKOBJECT Dpc, KDEFERRED_ROUTINE *Routine, PVOID Context);
NTKERNELAPI BOOLEAN NTAPI KeInsertQueueDpc(PKOBJECT Dpc, PVOID Argument1, PVOID Argument2);
NTKERNELAPI VOID NTAPI KeInitializeTimer(PKOBJECT Timer);
NTKERNELAPI BOOLEAN NTAPI KeSetTimer(PKOBJECT Timer, LARGE_INTEGER Due, PKOBJECT Dpc);
NTKERNELAPI BOOLEAN NTAPI KeCancelTimer(PKOBJECT Timer);
NTSYSAPI VOID NTAPI RtlInitUnicodeString(PUNICODE_STRING String, PCWSTR Text);

/* ---- As the kit's headers have it inline ---- */

#if defined(_AMD64_)
NTKERNELAPI KIRQL NTAPI KeAcquireSpinLockRaiseToDpc(KSPIN_LOCK *Lock);
NTKERNELAPI VOID NTAPI KeReleaseSpinLock(KSPIN_LOCK *Lock, KIRQL Irql);

static FORCEINLINE VOID KeInitializeSpinLock(KSPIN_LOCK *Lock) {
    *Lock = 0;
}

#define KeAcquireSpinLock(Lock, Irql) (*(Irql) = KeAcquireSpinLockRaiseToDpc(Lock))

static FORCEINLINE KIRQL KeGetCurrentIrql(VOID) {
    ULONGLONG irql;

    __asm__ __volatile__("movq %%cr8, %0" : "=r"(irql));
    return (KIRQL)irql;
}

static FORCEINLINE VOID KeLowerIrql(KIRQL Irql) {
    __asm__ __volatile__("movq %0, %%cr8" : : "r"((ULONGLONG)Irql) : "memory");
}

static FORCEINLINE VOID KeRaiseIrql(KIRQL Irql, KIRQL *Old) {
    *Old = KeGetCurrentIrql();
    KeLowerIrql(Irql);
}

#define KUSER_SHARED_DATA 0xFFFFF78000000000ull

static FORCEINLINE VOID KeQuerySystemTime(PLARGE_INTEGER Time) {
    Time->QuadPart = *(volatile LONGLONG *)(KUSER_SHARED_DATA + 0x14);
}

static FORCEINLINE VOID KeQueryTickCount(PLARGE_INTEGER Count) {
    Count->QuadPart = *(volatile LONGLONG *)(KUSER_SHARED_DATA + 0x320);
}

static FORCEINLINE ULONG KeGetCurrentProcessorNumber(VOID) {
    ULONG number;

    __asm__ __volatile__("movl %%gs:0x1a4, %0" : "=r"(number));
    return number;
}
#else
NTKERNELAPI VOID NTAPI KeInitializeSpinLock(KSPIN_LOCK *Lock);
NTKERNELAPI KIRQL FASTCALL KfAcquireSpinLock(KSPIN_LOCK *Lock);
NTKERNELAPI VOID FASTCALL KfReleaseSpinLock(KSPIN_LOCK *Lock, KIRQL Irql);
NTKERNELAPI KIRQL NTAPI KeGetCurrentIrql(VOID);
NTKERNELAPI KIRQL FASTCALL KfRaiseIrql(KIRQL Irql);
NTKERNELAPI VOID FASTCALL KfLowerIrql(KIRQL Irql);
NTKERNELAPI VOID NTAPI KeQuerySystemTime(PLARGE_INTEGER Time);
NTKERNELAPI VOID NTAPI KeQueryTickCount(PLARGE_INTEGER Count);

#define KeAcquireSpinLock(Lock, Irql) (*(Irql) = KfAcquireSpinLock(Lock))
#define KeReleaseSpinLock(Lock, Irql) KfReleaseSpinLock((Lock), (Irql))
#define KeRaiseIrql(Irql, Old) (*(Old) = KfRaiseIrql(Irql))
#define KeLowerIrql(Irql) KfLowerIrql(Irql)
#endif

static FORCEINLINE VOID InitializeListHead(PLIST_ENTRY Head) {
    Head->Flink = Head->Blink = Head;
}

static FORCEINLINE VOID InsertTailList(PLIST_ENTRY Head, PLIST_ENTRY Entry) {
    Entry->Flink = Head;
    Entry->Blink = Head->Blink;
    Head->Blink->Flink = Entry;
    Head->Blink = Entry;
}

/* The head itself where the list is empty. */
static FORCEINLINE PLIST_ENTRY RemoveHeadList(PLIST_ENTRY Head) {
    PLIST_ENTRY entry = Head->Flink;

    Head->Flink = entry->Flink;
    entry->Flink->Blink = Head;
    return entry;
}

/* How the kit's checked builds fail. */
#undef NT_ASSERT
#define NT_ASSERT(Expression) ((Expression) ? (VOID)0 : ({ __asm__ __volatile__("int $0x2c"); }))

#endif
