/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The base of the Windows 7 kernel ABI: scalar types, calling conventions, annotations, memory and register access.
 *
 * Two kinds of program read wdk7/include:
 *   a driver      clang for *-windows-msvc, x86 or x64; imports are dllimport, small routines are inline as in the kit;
 *   storhost      a Linux program, gcc or clang, 32 or 64 bits, that implements what drivers import.
 *
 * STORPORT_HOST  Define it before the first include to get the second view: types, constants and plain prototypes
 *                (the whole export list on both architectures), no dllimport, no inline routine, no annotation macro.
 *                Two things differ from the driver's view there:
 *                - PHYSICAL_ADDRESS_RETURN, the return type of the two routines that return a PHYSICAL_ADDRESS, is
 *                  LONGLONG. Windows returns the union in EDX:EAX on x86; System V returns it through a hidden pointer.
 *                - a variadic export takes its arguments by the Windows convention: on x86-64 its body uses
 *                  __builtin_ms_va_list, __builtin_ms_va_start and __builtin_ms_va_end.
 *
 * Without STORPORT_HOST the headers may also be read by a Linux compiler, for tests of driver sources.
 *
 * NTAPI is the convention of exports and callbacks, NTAPIV that of variadic exports. On 32-bit Linux a driver calls
 * with a stack aligned to 4 only: compile storhost with -mstackrealign.
 */
#ifndef WDK7_NTDDK_H
#define WDK7_NTDDK_H

#include <stdarg.h>
#include <stddef.h>

#if !defined(__clang__) && !defined(__GNUC__)
#error "wdk7/include needs clang or gcc; a WDK build uses the kit's own headers"
#endif

#if defined(__x86_64__)
#if !defined(_AMD64_)
#define _AMD64_ 1
#endif
#elif defined(__i386__)
#if !defined(_X86_)
#define _X86_ 1
#endif
#else
#error "Windows 7 runs on x86 and x64 only"
#endif

#ifndef DBG
#define DBG 0
#endif

/* ---- Calling conventions and attributes ---- */

#if defined(_WIN32)
#define NTAPI __stdcall
#define NTAPIV __cdecl
#elif defined(_AMD64_)
#define NTAPI __attribute__((ms_abi))
#define NTAPIV __attribute__((ms_abi))
#else
#define NTAPI __attribute__((stdcall))
#define NTAPIV __attribute__((cdecl))
#endif

#if defined(_WIN32) && !defined(STORPORT_HOST)
#define DECLSPEC_IMPORT __declspec(dllimport)
#else
#define DECLSPEC_IMPORT
#endif
#define NTKERNELAPI DECLSPEC_IMPORT
#define NTSYSAPI DECLSPEC_IMPORT

#if defined(_WIN32)
#define FORCEINLINE __forceinline
#else
#define FORCEINLINE __inline__ __attribute__((always_inline))
#endif

#define DECLSPEC_SELECTANY __declspec(selectany)
#define DECLSPEC_ALIGN(Bytes) __attribute__((aligned(Bytes)))
#define DECLSPEC_NORETURN __attribute__((noreturn))
#define DECLSPEC_NOINLINE __attribute__((noinline))

/* ---- Scalar types ---- */

#define VOID void
#define CONST const

typedef void *PVOID;
typedef char CHAR, *PCHAR, CCHAR, *PCCHAR, *PSTR;
typedef const char *PCSTR;
typedef unsigned char UCHAR, *PUCHAR;
typedef short SHORT, *PSHORT, CSHORT;
typedef unsigned short USHORT, *PUSHORT;
typedef int INT;
typedef unsigned int UINT;

#if defined(_WIN32)
typedef long LONG, *PLONG;
typedef unsigned long ULONG, *PULONG;
#else
typedef int LONG, *PLONG; /* 32 bits where long has 64 */
typedef unsigned int ULONG, *PULONG;
#endif

