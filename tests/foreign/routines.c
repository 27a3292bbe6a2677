/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A miniport that calls every routine of the kernel that storhost has, in DriverEntry, and says of each what came of
 * it: "ok NAME" or "FAIL NAME". It then asks StorPort for nothing. WRONG makes one mistake instead.
 */
#include "kernel.h"

#ifndef WRONG
#define WRONG 0
#endif

static volatile const ULONG Wrong = WRONG;

#define POOL_TAG 0x74736554
#define NON_PAGED 0
#define PAGED 1

/* Routines are looked up at PASSIVE_LEVEL; those that are used above it, beforehand. */
static struct {
    PCSTR Name;
    PVOID Routine;
} Known[32];

static BOOLEAN Same(PCSTR One, PCSTR Other) {
    while (*One != 0 && *One == *Other) {
        One++;
        Other++;
    }
    return (BOOLEAN)(*One == *Other);
}

static DECLSPEC_NOINLINE PVOID Find(PCSTR Name) {
    WCHAR text[64];
    UNICODE_STRING string;
    ULONG i;

    for (i = 0; Known[i].Name != NULL; i++) {
        if (Same(Known[i].Name, Name)) {
            return Known[i].Routine;
        }
    }
    for (i = 0; Name[i] != 0; i++) {
        text[i] = (WCHAR)Name[i];
    }
    text[i] = 0;
    RtlInitUnicodeString(&string, text);
    return MmGetSystemRoutineAddress(&string);
}

static VOID Prepare(VOID) {
    static const PCSTR names[] = {
        "KeAcquireInStackQueuedSpinLockAtDpcLevel",
        "KeAcquireSpinLock",
        "KeAcquireSpinLockAtDpcLevel",
        "KefAcquireSpinLockAtDpcLevel",
        "KefReleaseSpinLockFromDpcLevel",
        "KeLowerIrql",
        "KeReleaseInStackQueuedSpinLock",
        "KeReleaseInStackQueuedSpinLockFromDpcLevel",
        "KeReleaseSpinLock",
        "KeReleaseSpinLockFromDpcLevel",
        "KeRemoveQueueDpc",
        "KeSetEvent",
        "KeTestSpinLock",
        "KeTryToAcquireSpinLockAtDpcLevel",
        "KeWaitForSingleObject",
    };
    PVOID routine;
    ULONG i;

    for (i = 0; i < RTL_NUMBER_OF(names); i++) {
        routine = Find(names[i]);
        Known[i].Routine = routine;
        Known[i].Name = names[i];
    }
}

static VOID Say(PCSTR Name, BOOLEAN Good) {
    DbgPrint("%s %s\n", Good ? "ok" : "FAIL", Name);
}

/* A routine by its type: stdcall, cdecl, fastcall. */
#define S(Result, Name, Parameters) ((Result(NTAPI *) Parameters)Find(#Name))
#define C(Result, Name, Parameters) ((Result(NTAPIV *) Parameters)Find(#Name))
#define F(Result, Name, Parameters) ((Result(FASTCALL *) Parameters)Find(#Name))
#define CHECK(Name, Expression) Say(#Name, (BOOLEAN)((Expression) != 0))

static BOOLEAN SameWide(PCWSTR One, PCWSTR Other) {
    while (*One != 0 && *One == *Other) {
        One++;
        Other++;
    }
    return (BOOLEAN)(*One == *Other);
}

/* ---- Strings ---- */

typedef int NTAPIV COMPARE(PCSTR, PCSTR);
typedef int NTAPIV COMPARE_N(PCSTR, PCSTR, SIZE_T);
typedef PSTR NTAPIV COPY(PSTR, PCSTR);
typedef PSTR NTAPIV COPY_N(PSTR, PCSTR, SIZE_T);
typedef int NTAPIV WCOMPARE(PCWSTR, PCWSTR);
typedef int NTAPIV WCOMPARE_N(PCWSTR, PCWSTR, SIZE_T);
typedef PWSTR NTAPIV WCOPY(PWSTR, PCWSTR);
typedef PWSTR NTAPIV WCOPY_N(PWSTR, PCWSTR, SIZE_T);

#define R(Type, Name) ((Type *)Find(#Name))

static VOID Bytes(VOID) {
    CHAR text[32] = "abcabc", other[32];
    PSTR end;

    CHECK(strlen, C(SIZE_T, strlen, (PCSTR))("abc") == 3);
    CHECK(strnlen, C(SIZE_T, strnlen, (PCSTR, SIZE_T))("abcdef", 4) == 4);
    CHECK(strcmp, R(COMPARE, strcmp)("abc", "abd") < 0 && R(COMPARE, strcmp)("abc", "ab") > 0 &&
                      R(COMPARE, strcmp)("", "") == 0);
    CHECK(strncmp, R(COMPARE_N, strncmp)("abc", "abd", 2) == 0 && R(COMPARE_N, strncmp)("abc", "abd", 3) < 0);
    CHECK(_stricmp, R(COMPARE, _stricmp)("ABc", "abC") == 0 && R(COMPARE, _stricmp)("B", "a") > 0);
    CHECK(_strnicmp, R(COMPARE_N, _strnicmp)("ABx", "aby", 2) == 0);
    CHECK(strcpy, R(COPY, strcpy)(other, text) == other && Same(other, "abcabc"));
    other[5] = 'x';
    CHECK(strncpy, Same(R(COPY_N, strncpy)(other, "ab", 6), "ab") && other[5] == 0);
    CHECK(strcat, Same(R(COPY, strcat)(other, "cd"), "abcd"));
    CHECK(strncat, Same(R(COPY_N, strncat)(other, "efgh", 2), "abcdef"));
    CHECK(strchr,
          C(PSTR, strchr, (PCSTR, int))(text, 'b') == text + 1 && C(PSTR, strchr, (PCSTR, int))(text, 'x') == NULL);
    end = C(PSTR, strrchr, (PCSTR, int))(text, 'b');
    CHECK(strrchr, end == text + 4);
    CHECK(strstr, C(PSTR, strstr, (PCSTR, PCSTR))(text, "ca") == text + 2 &&
                      C(PSTR, strstr, (PCSTR, PCSTR))(text, "cb") == NULL);
    CHECK(_strupr, Same(C(PSTR, _strupr, (PSTR))(text), "ABCABC"));
    CHECK(_strlwr, Same(C(PSTR, _strlwr, (PSTR))(text), "abcabc"));
    CHECK(tolower, C(int, tolower, (int))('Q') == 'q' && C(int, tolower, (int))('1') == '1');
    CHECK(toupper, C(int, toupper, (int))('q') == 'Q');
    CHECK(isdigit, C(int, isdigit, (int))('7') && !C(int, isdigit, (int))('a'));
    CHECK(isspace, C(int, isspace, (int))('\t') && !C(int, isspace, (int))('a'));
    CHECK(isxdigit, C(int, isxdigit, (int))('F') && !C(int, isxdigit, (int))('g'));
    CHECK(atoi, C(int, atoi, (PCSTR))(" -120x") == -120);
    CHECK(atol, C(LONG, atol, (PCSTR))("+77") == 77);
}

static VOID Wides(VOID) {
    WCHAR text[32] = L"abcabc", other[32];

    CHECK(wcslen, C(SIZE_T, wcslen, (PCWSTR))(L"abc") == 3);
    CHECK(wcsnlen, C(SIZE_T, wcsnlen, (PCWSTR, SIZE_T))(L"abcdef", 4) == 4);
    CHECK(wcscmp, R(WCOMPARE, wcscmp)(L"abc", L"abd") < 0 && R(WCOMPARE, wcscmp)(L"", L"") == 0);
    CHECK(wcsncmp, R(WCOMPARE_N, wcsncmp)(L"abc", L"abd", 2) == 0);
    CHECK(_wcsicmp, R(WCOMPARE, _wcsicmp)(L"ABc", L"abC") == 0);
    CHECK(_wcsnicmp, R(WCOMPARE_N, _wcsnicmp)(L"ABx", L"aby", 2) == 0);
    CHECK(wcscpy, SameWide(R(WCOPY, wcscpy)(other, text), L"abcabc"));
    CHECK(wcsncpy, SameWide(R(WCOPY_N, wcsncpy)(other, L"ab", 6), L"ab") && other[5] == 0);
    CHECK(wcscat, SameWide(R(WCOPY, wcscat)(other, L"cd"), L"abcd"));
    CHECK(wcsncat, SameWide(R(WCOPY_N, wcsncat)(other, L"efgh", 2), L"abcdef"));
    CHECK(wcschr, C(PWSTR, wcschr, (PCWSTR, WCHAR))(text, 'b') == text + 1);
    CHECK(wcsrchr, C(PWSTR, wcsrchr, (PCWSTR, WCHAR))(text, 'b') == text + 4);
    CHECK(wcsstr, C(PWSTR, wcsstr, (PCWSTR, PCWSTR))(text, L"ca") == text + 2);
    CHECK(_wcsupr, SameWide(C(PWSTR, _wcsupr, (PWSTR))(text), L"ABCABC"));
    CHECK(_wcslwr, SameWide(C(PWSTR, _wcslwr, (PWSTR))(text), L"abcabc"));
}

static VOID Memory(VOID) {
    UCHAR one[64], other[64];
    ULONG i;

    for (i = 0; i < sizeof(one); i++) {
        one[i] = (UCHAR)i;
        other[i] = 0;
    }
    CHECK(memcpy, C(PVOID, memcpy, (PVOID, PVOID, SIZE_T))(other, one, 64) == other && other[63] == 63);
    CHECK(memmove, C(PVOID, memmove, (PVOID, PVOID, SIZE_T))(other + 1, other, 63) == other + 1 && other[63] == 62 &&
                       other[1] == 0);
    CHECK(memset, C(PVOID, memset, (PVOID, int, SIZE_T))(other, 5, 64) == other && other[63] == 5);
    CHECK(RtlCompareMemory, S(SIZE_T, RtlCompareMemory, (PVOID, PVOID, SIZE_T))(one, other, 64) == 0 &&
                                S(SIZE_T, RtlCompareMemory, (PVOID, PVOID, SIZE_T))(one, one, 64) == 64);
    S(VOID, RtlMoveMemory, (PVOID, PVOID, SIZE_T))(other + 2, one, 8);
    CHECK(RtlMoveMemory, other[2] == 0 && other[9] == 7 && other[10] == 5);
    S(VOID, RtlFillMemory, (PVOID, SIZE_T, UCHAR))(other, 64, 9);
    CHECK(RtlFillMemory, other[0] == 9 && other[63] == 9);
    S(VOID, RtlZeroMemory, (PVOID, SIZE_T))(other, 64);
    CHECK(RtlZeroMemory, other[0] == 0 && other[63] == 0);
#if defined(_AMD64_)
    CHECK(memcmp, C(int, memcmp, (PVOID, PVOID, SIZE_T))(one, one, 64) == 0 &&
                      C(int, memcmp, (PVOID, PVOID, SIZE_T))(other, one, 2) < 0);
    S(VOID, RtlCopyMemory, (PVOID, PVOID, SIZE_T))(other, one, 64);
    CHECK(RtlCopyMemory, other[63] == 63);
#endif
}

/* ---- Formats ---- */

#define PRINT C(int, sprintf, (PSTR, PCSTR, ...))

static BOOLEAN Formats(PSTR Text) {
    UNICODE_STRING name;
    struct {
        USHORT Length, MaximumLength;
        PCSTR Buffer;
    } ansi = {3, 4, "xyz"};

    RtlInitUnicodeString(&name, L"Device");
    PRINT(Text, "%d|%5d|%-5d|%05d|%+d|%u|%x|%#X|%o|%c|%%", -7, 42, 42, 42, 7, 4000000000u, 0xabcu, 0xabcu, 8u, 'z');
    if (!Same(Text, "-7|   42|42   |00042|+7|4000000000|abc|0XABC|10|z|%")) {
        return FALSE;
    }
    PRINT(Text, "%I64d|%I64x|%lld|%I32u|%Iu|%hd|%lu", -5000000000ll, 0x123456789abull, 5000000000ll, 7u, (SIZE_T)9,
          65535, 8ul);
    if (!Same(Text, "-5000000000|123456789ab|5000000000|7|9|-1|8")) {
        return FALSE;
    }
    PRINT(Text, "%s|%5s|%-5s|%.2s|%S|%ws|%ls|%hs|%wZ|%Z|%C|%s|%*d", "abc", "abc", "abc", "abc", L"wide", L"w", L"l",
          "n", &name, &ansi, L'W', (PSTR)NULL, 4, 3);
    return Same(Text, "abc|  abc|abc  |ab|wide|w|l|n|Device|xyz|W|(null)|   3");
}

static int VFormat(PVOID Routine, PSTR Text, PCSTR Format, ...) {
    va_list list;
    int length;

    va_start(list, Format);
    length = ((int(NTAPIV *)(PSTR, PCSTR, va_list))Routine)(Text, Format, list);
    va_end(list);
    return length;
}

static int VFormatN(PVOID Routine, PVOID Text, SIZE_T Size, const VOID *Format, ...) {
    va_list list;
    int length;

    va_start(list, Format);
    length = ((int(NTAPIV *)(PVOID, SIZE_T, const VOID *, va_list))Routine)(Text, Size, Format, list);
    va_end(list);
    return length;
}

static BOOLEAN Cut(PSTR Text, PVOID Routine) {
    Text[3] = 'K';
    if (VFormatN(Routine, Text, 3, "%d", 12345) != -1 || Text[2] != '3' || Text[3] != 'K') {
        return FALSE;
    }
    return (BOOLEAN)(VFormatN(Routine, Text, 3, "%d", 123) == 3 && Text[3] == 'K' &&
                     VFormatN(Routine, Text, 4, "%d", 123) == 3 && Text[3] == 0);
}