/* Windows aligns them to 8 inside structures on x86 too, System V to 4. */
#if defined(_WIN32)
typedef long long LONGLONG;
typedef unsigned long long ULONGLONG;
#else
typedef long long LONGLONG __attribute__((aligned(8)));
typedef unsigned long long ULONGLONG __attribute__((aligned(8)));
#endif
typedef LONGLONG *PLONGLONG, LONG64, *PLONG64;
typedef ULONGLONG *PULONGLONG, ULONG64, *PULONG64;

#if defined(_WIN32) && defined(_AMD64_)
typedef long long LONG_PTR, *PLONG_PTR;
typedef unsigned long long ULONG_PTR, *PULONG_PTR;
#else
typedef long LONG_PTR, *PLONG_PTR;
typedef unsigned long ULONG_PTR, *PULONG_PTR;
#endif

typedef ULONG_PTR SIZE_T, *PSIZE_T;
typedef ULONG_PTR KAFFINITY, *PKAFFINITY;
typedef UCHAR BOOLEAN, *PBOOLEAN;
typedef UCHAR KIRQL, *PKIRQL;
typedef LONG NTSTATUS;
#if defined(_WIN32)
typedef wchar_t WCHAR;
#else
typedef unsigned short WCHAR; /* UTF-16 unit; Linux has 32-bit wchar_t */
#endif
typedef WCHAR *PWCHAR, *PWSTR;
typedef const WCHAR *PCWSTR;

#ifndef TRUE
#define TRUE 1
#endif
#ifndef FALSE
#define FALSE 0
#endif

typedef union _LARGE_INTEGER {
    struct {
        ULONG LowPart;
        LONG HighPart;
    };
    struct {
        ULONG LowPart;
        LONG HighPart;
    } u;
    LONGLONG QuadPart;
} LARGE_INTEGER, *PLARGE_INTEGER;

typedef LARGE_INTEGER PHYSICAL_ADDRESS, *PPHYSICAL_ADDRESS;

#if defined(STORPORT_HOST)
typedef LONGLONG PHYSICAL_ADDRESS_RETURN;
#else
typedef PHYSICAL_ADDRESS PHYSICAL_ADDRESS_RETURN;
#endif

typedef struct _UNICODE_STRING {
    USHORT Length;        /* bytes, without a terminator */
    USHORT MaximumLength; /* bytes */
    PWSTR Buffer;
} UNICODE_STRING, *PUNICODE_STRING;
typedef const UNICODE_STRING *PCUNICODE_STRING;

typedef struct _LIST_ENTRY {
    struct _LIST_ENTRY *Flink;
    struct _LIST_ENTRY *Blink;
} LIST_ENTRY, *PLIST_ENTRY;

typedef struct _GROUP_AFFINITY {
    KAFFINITY Mask;
    USHORT Group;
    USHORT Reserved[3];
} GROUP_AFFINITY, *PGROUP_AFFINITY;

typedef struct _PROCESSOR_NUMBER {
    USHORT Group;
    UCHAR Number;
    UCHAR Reserved;
} PROCESSOR_NUMBER, *PPROCESSOR_NUMBER;

/* ---- Status codes ---- */

#define NT_SUCCESS(Status) ((NTSTATUS)(Status) >= 0)