static VOID Printing(VOID) {
    CHAR text[160], expected[32];
    WCHAR wide[64];

    CHECK(sprintf, Formats(text));
    PRINT(text, "%p", (PVOID)(ULONG_PTR)0xabc);
    PRINT(expected, "%0*X", (int)(2 * sizeof(PVOID)), 0xabc);
    CHECK(sprintf, Same(text, expected));
    CHECK(vsprintf, VFormat(Find("vsprintf"), text, "%d-%s", 1, "x") == 3 && Same(text, "1-x"));
    CHECK(_vsnprintf, Cut(text, Find("_vsnprintf")));
    CHECK(_snprintf, C(int, _snprintf, (PSTR, SIZE_T, PCSTR, ...))(text, 3, "%d", 12345) == -1 && text[2] == '3');
    CHECK(sprintf_s, C(int, sprintf_s, (PSTR, SIZE_T, PCSTR, ...))(text, 3, "%d", 123) == -1 && text[0] == 0);
    CHECK(vsprintf_s, VFormatN(Find("vsprintf_s"), text, 4, "%d", 123) == 3 && Same(text, "123"));
    CHECK(swprintf, C(int, swprintf, (PWSTR, PCWSTR, ...))(wide, L"%s|%S|%hs|%d", L"w", "n", "h", 5) == 7 &&
                        SameWide(wide, L"w|n|h|5"));
    CHECK(_snwprintf, C(int, _snwprintf, (PWSTR, SIZE_T, PCWSTR, ...))(wide, 2, L"abc") == -1 && wide[1] == 'b');
    CHECK(_vsnwprintf, VFormatN(Find("_vsnwprintf"), wide, 8, L"%d", 12) == 2 && SameWide(wide, L"12"));
    CHECK(swprintf_s, C(int, swprintf_s, (PWSTR, SIZE_T, PCWSTR, ...))(wide, 2, L"abc") == -1 && wide[0] == 0);
    CHECK(vswprintf_s, VFormatN(Find("vswprintf_s"), wide, 8, L"%x", 255) == 2 && SameWide(wide, L"ff"));
}

static ULONG VPrint(PCSTR Prefix, PCSTR Format, ...) {
    va_list list;
    ULONG status;

    va_start(list, Format);
    if (Prefix != NULL) {
        status = S(ULONG, vDbgPrintExWithPrefix, (PCSTR, ULONG, ULONG, PCSTR, va_list))(Prefix, 77, 0, Format, list);
    } else {
        status = S(ULONG, vDbgPrintEx, (ULONG, ULONG, PCSTR, va_list))(77, 0, Format, list);
    }
    va_end(list);
    return status;
}

static VOID Debugger(VOID) {
    CHECK(DbgPrint, DbgPrint("%s %d\n", "printed", 1) == 0);
    CHECK(DbgPrintEx, DbgPrintEx(77, 0, "%s %d\n", "printed", 2) == 0);
    CHECK(vDbgPrintEx, VPrint(NULL, "%s %d\n", "printed", 3) == 0);
    CHECK(vDbgPrintExWithPrefix, VPrint("prefix: ", "%s %d\n", "printed", 4) == 0);
    CHECK(DbgPrompt, S(ULONG, DbgPrompt, (PCSTR, PSTR, ULONG))("?", NULL, 0) == 0);
    CHECK(DbgSetDebugFilterState, S(NTSTATUS, DbgSetDebugFilterState, (ULONG, ULONG, BOOLEAN))(77, 3, TRUE) == 0);
    CHECK(DbgQueryDebugFilterState, S(NTSTATUS, DbgQueryDebugFilterState, (ULONG, ULONG))(77, 3) == 1);
    CHECK(KdRefreshDebuggerNotPresent, S(BOOLEAN, KdRefreshDebuggerNotPresent, (VOID))());
    CHECK(KdDebuggerEnabled, *(BOOLEAN *)Find("KdDebuggerEnabled") == FALSE);
    CHECK(KdDebuggerNotPresent, *(BOOLEAN *)Find("KdDebuggerNotPresent") == TRUE);
}

/* ---- Counted strings ---- */

typedef VOID NTAPI INIT_STRING(PVOID, PCSTR);
typedef LONG NTAPI COMPARE_STRINGS(PVOID, PVOID, BOOLEAN);
typedef BOOLEAN NTAPI EQUAL_STRINGS(PVOID, PVOID, BOOLEAN);
typedef NTSTATUS NTAPI CONVERT_STRING(PVOID, PVOID, BOOLEAN);

static VOID Counted(VOID) {
    WCHAR room[16];
    UNICODE_STRING text, other, made = {0, sizeof(room), room}, small = {0, 4, room}, ansi;
    ULONG value;

    RtlInitUnicodeString(&text, L"0x1F");
    CHECK(RtlInitUnicodeString, text.Length == 8 && text.MaximumLength == 10);
    R(INIT_STRING, RtlInitAnsiString)(&ansi, "abc");
    CHECK(RtlInitAnsiString, ansi.Length == 3 && ansi.MaximumLength == 4);
    R(INIT_STRING, RtlInitString)(&ansi, "abc");
    CHECK(RtlInitString, ansi.Length == 3);
    S(VOID, RtlCopyUnicodeString, (PUNICODE_STRING, PUNICODE_STRING))(&made, &text);
    CHECK(RtlCopyUnicodeString, made.Length == 8 && SameWide(room, L"0x1F"));
    CHECK(RtlAppendUnicodeToString,
          S(NTSTATUS, RtlAppendUnicodeToString, (PUNICODE_STRING, PCWSTR))(&made, L"ab") == 0 &&
              SameWide(room, L"0x1Fab"));
    CHECK(RtlAppendUnicodeStringToString,
          S(NTSTATUS, RtlAppendUnicodeStringToString, (PUNICODE_STRING, PUNICODE_STRING))(&small, &text) ==
              STATUS_BUFFER_TOO_SMALL);
    CHECK(RtlUnicodeStringToInteger,
          S(NTSTATUS, RtlUnicodeStringToInteger, (PUNICODE_STRING, ULONG, PULONG))(&text, 0, &value) == 0 &&
              value == 31);
    CHECK(RtlIntegerToUnicodeString,
          S(NTSTATUS, RtlIntegerToUnicodeString, (ULONG, ULONG, PUNICODE_STRING))(4095, 16, &made) == 0 &&
              made.Length == 6 && SameWide(room, L"FFF"));
    RtlInitUnicodeString(&other, L"0X1f");
    CHECK(RtlCompareUnicodeString, R(COMPARE_STRINGS, RtlCompareUnicodeString)(&text, &other, TRUE) == 0 &&
                                       R(COMPARE_STRINGS, RtlCompareUnicodeString)(&text, &other, FALSE) > 0);
    CHECK(RtlEqualUnicodeString, R(EQUAL_STRINGS, RtlEqualUnicodeString)(&text, &other, TRUE) &&
                                     !R(EQUAL_STRINGS, RtlEqualUnicodeString)(&text, &other, FALSE));
    CHECK(RtlCompareString, R(COMPARE_STRINGS, RtlCompareString)(&ansi, &ansi, FALSE) == 0);
    CHECK(RtlEqualString, R(EQUAL_STRINGS, RtlEqualString)(&ansi, &ansi, FALSE));
    CHECK(RtlUpcaseUnicodeChar, S(WCHAR, RtlUpcaseUnicodeChar, (WCHAR))('q') == 'Q');
    CHECK(RtlAnsiStringToUnicodeString,
          R(CONVERT_STRING, RtlAnsiStringToUnicodeString)(&made, &ansi, TRUE) == 0 && SameWide(made.Buffer, L"abc"));
    CHECK(RtlUnicodeStringToAnsiString,
          R(CONVERT_STRING, RtlUnicodeStringToAnsiString)(&other, &made, TRUE) == 0 && Same((PSTR)other.Buffer, "abc"));
    S(VOID, RtlFreeUnicodeString, (PVOID))(&made);
    CHECK(RtlFreeUnicodeString, made.Buffer == NULL);
    S(VOID, RtlFreeAnsiString, (PVOID))(&other);
    CHECK(RtlFreeAnsiString, other.Buffer == NULL);
}

/* ---- Memory and lists ---- */

typedef struct _ENTRY {
    struct _ENTRY *Next;
    ULONG_PTR Pad[3];
} DECLSPEC_ALIGN(16) ENTRY;

static VOID Pool(VOID) {
    PUCHAR block = (PUCHAR)S(PVOID, ExAllocatePool, (ULONG, SIZE_T))(NON_PAGED, 100);
    LARGE_INTEGER any = {{0xffffffff, 0x7fffffff}};
    PHYSICAL_ADDRESS zero = {{0, 0}}, physical;

    CHECK(ExAllocatePool, block != NULL && (block[99] = 1) == 1);
    S(VOID, ExFreePool, (PVOID))(block);
    CHECK(ExFreePool, S(BOOLEAN, MmIsAddressValid, (PVOID))(block) == FALSE);
    block = (PUCHAR)ExAllocatePoolWithTag(PAGED, PAGE_SIZE + 1, POOL_TAG);
    CHECK(ExAllocatePoolWithTag, block != NULL && BYTE_OFFSET(block) == 0);
    CHECK(MmIsAddressValid, S(BOOLEAN, MmIsAddressValid, (PVOID))(block) == TRUE);
    ExFreePoolWithTag(block, POOL_TAG);
    block = (PUCHAR)S(PVOID, ExAllocatePoolWithTagPriority, (ULONG, SIZE_T, ULONG, ULONG))(NON_PAGED, 16, POOL_TAG, 0);
    CHECK(ExAllocatePoolWithTagPriority, block != NULL);
    ExFreePoolWithTag(block, POOL_TAG);
    CHECK(ExFreePoolWithTag, TRUE);
    block = (PUCHAR)S(PVOID, MmAllocateContiguousMemory, (SIZE_T, LARGE_INTEGER))(3 * PAGE_SIZE, any);
    CHECK(MmAllocateContiguousMemory, block != NULL);
    physical = S(PHYSICAL_ADDRESS, MmGetPhysicalAddress, (PVOID))(block + PAGE_SIZE + 5);
    CHECK(MmGetPhysicalAddress,
          physical.QuadPart == S(PHYSICAL_ADDRESS, MmGetPhysicalAddress, (PVOID))(block).QuadPart + PAGE_SIZE + 5);
    S(VOID, MmFreeContiguousMemory, (PVOID))(block);
    CHECK(MmFreeContiguousMemory, S(BOOLEAN, MmIsAddressValid, (PVOID))(block) == FALSE);
    block = (PUCHAR)S(PVOID, MmAllocateContiguousMemorySpecifyCache,
                      (SIZE_T, LARGE_INTEGER, LARGE_INTEGER, LARGE_INTEGER, ULONG))(100, zero, any, zero, 0);
    CHECK(MmAllocateContiguousMemorySpecifyCache, block != NULL);
    S(VOID, MmFreeContiguousMemorySpecifyCache, (PVOID, SIZE_T, ULONG))(block, 100, 0);
    CHECK(MmFreeContiguousMemorySpecifyCache, S(BOOLEAN, MmIsAddressValid, (PVOID))(block) == FALSE);
}

typedef PLIST_ENTRY NTAPI EX_INSERT(PLIST_ENTRY, PLIST_ENTRY, KSPIN_LOCK *);
typedef PLIST_ENTRY NTAPI EX_REMOVE(PLIST_ENTRY, KSPIN_LOCK *);

static VOID Lists(VOID) {
    LIST_ENTRY head, one, other;
    KSPIN_LOCK lock = 0;

    InitializeListHead(&head);
    CHECK(ExInterlockedInsertTailList, R(EX_INSERT, ExInterlockedInsertTailList)(&head, &one, &lock) == NULL &&
                                           head.Blink == &one && one.Flink == &head);
    CHECK(ExInterlockedInsertHeadList, R(EX_INSERT, ExInterlockedInsertHeadList)(&head, &other, &lock) == &one &&
                                           head.Flink == &other && other.Flink == &one);
    CHECK(ExInterlockedRemoveHeadList, R(EX_REMOVE, ExInterlockedRemoveHeadList)(&head, &lock) == &other &&
                                           head.Flink == &one && one.Blink == &head);
#if !defined(_AMD64_)
    CHECK(ExfInterlockedInsertTailList,
          F(PLIST_ENTRY, ExfInterlockedInsertTailList, (PVOID, PVOID, PVOID))(&head, &other, &lock) == &one);
    CHECK(ExfInterlockedRemoveHeadList,
          F(PLIST_ENTRY, ExfInterlockedRemoveHeadList, (PVOID, PVOID))(&head, &lock) == &one);
    CHECK(ExfInterlockedInsertHeadList,
          F(PLIST_ENTRY, ExfInterlockedInsertHeadList, (PVOID, PVOID, PVOID))(&head, &one, &lock) == &other &&
              lock == 0);
#endif
}