#define STATUS_SUCCESS ((NTSTATUS)0x00000000)
#define STATUS_TIMEOUT ((NTSTATUS)0x00000102)
#define STATUS_BUFFER_OVERFLOW ((NTSTATUS)0x80000005)
#define STATUS_UNSUCCESSFUL ((NTSTATUS)0xC0000001)
#define STATUS_NOT_IMPLEMENTED ((NTSTATUS)0xC0000002)
#define STATUS_INVALID_PARAMETER ((NTSTATUS)0xC000000D)
#define STATUS_NO_SUCH_DEVICE ((NTSTATUS)0xC000000E)
#define STATUS_INVALID_DEVICE_REQUEST ((NTSTATUS)0xC0000010)
#define STATUS_BUFFER_TOO_SMALL ((NTSTATUS)0xC0000023)
#define STATUS_REVISION_MISMATCH ((NTSTATUS)0xC0000059)
#define STATUS_INSUFFICIENT_RESOURCES ((NTSTATUS)0xC000009A)
#define STATUS_DEVICE_NOT_CONNECTED ((NTSTATUS)0xC000009D)
#define STATUS_DEVICE_NOT_READY ((NTSTATUS)0xC00000A3)
#define STATUS_IO_TIMEOUT ((NTSTATUS)0xC00000B5)
#define STATUS_NOT_SUPPORTED ((NTSTATUS)0xC00000BB)
#define STATUS_IO_DEVICE_ERROR ((NTSTATUS)0xC0000185)

/* ---- Interrupt levels, buses, memory ---- */

#define PASSIVE_LEVEL 0
#define APC_LEVEL 1
#define DISPATCH_LEVEL 2
#if defined(_AMD64_)
#define HIGH_LEVEL 15
#else
#define HIGH_LEVEL 31
#endif

typedef enum _INTERFACE_TYPE {
    InterfaceTypeUndefined = -1,
    Internal,
    Isa,
    Eisa,
    MicroChannel,
    TurboChannel,
    PCIBus
} INTERFACE_TYPE, *PINTERFACE_TYPE;

typedef enum _BUS_DATA_TYPE {
    ConfigurationSpaceUndefined = -1,
    Cmos,
    EisaConfiguration,
    Pos,
    CbusConfiguration,
    PCIConfiguration
} BUS_DATA_TYPE, *PBUS_DATA_TYPE;

typedef enum _KINTERRUPT_MODE {
    LevelSensitive,
    Latched
} KINTERRUPT_MODE;

typedef enum _DMA_WIDTH {
    Width8Bits,
    Width16Bits,
    Width32Bits,
    MaximumDmaWidth
} DMA_WIDTH, *PDMA_WIDTH;

typedef enum _DMA_SPEED {
    Compatible,
    TypeA,
    TypeB,
    TypeC,
    TypeF,
    MaximumDmaSpeed
} DMA_SPEED, *PDMA_SPEED;

typedef enum _MEMORY_CACHING_TYPE {
    MmNonCached,
    MmCached,
    MmWriteCombined,
    MmHardwareCoherentCached,
    MmNonCachedUnordered,
    MmUSWCCached,
    MmMaximumCacheType
} MEMORY_CACHING_TYPE;

typedef ULONG NODE_REQUIREMENT;
#define MM_ANY_NODE_OK 0x80000000

typedef enum _LOGICAL_PROCESSOR_RELATIONSHIP {
    RelationProcessorCore,
    RelationNumaNode,
    RelationCache,
    RelationProcessorPackage,
    RelationGroup,
    RelationAll = 0xFFFF
} LOGICAL_PROCESSOR_RELATIONSHIP;

typedef struct _SYSTEM_LOGICAL_PROCESSOR_INFORMATION_EX *PSYSTEM_LOGICAL_PROCESSOR_INFORMATION_EX;

typedef struct _DRIVER_OBJECT *PDRIVER_OBJECT;

typedef NTSTATUS NTAPI DRIVER_INITIALIZE(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath);
typedef DRIVER_INITIALIZE *PDRIVER_INITIALIZE;

/* ---- Kernel exports that a miniport may import ---- */

NTKERNELAPI DECLSPEC_NORETURN VOID NTAPI KeBugCheckEx(ULONG BugCheckCode, ULONG_PTR Parameter1, ULONG_PTR Parameter2,
                                                      ULONG_PTR Parameter3, ULONG_PTR Parameter4);