static VOID Sequenced(VOID) {
    ULONGLONG header[2] = {0, 0};
    ENTRY one, other;

#if defined(_AMD64_)
    S(VOID, InitializeSListHead, (PVOID))(header);
    CHECK(InitializeSListHead, header[0] == 0);
    CHECK(ExpInterlockedPushEntrySList,
          S(PVOID, ExpInterlockedPushEntrySList, (PVOID, PVOID))(header, &one) == NULL &&
              S(PVOID, ExpInterlockedPushEntrySList, (PVOID, PVOID))(header, &other) == &one);
    CHECK(ExQueryDepthSList, S(USHORT, ExQueryDepthSList, (PVOID))(header) == 2);
    CHECK(ExpInterlockedPopEntrySList, S(PVOID, ExpInterlockedPopEntrySList, (PVOID))(header) == &other);
    CHECK(ExpInterlockedFlushSList, S(PVOID, ExpInterlockedFlushSList, (PVOID))(header) == &one &&
                                        S(PVOID, ExpInterlockedPopEntrySList, (PVOID))(header) == NULL);
#else
    CHECK(ExInterlockedPushEntrySList,
          F(PVOID, ExInterlockedPushEntrySList, (PVOID, PVOID, PVOID))(header, &one, NULL) == NULL);
    CHECK(InterlockedPushEntrySList,
          F(PVOID, InterlockedPushEntrySList, (PVOID, PVOID))(header, &other) == &one && ((PUSHORT)header)[2] == 2);
    CHECK(InterlockedPopEntrySList, F(PVOID, InterlockedPopEntrySList, (PVOID))(header) == &other);
    CHECK(ExInterlockedPopEntrySList, F(PVOID, ExInterlockedPopEntrySList, (PVOID, PVOID))(header, NULL) == &one);
    CHECK(ExInterlockedFlushSList, F(PVOID, ExInterlockedFlushSList, (PVOID))(header) == NULL);
#endif
}

/* ---- Locks and IRQL ---- */

static VOID Irqls(VOID) {
    KIRQL old = 7;

    CHECK(KeGetCurrentIrql, KeGetCurrentIrql() == PASSIVE_LEVEL);
    KeRaiseIrql(DISPATCH_LEVEL, &old);
    CHECK(KfRaiseIrql, old == PASSIVE_LEVEL && KeGetCurrentIrql() == DISPATCH_LEVEL);
    KeLowerIrql(old);
    CHECK(KfLowerIrql, KeGetCurrentIrql() == PASSIVE_LEVEL);
#if !defined(_AMD64_)
    S(VOID, KeRaiseIrql, (KIRQL, KIRQL *))(DISPATCH_LEVEL, &old);
    CHECK(KeRaiseIrql, old == PASSIVE_LEVEL && KeGetCurrentIrql() == DISPATCH_LEVEL);
    S(VOID, KeLowerIrql, (KIRQL))(old);
    CHECK(KeLowerIrql, KeGetCurrentIrql() == PASSIVE_LEVEL);
    CHECK(KeRaiseIrqlToDpcLevel,
          S(KIRQL, KeRaiseIrqlToDpcLevel, (VOID))() == PASSIVE_LEVEL && KeGetCurrentIrql() == DISPATCH_LEVEL);
    KeLowerIrql(PASSIVE_LEVEL);
#else
    CHECK(KeGetCurrentProcessorNumber,
          KeGetCurrentProcessorNumber() == S(ULONG, KeGetCurrentProcessorNumberEx, (PVOID))(NULL));
#endif
}

typedef VOID NTAPI LOCK_ROUTINE(KSPIN_LOCK *);
typedef VOID FASTCALL QUEUED_ACQUIRE(KSPIN_LOCK *, PVOID);
typedef VOID FASTCALL QUEUED_RELEASE(PVOID);

static VOID Locks(VOID) {
    KSPIN_LOCK lock;
    ULONG_PTR handle[3];
    KIRQL old;

    KeInitializeSpinLock(&lock);
    CHECK(KeInitializeSpinLock, lock == 0);
    KeAcquireSpinLock(&lock, &old);
    CHECK(KeAcquireSpinLockRaiseToDpc, lock != 0 && old == PASSIVE_LEVEL && KeGetCurrentIrql() == DISPATCH_LEVEL);
    CHECK(KfAcquireSpinLock, lock != 0);
    CHECK(KeTestSpinLock, !F(BOOLEAN, KeTestSpinLock, (PVOID))(&lock));
    CHECK(KeTryToAcquireSpinLockAtDpcLevel, !F(BOOLEAN, KeTryToAcquireSpinLockAtDpcLevel, (PVOID))(&lock));
    KeReleaseSpinLock(&lock, old);
    CHECK(KeReleaseSpinLock, lock == 0 && KeGetCurrentIrql() == PASSIVE_LEVEL);
    CHECK(KfReleaseSpinLock, lock == 0);
    R(QUEUED_ACQUIRE, KeAcquireInStackQueuedSpinLock)(&lock, handle);
    CHECK(KeAcquireInStackQueuedSpinLock, lock != 0 && KeGetCurrentIrql() == DISPATCH_LEVEL);
    R(QUEUED_RELEASE, KeReleaseInStackQueuedSpinLock)(handle);
    CHECK(KeReleaseInStackQueuedSpinLock, lock == 0 && KeGetCurrentIrql() == PASSIVE_LEVEL);
    KeRaiseIrql(DISPATCH_LEVEL, &old);
    R(LOCK_ROUTINE, KeAcquireSpinLockAtDpcLevel)(&lock);
    CHECK(KeAcquireSpinLockAtDpcLevel, lock != 0);
    R(LOCK_ROUTINE, KeReleaseSpinLockFromDpcLevel)(&lock);
    CHECK(KeReleaseSpinLockFromDpcLevel, lock == 0);
    R(QUEUED_ACQUIRE, KeAcquireInStackQueuedSpinLockAtDpcLevel)(&lock, handle);
    CHECK(KeAcquireInStackQueuedSpinLockAtDpcLevel, lock != 0);
    R(QUEUED_RELEASE, KeReleaseInStackQueuedSpinLockFromDpcLevel)(handle);
    CHECK(KeReleaseInStackQueuedSpinLockFromDpcLevel, lock == 0);
#if !defined(_AMD64_)
    F(VOID, KefAcquireSpinLockAtDpcLevel, (PVOID))(&lock);
    CHECK(KefAcquireSpinLockAtDpcLevel, lock != 0);
    F(VOID, KefReleaseSpinLockFromDpcLevel, (PVOID))(&lock);
    CHECK(KefReleaseSpinLockFromDpcLevel, lock == 0);
    S(VOID, KeAcquireSpinLock, (PVOID, PVOID))(&lock, &old);
    S(VOID, KeReleaseSpinLock, (PVOID, KIRQL))(&lock, old);
    CHECK(KeAcquireSpinLock, lock == 0 && old == DISPATCH_LEVEL);
#endif
    KeLowerIrql(PASSIVE_LEVEL);
}

/* ---- DPCs, timers, events ---- */

static KOBJECT Dpc, Timer, Event, Other;
static volatile ULONG Ran;
static KIRQL RanAt;

typedef LONG NTAPI EVENT_ROUTINE(PKOBJECT, LONG, BOOLEAN);
typedef NTSTATUS NTAPI WAIT_ROUTINE(PVOID, ULONG, UCHAR, BOOLEAN, PLARGE_INTEGER);
typedef NTSTATUS NTAPI WAIT_MANY(ULONG, PVOID *, ULONG, ULONG, UCHAR, BOOLEAN, PLARGE_INTEGER, PVOID);

static VOID NTAPI OnDpc(PVOID Object, PVOID Context, PVOID Argument1, PVOID Argument2) {
    Ran += Object == &Dpc && Context == &Event ? 1 : 100;
    Ran += Argument1 != NULL && Argument1 != Argument2 ? 10 : 0;
    RanAt = KeGetCurrentIrql();
    (VOID)R(EVENT_ROUTINE, KeSetEvent)(&Event, 0, FALSE);
}

static NTSTATUS Wait(PVOID Object, LONGLONG Due) {
    LARGE_INTEGER timeout;

    timeout.QuadPart = Due;
    return R(WAIT_ROUTINE, KeWaitForSingleObject)(Object, 0, 0, FALSE, &timeout);
}

static VOID Events(VOID) {
    PVOID both[2] = {&Other, &Event};
    LARGE_INTEGER none = {{0, 0}};

    S(VOID, KeInitializeEvent, (PKOBJECT, ULONG, BOOLEAN))(&Event, SynchronizationEvent, FALSE);
    S(VOID, KeInitializeEvent, (PKOBJECT, ULONG, BOOLEAN))(&Other, NotificationEvent, TRUE);
    CHECK(KeInitializeEvent, S(LONG, KeReadStateEvent, (PVOID))(&Other) == 1);
    CHECK(KeReadStateEvent, S(LONG, KeReadStateEvent, (PVOID))(&Event) == 0);
    CHECK(KeSetEvent,
          R(EVENT_ROUTINE, KeSetEvent)(&Event, 0, FALSE) == 0 && R(EVENT_ROUTINE, KeSetEvent)(&Event, 0, FALSE) == 1);
    CHECK(KeWaitForSingleObject, Wait(&Event, 0) == STATUS_SUCCESS && Wait(&Event, 0) == STATUS_TIMEOUT &&
                                     Wait(&Other, 0) == STATUS_SUCCESS && Wait(&Other, -1000) == STATUS_SUCCESS &&
                                     Wait(&Event, -1000) == STATUS_TIMEOUT);
    CHECK(KeWaitForMultipleObjects,
          R(WAIT_MANY, KeWaitForMultipleObjects)(2, both, 1, 0, 0, FALSE, &none, NULL) == 0 &&
              R(WAIT_MANY, KeWaitForMultipleObjects)(2, both, 0, 0, 0, FALSE, &none, NULL) == STATUS_TIMEOUT);
    CHECK(KeResetEvent, S(LONG, KeResetEvent, (PVOID))(&Other) == 1 && Wait(&Other, 0) == STATUS_TIMEOUT);
    (VOID)R(EVENT_ROUTINE, KeSetEvent)(&Event, 0, FALSE);
    S(VOID, KeClearEvent, (PVOID))(&Event);
    CHECK(KeClearEvent, Wait(&Event, 0) == STATUS_TIMEOUT);
}

static VOID Dpcs(VOID) {
    ULONG argument;
    KIRQL old;

    KeInitializeDpc(&Dpc, OnDpc, &Event);
    S(VOID, KeSetImportanceDpc, (PVOID, ULONG))(&Dpc, 2);
    CHECK(KeSetImportanceDpc, TRUE);
    KeRaiseIrql(DISPATCH_LEVEL, &old);
    CHECK(KeInsertQueueDpc, KeInsertQueueDpc(&Dpc, &argument, NULL) && !KeInsertQueueDpc(&Dpc, NULL, NULL) && Ran == 0);
    KeLowerIrql(old);
    CHECK(KeInitializeDpc, Wait(&Event, -10000000) == STATUS_SUCCESS && Ran == 11 && RanAt == DISPATCH_LEVEL);
    KeRaiseIrql(DISPATCH_LEVEL, &old);
    (VOID)KeInsertQueueDpc(&Dpc, &argument, NULL);
    CHECK(KeRemoveQueueDpc,
          S(BOOLEAN, KeRemoveQueueDpc, (PVOID))(&Dpc) && !S(BOOLEAN, KeRemoveQueueDpc, (PVOID))(&Dpc));
    KeLowerIrql(old);
    S(VOID, KeSetTargetProcessorDpc, (PVOID, CCHAR))(&Dpc, 0);
    (VOID)KeInsertQueueDpc(&Dpc, NULL, NULL);
    S(VOID, KeFlushQueuedDpcs, (VOID))();
    CHECK(KeFlushQueuedDpcs, Ran == 12);
    CHECK(KeSetTargetProcessorDpc, Wait(&Event, -10000000) == STATUS_SUCCESS);
}

static VOID Timers(VOID) {
    LARGE_INTEGER due, before, after;

    KeInitializeTimer(&Timer);
    due.QuadPart = -50000; /* 5 ms */
    KeQuerySystemTime(&before);
    CHECK(KeSetTimer, !KeSetTimer(&Timer, due, &Dpc) && KeSetTimer(&Timer, due, &Dpc));
    CHECK(KeReadStateTimer, !S(BOOLEAN, KeReadStateTimer, (PVOID))(&Timer));
    CHECK(KeInitializeTimer,
          Wait(&Event, -10000000) == STATUS_SUCCESS && Ran == 13 && S(BOOLEAN, KeReadStateTimer, (PVOID))(&Timer));
    KeQuerySystemTime(&after);
    CHECK(KeQuerySystemTime, after.QuadPart - before.QuadPart >= 50000 && after.QuadPart - before.QuadPart < 10000000);
    S(VOID, KeInitializeTimerEx, (PVOID, ULONG))(&Timer, 1);
    CHECK(KeSetTimerEx, !S(BOOLEAN, KeSetTimerEx, (PVOID, LARGE_INTEGER, LONG, PVOID))(&Timer, due, 3, NULL));
    CHECK(KeInitializeTimerEx, Wait(&Timer, -10000000) == STATUS_SUCCESS && Wait(&Timer, -10000000) == STATUS_SUCCESS);
    CHECK(KeCancelTimer, KeCancelTimer(&Timer) && !KeCancelTimer(&Timer));
    KeQueryTickCount(&before);
    CHECK(KeDelayExecutionThread,
          S(NTSTATUS, KeDelayExecutionThread, (UCHAR, BOOLEAN, PLARGE_INTEGER))(0, FALSE, &due) == STATUS_SUCCESS);
    due.QuadPart = -500000;
    (VOID)S(NTSTATUS, KeDelayExecutionThread, (UCHAR, BOOLEAN, PLARGE_INTEGER))(0, FALSE, &due);
    KeQueryTickCount(&after);
    CHECK(KeQueryTickCount, after.QuadPart > before.QuadPart);
}

/* ---- Time, processors, versions, tracing ---- */