NTKERNELAPI BOOLEAN NTAPI ExIsProcessorFeaturePresent(ULONG ProcessorFeature);
NTSYSAPI ULONG NTAPIV DbgPrint(PCSTR Format, ...) __attribute__((format(printf, 1, 2)));

#define PF_XMMI64_INSTRUCTIONS_AVAILABLE 10 /* SSE2 */

/* ---- Expressions ---- */

#define ANYSIZE_ARRAY 1
#define MAXUCHAR 0xff
#define MAXUSHORT 0xffff
#define MAXULONG 0xffffffff

#define FIELD_OFFSET(Type, Field) ((LONG)(offsetof(Type, Field)))
#define RTL_FIELD_SIZE(Type, Field) (sizeof(((Type *)0)->Field))
#define RTL_SIZEOF_THROUGH_FIELD(Type, Field) (FIELD_OFFSET(Type, Field) + RTL_FIELD_SIZE(Type, Field))
#define RTL_NUMBER_OF(Array) (sizeof(Array) / sizeof((Array)[0]))
#define ARRAYSIZE(Array) RTL_NUMBER_OF(Array)
#define CONTAINING_RECORD(Address, Type, Field) ((Type *)((PUCHAR)(Address) - offsetof(Type, Field)))
#define C_ASSERT(Expression) _Static_assert(Expression, #Expression)
#define UNREFERENCED_PARAMETER(Parameter) ((void)(Parameter))

#if defined(_WIN32)
void *__cdecl memcpy(void *Destination, const void *Source, size_t Length);
void *__cdecl memmove(void *Destination, const void *Source, size_t Length);
void *__cdecl memset(void *Destination, int Fill, size_t Length);
int __cdecl memcmp(const void *First, const void *Second, size_t Length);
#else
#include <string.h>
#endif

#if !defined(STORPORT_HOST)

/* ---- Annotations: for the analyzers of later kits, empty here ---- */

#define IN
#define OUT
#define OPTIONAL

#define _In_
#define _In_opt_
#define _In_z_
#define _In_opt_z_
#define _In_reads_(Count)
#define _In_reads_opt_(Count)
#define _In_reads_bytes_(Bytes)
#define _In_reads_bytes_opt_(Bytes)
#define _Out_
#define _Out_opt_
#define _Out_writes_(Count)
#define _Out_writes_opt_(Count)
#define _Out_writes_bytes_(Bytes)
#define _Out_writes_bytes_opt_(Bytes)
#define _Out_writes_bytes_to_(Bytes, Written)
#define _Outptr_
#define _Outptr_result_maybenull_
#define _Inout_
#define _Inout_opt_
#define _Inout_updates_(Count)
#define _Inout_updates_bytes_(Bytes)
#define _Ret_maybenull_
#define _Ret_notnull_
#define _Field_size_(Count)
#define _Field_size_bytes_(Bytes)
#define _Success_(Expression)
#define _When_(Expression, Annotations)
#define _At_(Target, Annotations)
#define _Must_inspect_result_
#define _Printf_format_string_
#define _Use_decl_annotations_
#define _Function_class_(Name)
#define _Analysis_assume_(Expression)
#define _IRQL_requires_(Irql)
#define _IRQL_requires_max_(Irql)
#define _IRQL_requires_min_(Irql)
#define _IRQL_requires_same_
#define _IRQL_raises_(Irql)
#define _IRQL_saves_
#define _IRQL_restores_
#define _Acquires_lock_(Lock)
#define _Releases_lock_(Lock)
#define _Requires_lock_held_(Lock)
#define _Requires_lock_not_held_(Lock)
#define _Guarded_by_(Lock)
#define _Interlocked_operand_

/* ---- Memory ---- */

#define PAGE_SHIFT 12
#define PAGE_SIZE 0x1000
#define ROUND_TO_PAGES(Size) (((ULONG_PTR)(Size) + PAGE_SIZE - 1) & ~(ULONG_PTR)(PAGE_SIZE - 1))
#define BYTE_OFFSET(Address) ((ULONG)((ULONG_PTR)(Address) & (PAGE_SIZE - 1)))