static VOID Clocks(VOID) {
    LARGE_INTEGER frequency, one, other, date;
    SHORT fields[8];

    one = S(LARGE_INTEGER, KeQueryPerformanceCounter, (PLARGE_INTEGER))(&frequency);
    S(VOID, KeStallExecutionProcessor, (ULONG))(50);
    other = S(LARGE_INTEGER, KeQueryPerformanceCounter, (PLARGE_INTEGER))(NULL);
    CHECK(KeQueryPerformanceCounter, frequency.QuadPart > 0 && other.QuadPart > one.QuadPart);
    CHECK(KeStallExecutionProcessor, (other.QuadPart - one.QuadPart) >= frequency.QuadPart / 20000);
    CHECK(KeQueryTimeIncrement, S(ULONG, KeQueryTimeIncrement, (VOID))() == 156250);
    date.QuadPart = 128909376610050000ll; /* Wednesday, 1 July 2009, 16:01:01.005 */
    S(VOID, RtlTimeToTimeFields, (PVOID, PVOID))(&date, fields);
    CHECK(RtlTimeToTimeFields, fields[0] == 2009 && fields[1] == 7 && fields[2] == 1 && fields[3] == 16 &&
                                   fields[4] == 1 && fields[5] == 1 && fields[6] == 5 && fields[7] == 3);
    S(VOID, ExSystemTimeToLocalTime, (PVOID, PVOID))(&date, &one);
    CHECK(ExSystemTimeToLocalTime, one.QuadPart == date.QuadPart);
    S(VOID, ExLocalTimeToSystemTime, (PVOID, PVOID))(&date, &other);
    CHECK(ExLocalTimeToSystemTime, other.QuadPart == date.QuadPart);
#if defined(_AMD64_)
    CHECK(KUSER_SHARED_DATA,
          *(volatile ULONG *)(KUSER_SHARED_DATA + 0x26c) == 6 && *(volatile ULONG *)(KUSER_SHARED_DATA + 0x270) == 1);
#else
    CHECK(KeQueryInterruptTime, S(ULONGLONG, KeQueryInterruptTime, (VOID))() > 0);
    CHECK(KeTickCount, *(PULONG)Find("KeTickCount") != 0);
#endif
}

static VOID Processors(VOID) {
    PROCESSOR_NUMBER number;
    KAFFINITY mask;
    ULONG count = S(ULONG, KeQueryActiveProcessorCount, (KAFFINITY *))(&mask);

    CHECK(KeQueryActiveProcessorCount, count == 2 && mask == 3);
    CHECK(KeQueryActiveProcessorCountEx, S(ULONG, KeQueryActiveProcessorCountEx, (USHORT))(0xffff) == count &&
                                             S(ULONG, KeQueryActiveProcessorCountEx, (USHORT))(1) == 0);
    CHECK(KeQueryMaximumProcessorCount, S(ULONG, KeQueryMaximumProcessorCount, (VOID))() == count);
    CHECK(KeQueryMaximumProcessorCountEx, S(ULONG, KeQueryMaximumProcessorCountEx, (USHORT))(0) == count);
    CHECK(KeQueryActiveGroupCount, S(USHORT, KeQueryActiveGroupCount, (VOID))() == 1);
    CHECK(KeQueryMaximumGroupCount, S(USHORT, KeQueryMaximumGroupCount, (VOID))() == 1);
    CHECK(KeQueryActiveProcessors, S(KAFFINITY, KeQueryActiveProcessors, (VOID))() == mask);
    CHECK(ExIsProcessorFeaturePresent,
          S(BOOLEAN, ExIsProcessorFeaturePresent, (ULONG))(PF_XMMI64_INSTRUCTIONS_AVAILABLE) &&
              !S(BOOLEAN, ExIsProcessorFeaturePresent, (ULONG))(64));
    CHECK(KeNumberProcessors, *(PCHAR)Find("KeNumberProcessors") == (CHAR)count);
    CHECK(KeGetCurrentProcessorNumberEx,
          S(ULONG, KeGetCurrentProcessorNumberEx, (PVOID))(&number) == number.Number && number.Group == 0);
}

static VOID Versions(VOID) {
    ULONG version[72], major, minor, build;
    UNICODE_STRING pack;

    version[0] = 276;
    CHECK(RtlGetVersion, S(NTSTATUS, RtlGetVersion, (PVOID))(version) == 0 && version[1] == 6 && version[2] == 1 &&
                             version[3] == 7601 && version[0] == 276);
    CHECK(PsGetVersion, !S(BOOLEAN, PsGetVersion, (PULONG, PULONG, PULONG, PVOID))(&major, &minor, &build, &pack) &&
                            major == 6 && minor == 1 && build == 7601);
    CHECK(MmGetSystemRoutineAddress, Find("NoSuchRoutine") == NULL && Find("HalGetBusData") != NULL);
}

static VOID Tracing(VOID) {
    ULONGLONG handle = 0;

    CHECK(EtwRegister, S(NTSTATUS, EtwRegister, (PVOID, PVOID, PVOID, PULONGLONG))(&handle, NULL, NULL, &handle) == 0 &&
                           handle != 0);
    CHECK(EtwEventEnabled, !S(BOOLEAN, EtwEventEnabled, (ULONGLONG, PVOID))(handle, &handle));
    CHECK(EtwProviderEnabled, !S(BOOLEAN, EtwProviderEnabled, (ULONGLONG, UCHAR, ULONGLONG))(handle, 1, 1));
    CHECK(EtwWrite,
          S(NTSTATUS, EtwWrite, (ULONGLONG, PVOID, PVOID, ULONG, PVOID))(handle, &handle, NULL, 0, NULL) == 0);
    CHECK(EtwWriteTransfer, S(NTSTATUS, EtwWriteTransfer, (ULONGLONG, PVOID, PVOID, PVOID, ULONG, PVOID))(
                                handle, &handle, NULL, NULL, 0, NULL) == 0);
    CHECK(EtwUnregister, S(NTSTATUS, EtwUnregister, (ULONGLONG))(handle) == 0);
    CHECK(IoWMIRegistrationControl, S(NTSTATUS, IoWMIRegistrationControl, (PVOID, ULONG))(NULL, 1) == 0);
    CHECK(WmiTraceMessage,
          C(NTSTATUS, WmiTraceMessage, (ULONGLONG, ULONG, PVOID, USHORT, ...))(0, 0, &handle, 1, NULL) == 0);
    CHECK(WmiQueryTraceInformation, S(NTSTATUS, WmiQueryTraceInformation, (ULONG, PVOID, ULONG, PULONG, PVOID))(
                                        0, NULL, 0, NULL, NULL) == STATUS_NOT_SUPPORTED);
}

/* ---- What compilers call ---- */

#if defined(_AMD64_)
static VOID Arithmetic(VOID) {
    ULONGLONG size = 0x5000, after = 0;
    PVOID probe = Find("__chkstk");

    __asm__ __volatile__("call *%2" : "=a"(after) : "0"(size), "r"(probe) : "memory", "cc");
    CHECK(__chkstk, after == size);
}
#else
static ULONGLONG Shift(PVOID Routine, ULONGLONG Value, ULONG Bits) {
    __asm__ __volatile__("call *%2" : "+A"(Value) : "c"(Bits), "r"(Routine) : "cc", "memory");
    return Value;
}

/* The remainder comes back in EBX:ECX. */
static BOOLEAN Divide(PVOID Routine, LONGLONG A, LONGLONG B, LONGLONG Quotient, LONGLONG Remainder) {
    ULONG low, high;
    LONGLONG quotient;
    struct {
        PVOID Routine;
        LONGLONG A, B;
    } of;
    PVOID at = &of;

    of.Routine = Routine;
    of.A = A;
    of.B = B;
    __asm__ __volatile__(
        "push %%ebx\n push 20(%%esi)\n push 16(%%esi)\n push 12(%%esi)\n push 8(%%esi)\n call *(%%esi)\n"
        "mov %%ebx, %%edi\n pop %%ebx"
        : "=A"(quotient), "=c"(low), "=D"(high)
        : "S"(at)
        : "cc", "memory");
    return (BOOLEAN)(quotient == Quotient && (LONGLONG)((ULONGLONG)high << 32 | low) == Remainder);
}

static VOID Arithmetic(VOID) {
    LONGLONG big = 0x123456789abcdefll;
    LONG word = 5;
    ULONG before, after;

    CHECK(_alldiv, S(LONGLONG, _alldiv, (LONGLONG, LONGLONG))(-10000000000ll, 3) == -3333333333ll);
    CHECK(_allrem, S(LONGLONG, _allrem, (LONGLONG, LONGLONG))(-10000000000ll, 3) == -1);
    CHECK(_allmul, S(LONGLONG, _allmul, (LONGLONG, LONGLONG))(big, -3) == -0x369d0369d0369cdll);
    CHECK(_aulldiv, S(ULONGLONG, _aulldiv, (ULONGLONG, ULONGLONG))(0xfffffffffffffffeull, 2) == 0x7fffffffffffffffull);
    CHECK(_aullrem, S(ULONGLONG, _aullrem, (ULONGLONG, ULONGLONG))(10000000007ull, 10) == 7);
    CHECK(_alldvrm, Divide(Find("_alldvrm"), -10000000000ll, 3, -3333333333ll, -1));
    CHECK(_aulldvrm, Divide(Find("_aulldvrm"), 0x7000000000000007ll, 0x100000000ll, 0x70000000ll, 7));
    CHECK(_allshl, Shift(Find("_allshl"), 0x12345, 20) == 0x1234500000ull &&
                       Shift(Find("_allshl"), 1, 40) == 1ull << 40 && Shift(Find("_allshl"), 1, 64) == 0);
    CHECK(_aullshr, Shift(Find("_aullshr"), 0x8000000000000000ull, 4) == 0x0800000000000000ull &&
                        Shift(Find("_aullshr"), 1ull << 40, 40) == 1);
    CHECK(_allshr, Shift(Find("_allshr"), 0x8000000000000000ull, 4) == 0xf800000000000000ull &&
                       Shift(Find("_allshr"), 0x8000000000000000ull, 63) == ~0ull &&
                       Shift(Find("_allshr"), 1ull << 40, 40) == 1);
    CHECK(InterlockedIncrement, F(LONG, InterlockedIncrement, (LONG *))(&word) == 6);
    CHECK(InterlockedDecrement, F(LONG, InterlockedDecrement, (LONG *))(&word) == 5);
    CHECK(InterlockedExchange, F(LONG, InterlockedExchange, (LONG *, LONG))(&word, 9) == 5 && word == 9);
    CHECK(InterlockedExchangeAdd, F(LONG, InterlockedExchangeAdd, (LONG *, LONG))(&word, 2) == 9 && word == 11);
    CHECK(InterlockedCompareExchange,
          F(LONG, InterlockedCompareExchange, (LONG *, LONG, LONG))(&word, 1, 11) == 11 && word == 1);
    __asm__ __volatile__("mov %%esp, %%esi\n mov $0x5000, %%eax\n call *%2\n mov %%esp, %%edi\n mov %%esi, %%esp"
                         : "=&S"(before), "=&D"(after)
                         : "c"(Find("_chkstk"))
                         : "eax", "cc", "memory");
    CHECK(_chkstk, before - after == 0x5000);
}
#endif

/* ---- Mistakes, and ends ---- */

static VOID Mistake(VOID) {
    KSPIN_LOCK lock = 0;
    KIRQL old;

    switch (Wrong) {
    case 1:
        KeRaiseIrql(DISPATCH_LEVEL, &old);
        (VOID)Wait(&Event, -1000);
        break;
    case 2:
        KeAcquireSpinLock(&lock, &old);
        KeAcquireSpinLock(&lock, &old);
        break;
    case 3:
        KeReleaseSpinLock(&lock, PASSIVE_LEVEL);
        break;
    case 4:
        (VOID)KeInsertQueueDpc(&Other, NULL, NULL);
        break;
    case 5:
        KeRaiseIrql(DISPATCH_LEVEL, &old);
        DbgPrint("%S\n", L"wide");
        KeLowerIrql(old);
        break;
    case 6:
        KeRaiseIrql(DISPATCH_LEVEL, &old);
        ExFreePoolWithTag(ExAllocatePoolWithTag(PAGED, 1, POOL_TAG), POOL_TAG);
        KeLowerIrql(old);
        break;
    case 7:
        (VOID)R(WAIT_ROUTINE, KeWaitForSingleObject)(&Event, 0, 0, FALSE, NULL);
        break;
    case 8:
        S(VOID, DbgBreakPoint, (VOID))();
        break;
    case 9:
        S(VOID, DbgBreakPointWithStatus, (ULONG))(5);
        break;
    case 10:
        S(VOID, RtlAssert, (PCSTR, PCSTR, ULONG, PCSTR))("a == b", "file.c", 12, "why");
        break;
    case 11:
        S(VOID, KeBugCheck, (ULONG))(0xd1);
        break;
    case 12:
        KeBugCheckEx(0xdead, 1, 2, 3, 4);
    case 13:
        NT_ASSERT(lock != 0);
        break;
    case 14:
        S(VOID, PsTerminateSystemThread, (ULONG))(0);
        break;
    case 15:
        lock = *(volatile ULONG_PTR *)Find("PsInitialSystemProcess");
        break;
    case 16:
        (VOID)ExAllocatePoolWithTag(NON_PAGED, 77, POOL_TAG);
        break;
    }
}

static VOID Everything(VOID) {
    Bytes();
    Wides();
    Memory();
    Printing();
    Debugger();
    Counted();
    Pool();
    Lists();
    Sequenced();
    Irqls();
    Locks();
    Events();
    Dpcs();
    Timers();
    Clocks();
    Processors();
    Versions();
    Tracing();
    Arithmetic();
}

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath) {
    UNREFERENCED_PARAMETER(DriverObject);
    DbgPrint("%wZ\n", RegistryPath);
    Prepare();
    if (Wrong == 0) {
        Everything();
    } else {
        Mistake();
    }
    return STATUS_UNSUCCESSFUL;
}