/* The builtins become stores where the length is a small constant, -ffreestanding or not. */
#define RtlZeroMemory(Destination, Length) ((void)__builtin_memset((Destination), 0, (Length)))
#define RtlFillMemory(Destination, Length, Fill) ((void)__builtin_memset((Destination), (Fill), (Length)))
#define RtlCopyMemory(Destination, Source, Length) ((void)__builtin_memcpy((Destination), (Source), (Length)))
#define RtlMoveMemory(Destination, Source, Length) ((void)__builtin_memmove((Destination), (Source), (Length)))
#define RtlEqualMemory(First, Second, Length) (__builtin_memcmp((First), (Second), (Length)) == 0)

#define RtlUshortByteSwap(Value) __builtin_bswap16((USHORT)(Value))
#define RtlUlongByteSwap(Value) ((ULONG)__builtin_bswap32((ULONG)(Value)))
#define RtlUlonglongByteSwap(Value) ((ULONGLONG)__builtin_bswap64((ULONGLONG)(Value)))

/* ---- Ordering and atomic operations ---- */

/* Orders accesses for the compiler only. */
#define KeMemoryBarrierWithoutFence() __asm__ __volatile__("" : : : "memory")

/* Full barrier, ordinary memory: every earlier access before every later one. */
static FORCEINLINE VOID KeMemoryBarrier(VOID) {
#if defined(_AMD64_)
    __asm__ __volatile__("lock; orl $0, (%%rsp)" : : : "memory", "cc");
#else
    __asm__ __volatile__("lock; orl $0, (%%esp)" : : : "memory", "cc");
#endif
}

#if defined(_AMD64_)
/* As an instruction of its own. The kit for x86 has it in emmintrin.h only. */
#define MemoryFence() __asm__ __volatile__("mfence" : : : "memory")
#endif

static FORCEINLINE LONG InterlockedIncrement(LONG volatile *Addend) {
    return __sync_add_and_fetch(Addend, 1);
}

static FORCEINLINE LONG InterlockedDecrement(LONG volatile *Addend) {
    return __sync_sub_and_fetch(Addend, 1);
}

/* Returns the previous value, as the next two do. */
static FORCEINLINE LONG InterlockedExchangeAdd(LONG volatile *Addend, LONG Value) {
    return __sync_fetch_and_add(Addend, Value);
}

/* On x86 the exchange is a full barrier. */
static FORCEINLINE LONG InterlockedExchange(LONG volatile *Target, LONG Value) {
    __asm__ __volatile__("xchgl %0, %1" : "+r"(Value), "+m"(*Target) : : "memory");
    return Value;
}

/* Stores Exchange if *Destination equals Comparand. Returns the previous value. */
static FORCEINLINE LONG InterlockedCompareExchange(LONG volatile *Destination, LONG Exchange, LONG Comparand) {
    return __sync_val_compare_and_swap(Destination, Comparand, Exchange);
}

/* ---- Device registers and ports ---- */

#if defined(_AMD64_)

/*
 * A read is not moved by the compiler. A write is followed by a store fence, no more: whoever needs a later load
 * ordered behind it asks for a full barrier.
 */
#define WDK7_REGISTER_ACCESS(Suffix, Type)                                                                             \
    static FORCEINLINE Type READ_REGISTER_##Suffix(volatile Type *Register) {                                          \
        Type value;                                                                                                    \
        KeMemoryBarrierWithoutFence();                                                                                 \
        value = *Register;                                                                                             \
        KeMemoryBarrierWithoutFence();                                                                                 \
        return value;                                                                                                  \
    }                                                                                                                  \
    static FORCEINLINE VOID WRITE_REGISTER_##Suffix(volatile Type *Register, Type Value) {                             \
        KeMemoryBarrierWithoutFence();                                                                                 \
        *Register = Value;                                                                                             \
        __asm__ __volatile__("sfence" : : : "memory");                                                                 \
    }                                                                                                                  \
    static FORCEINLINE VOID READ_REGISTER_BUFFER_##Suffix(volatile Type *Register, Type *Buffer, ULONG Count) {        \
        for (; Count != 0; Count -= 1) {                                                                               \
            *Buffer++ = READ_REGISTER_##Suffix(Register++);                                                            \
        }                                                                                                              \
    }                                                                                                                  \
    static FORCEINLINE VOID WRITE_REGISTER_BUFFER_##Suffix(volatile Type *Register, const Type *Buffer, ULONG Count) { \
        for (; Count != 0; Count -= 1) {                                                                               \
            WRITE_REGISTER_##Suffix(Register++, *Buffer++);                                                            \
        }                                                                                                              \
    }

WDK7_REGISTER_ACCESS(UCHAR, UCHAR)
WDK7_REGISTER_ACCESS(USHORT, USHORT)
WDK7_REGISTER_ACCESS(ULONG, ULONG)

#undef WDK7_REGISTER_ACCESS

/* A port is an address whose low 16 bits count; the buffer forms move every element through the same port. */
#define WDK7_PORT_ACCESS(Suffix, Type, Letter, Register)                                                               \
    static FORCEINLINE Type READ_PORT_##Suffix(Type *Port) {                                                           \
        Type value;                                                                                                    \
        __asm__ __volatile__("in" Letter " %w1, %" Register "0"                                                        \
                             : "=a"(value)                                                                             \
                             : "Nd"((USHORT)(ULONG_PTR)Port)                                                           \
                             : "memory");                                                                              \
        return value;                                                                                                  \
    }                                                                                                                  \
    static FORCEINLINE VOID WRITE_PORT_##Suffix(Type *Port, Type Value) {                                              \
        __asm__ __volatile__("out" Letter " %" Register "0, %w1"                                                       \
                             :                                                                                         \
                             : "a"(Value), "Nd"((USHORT)(ULONG_PTR)Port)                                               \
                             : "memory");                                                                              \
    }                                                                                                                  \
    static FORCEINLINE VOID READ_PORT_BUFFER_##Suffix(Type *Port, Type *Buffer, ULONG Count) {                         \
        for (; Count != 0; Count -= 1) {                                                                               \
            *Buffer++ = READ_PORT_##Suffix(Port);                                                                      \
        }                                                                                                              \
    }                                                                                                                  \
    static FORCEINLINE VOID WRITE_PORT_BUFFER_##Suffix(Type *Port, const Type *Buffer, ULONG Count) {                  \
        for (; Count != 0; Count -= 1) {                                                                               \
            WRITE_PORT_##Suffix(Port, *Buffer++);                                                                      \
        }                                                                                                              \
    }

WDK7_PORT_ACCESS(UCHAR, UCHAR, "b", "b")
WDK7_PORT_ACCESS(USHORT, USHORT, "w", "w")
WDK7_PORT_ACCESS(ULONG, ULONG, "l", "k")

#undef WDK7_PORT_ACCESS

#endif /* _AMD64_ */

/* ---- Assertions: checked builds stop in the debugger, or with a bugcheck where there is none ---- */

#if DBG
static FORCEINLINE VOID Wdk7AssertFailed(PCSTR Expression, PCSTR File, int Line) {
    (void)DbgPrint("assertion failed: %s (%s:%d)\n", Expression, File, Line);
    __asm__ __volatile__("int $0x2c" : : : "memory");
}
#define ASSERT(Expression) ((Expression) ? (void)0 : Wdk7AssertFailed(#Expression, __FILE__, __LINE__))
#else
#define ASSERT(Expression) ((void)0)
#endif
#define NT_ASSERT(Expression) ASSERT(Expression)

#endif /* !STORPORT_HOST */

#endif
