/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The tests in their order, a marker for each, and the verdict. */
#include "device.h"
#include "miniport.h"
#include "options.h"
#include "report.h"
#include "transfer.h"

#include <stddef.h>

#define FEATURE_VERSION_1 (1ULL << 32) /* VIRTIO_F_VERSION_1 */
#define STATUS_IS_NOT_SUPPORTED 0xC00000BBu
#define RESIZE_POLL_MS 250

enum {
    EXIT_PASS,
    EXIT_FAIL,
    EXIT_USAGE
};

/* The bytes of the query that a field ends with. */
#define INFO_THROUGH(Field) (offsetof(AEROVBLK_QUERY_INFO, Field) + sizeof(((AEROVBLK_QUERY_INFO *)0)->Field))

/* What there is to test, and what the driver said of itself last. */
typedef struct _SUBJECT {
    VIRTIO_DISKS Disks;
    TARGET Target;
    MINIPORT Miniport;
    AEROVBLK_QUERY_INFO Info; /* InfoLength bytes of it count; 0: the driver said nothing */
    DWORD InfoLength;
    const char *Reason; /* why there is nothing to test or the driver is not as it should be; NULL: it is */
    DWORD Error;
} SUBJECT;

/* ---- interrupts ---- */

static BOOL IsMessageSignaled(const SUBJECT *Subject) {
    return Subject->InfoLength >= INFO_THROUGH(InterruptMode) &&
           Subject->Info.InterruptMode == AEROVBLK_INTERRUPT_MODE_MESSAGE;
}

static unsigned ConfigVector(const SUBJECT *Subject) {
    return Subject->InfoLength >= INFO_THROUGH(MsixConfigVector) ? Subject->Info.MsixConfigVector : AEROVBLK_NO_VECTOR;
}

static unsigned QueueVector(const SUBJECT *Subject) {
    return Subject->InfoLength >= INFO_THROUGH(MsixQueue0Vector) ? Subject->Info.MsixQueue0Vector : AEROVBLK_NO_VECTOR;
}

/* Windows grants messages without saying of which kind; only MSI-X gives the device's sources vectors. */
static const char *InterruptMode(const SUBJECT *Subject) {
    if (Subject->InfoLength < INFO_THROUGH(InterruptMode)) {
        return "unknown";
    }
    if (!IsMessageSignaled(Subject)) {
        return "intx";
    }
    return ConfigVector(Subject) != AEROVBLK_NO_VECTOR || QueueVector(Subject) != AEROVBLK_NO_VECTOR ? "msix" : "msi";
}

static void ReportInterrupts(const SUBJECT *Subject) {
    const char *mode = InterruptMode(Subject);

    if (IsMessageSignaled(Subject)) {
        mode = "msi";
    }
    ReportLine("virtio-blk-miniport-irq|INFO|mode=%s|message_count=%u|msix_config_vector=0x%04x|"
               "msix_queue0_vector=0x%04x",
               mode, Subject->Info.MessageCount, ConfigVector(Subject), QueueVector(Subject));
}

static void ReportFlags(const SUBJECT *Subject) {
    unsigned flags = Subject->Info.Flags;

    if (Subject->InfoLength >= INFO_THROUGH(Flags)) {
        ReportLine("virtio-blk-miniport-flags|INFO|raw=0x%08x|removed=%u|surprise_removed=%u|reset_in_progress=%u|"
                   "reset_pending=%u",
                   flags, (flags & AEROVBLK_FLAG_REMOVED) != 0, (flags & AEROVBLK_FLAG_SURPRISE_REMOVED) != 0,
                   (flags & AEROVBLK_FLAG_RESET_IN_PROGRESS) != 0, (flags & AEROVBLK_FLAG_RESET_PENDING) != 0);
    }
}

/* ---- finding the device and asking its driver ---- */

static void Refuse(SUBJECT *Subject, const char *Reason, DWORD Error) {
    if (Subject->Reason == NULL) {
        Subject->Reason = Reason;
        Subject->Error = Error;
    }
}

static void CheckInfo(SUBJECT *Subject, const OPTIONS *Options) {
    const AEROVBLK_QUERY_INFO *info = &Subject->Info;

    ReportLine("virtio-blk: features 0x%I64x, queue of %u, %u free", info->NegotiatedFeatures, info->QueueSize,
               info->NumFree);
    if (!(info->NegotiatedFeatures & FEATURE_VERSION_1)) {
        Refuse(Subject, "feature_version_1_missing", ERROR_INVALID_DATA);
    }
    if (info->QueueSize == 0 || (info->QueueSize & (info->QueueSize - 1)) != 0 || info->NumFree > info->QueueSize) {
        Refuse(Subject, "queue_invalid", ERROR_INVALID_DATA);
    }
    if (IsMessageSignaled(Subject) && Subject->InfoLength >= INFO_THROUGH(MessageCount) && info->MessageCount == 0) {
        Refuse(Subject, "interrupt_mode_invalid", ERROR_INVALID_DATA);
    }
    if (Options->ExpectBlkMsi && !IsMessageSignaled(Subject)) {
        Refuse(Subject, "expected_msi", ERROR_NOT_SUPPORTED);
    }
}

static void FindSubject(SUBJECT *Subject, const OPTIONS *Options) {
    const VIRTIO_DISK *disk;
    const char *reason;
    DWORD error;

    Subject->Miniport.Disk = Subject->Miniport.Port = INVALID_HANDLE_VALUE;
    FindVirtioDisks(&Subject->Disks);
    ReportLine("virtio-blk: %u PCI functions, %u disks", Subject->Disks.Functions, Subject->Disks.Count);
    reason = ChooseTarget(&Subject->Disks, Options->BlkRoot, TRANSFER_ROOM_BYTES, &Subject->Target, &error);
    if (reason != NULL) {
        Refuse(Subject, reason, error);
    }
    if (Subject->Disks.Count == 0) {
        return;
    }
    disk = Subject->Target.Disk != NULL ? Subject->Target.Disk : &Subject->Disks.Disk[0];
    Subject->Target.Disk = disk;
    error = MiniportOpen(disk, &Subject->Miniport);
    if (error == ERROR_SUCCESS) {
        error = MiniportQuery(&Subject->Miniport, &Subject->Info, &Subject->InfoLength);
    }
    if (error != ERROR_SUCCESS) {
        Refuse(Subject, "no_miniport_info", error);
    } else {
        CheckInfo(Subject, Options);
    }
}

/* ---- virtio-blk ---- */

static void Transfer(SUBJECT *Subject, TRANSFER *Result) {
    ULONGLONG bytes;
    DWORD error = MiniportReportLuns(&Subject->Miniport);

    if (error != ERROR_SUCCESS) {
        Refuse(Subject, "report_luns", error);
        return;
    }
    if (Subject->Target.Directory[0] != L'\0') {
        TransferFile(Subject->Target.Directory, Result);
    } else {
        ReportLine("virtio-blk: no volume with a file system; the disk itself is written to if it is blank");
        error = MiniportReadCapacity(&Subject->Miniport, &bytes);
        if (error == ERROR_SUCCESS) {
            TransferRaw(Subject->Miniport.Disk, bytes, Result);
        } else {
            Refuse(Subject, "read_capacity", error);
        }
    }
    if (Result->Reason != NULL) {
        Refuse(Subject, Result->Reason, Result->Error);
    }
}

static BOOL TestBlk(SUBJECT *Subject) {
    TRANSFER result = {0};
    BOOL good;

    if (Subject->Reason == NULL) {
        Transfer(Subject, &result);
    }
    good = Subject->Reason == NULL;
    if (!good) {
        ReportLine("virtio-blk: %s, error %lu", Subject->Reason, Subject->Error);
    }
    ReportMarker("TEST|virtio-blk|%s|irq_mode=%s|irq_message_count=%u|msix_config_vector=0x%04x|"
                 "msix_queue_vector=0x%04x|write_ok=%u|write_bytes=%lu|write_mbps=%.2f|flush_ok=%u|read_ok=%u|"
                 "read_bytes=%lu|read_mbps=%.2f%s%s",
                 good ? "PASS" : "FAIL", InterruptMode(Subject), Subject->Info.MessageCount, ConfigVector(Subject),
                 QueueVector(Subject), result.WriteOk, result.WriteBytes, result.WriteMbps, result.FlushOk,
                 result.ReadOk, result.ReadBytes, result.ReadMbps, good ? "" : "|reason=", good ? "" : Subject->Reason);
    return good;
}

static void TestMsix(const SUBJECT *Subject) {
    const char *mode = InterruptMode(Subject);

    ReportMarker("TEST|virtio-blk-msix|%s|mode=%s|messages=%u|config_vector=0x%04x|queue_vector=0x%04x",
                 mode[0] == 'm' && mode[3] == 'x' ? "PASS" : "SKIP", mode, Subject->Info.MessageCount,
                 ConfigVector(Subject), QueueVector(Subject));
}

/* ---- what the driver has counted ---- */

/* Whether the query has the bytes that a test reports; if not, the test has been reported as skipped. */
static BOOL HasInfo(const SUBJECT *Subject, const char *Test, DWORD Bytes) {
    if (Subject->InfoLength >= Bytes) {
        return TRUE;
    }
    if (Subject->InfoLength == 0) {
        ReportMarker("TEST|%s|SKIP|reason=no_miniport_info", Test);
    } else {
        ReportMarker("TEST|%s|SKIP|reason=ioctl_payload_truncated|returned_len=%lu", Test, Subject->InfoLength);
    }
    return FALSE;
}

static void ReportCounters(const SUBJECT *Subject) {
    const AEROVBLK_QUERY_INFO *info = &Subject->Info;

    if (HasInfo(Subject, "virtio-blk-counters", INFO_THROUGH(CapacityChangeEvents))) {
        ReportMarker("TEST|virtio-blk-counters|INFO|abort=%u|reset_device=%u|reset_bus=%u|pnp=%u|ioctl_reset=%u|"
                     "capacity_change_events=%u",
                     info->AbortSrbCount, info->ResetDeviceSrbCount, info->ResetBusSrbCount, info->PnpSrbCount,
                     info->IoctlResetCount, info->CapacityChangeEvents);
    }
    if (HasInfo(Subject, "virtio-blk-reset-recovery", INFO_THROUGH(HwResetBusCount))) {
        ReportMarker("TEST|virtio-blk-reset-recovery|INFO|reset_detected=%u|hw_reset_bus=%u", info->ResetDetectedCount,
                     info->HwResetBusCount);
    }
}

/* ---- resize ---- */

static BOOL FailResize(const char *Reason, DWORD Error) {
    ReportMarker("TEST|virtio-blk-resize|FAIL|reason=%s|err=%lu", Reason, Error);
    return FALSE;
}

static BOOL TestResize(const SUBJECT *Subject, const OPTIONS *Options) {
    ULONGLONG before, now;
    DWORD started, elapsed, error;

    if (!Options->TestBlkResize) {
        ReportMarker("TEST|virtio-blk-resize|SKIP|flag_not_set");
        return TRUE;
    }
    if (Subject->Miniport.Disk == INVALID_HANDLE_VALUE) {
        return FailResize("no_disk", Subject->Error);
    }
    error = MiniportReadCapacity(&Subject->Miniport, &before);
    if (error != ERROR_SUCCESS) {
        return FailResize("read_capacity", error);
    }
    ReportMarker("TEST|virtio-blk-resize|READY|disk=%lu|old_bytes=%I64u", Subject->Target.Disk->Number, before);
    started = GetTickCount();
    do {
        Sleep(RESIZE_POLL_MS);
        now = before;
        error = MiniportReadCapacity(&Subject->Miniport, &now);
        elapsed = GetTickCount() - started;
    } while (now == before && elapsed < Options->BlkResizeSeconds * 1000);
    if (now == before) {
        return FailResize("timeout", error != ERROR_SUCCESS ? error : ERROR_TIMEOUT);
    }
    ReportMarker("TEST|virtio-blk-resize|PASS|disk=%lu|old_bytes=%I64u|new_bytes=%I64u|elapsed_ms=%lu",
                 Subject->Target.Disk->Number, before, now, elapsed);
    return TRUE;
}

/* ---- reset ---- */

static BOOL FailReset(const char *Reason, DWORD Error) {
    ReportMarker("TEST|virtio-blk-reset|FAIL|reason=%s|err=%lu", Reason, Error);
    return FALSE;
}

static BOOL TestReset(const SUBJECT *Subject, const OPTIONS *Options) {
    AEROVBLK_QUERY_INFO before, after;
    DWORD length, status, error;

    if (!Options->TestBlkReset) {
        ReportMarker("TEST|virtio-blk-reset|SKIP|reason=flag_not_set");
        return TRUE;
    }
    error = MiniportQuery(&Subject->Miniport, &before, &length);
    if (error != ERROR_SUCCESS || length < INFO_THROUGH(IoctlResetCount)) {
        return FailReset("no_miniport_info", error);
    }
    error = MiniportForceReset(&Subject->Miniport, &status);
    if (error == ERROR_NOT_SUPPORTED || (error == ERROR_SUCCESS && status == STATUS_IS_NOT_SUPPORTED)) {
        ReportMarker("TEST|virtio-blk-reset|SKIP|reason=not_supported");
        return TRUE;
    }
    if (error != ERROR_SUCCESS || status != 0) {
        return FailReset("ioctl", error != ERROR_SUCCESS ? error : status);
    }
    /* The driver answers after the reset: a command that works now shows that the device came back. */
    error = MiniportReportLuns(&Subject->Miniport);
    if (error == ERROR_SUCCESS) {
        ULONGLONG bytes;

        error = MiniportReadCapacity(&Subject->Miniport, &bytes);
    }
    if (error != ERROR_SUCCESS) {
        return FailReset("after_reset", error);
    }
    error = MiniportQuery(&Subject->Miniport, &after, &length);
    if (error != ERROR_SUCCESS || after.IoctlResetCount == before.IoctlResetCount) {
        return FailReset("not_counted", error);
    }
    ReportMarker("TEST|virtio-blk-reset|PASS|performed=1|counter_before=%u|counter_after=%u", before.IoctlResetCount,
                 after.IoctlResetCount);
    return TRUE;
}

/* ---- the whole ---- */

static void ReportConfig(const OPTIONS *Options) {
    char root[512];

    ReportFieldText(Options->BlkRoot, root, sizeof(root));
    ReportMarker("CONFIG|blk_root=%s|expect_blk_msi=%u|test_blk_resize=%u|blk_resize_seconds=%lu|test_blk_reset=%u",
                 root, Options->ExpectBlkMsi, Options->TestBlkResize, Options->BlkResizeSeconds, Options->TestBlkReset);
}

static BOOL RunTests(const OPTIONS *Options) {
    static SUBJECT subject;
    BOOL good;

    ReportConfig(Options);
    FindSubject(&subject, Options);
    ReportInterrupts(&subject);
    ReportFlags(&subject);
    good = TestBlk(&subject);
    TestMsix(&subject);
    good &= TestResize(&subject, Options);
    good &= TestReset(&subject, Options);
    /* Asked again: what happened meanwhile is what the counters are for. */
    if (subject.InfoLength != 0 &&
        MiniportQuery(&subject.Miniport, &subject.Info, &subject.InfoLength) != ERROR_SUCCESS) {
        subject.InfoLength = 0;
    }
    ReportCounters(&subject);
    MiniportClose(&subject.Miniport);
    return good;
}

int wmain(int Count, WCHAR **Arguments) {
    OPTIONS options;
    const char *mistake = OptionsParse(Count, Arguments, &options);
    int status;

    ReportOpen();
    if (mistake == NULL && options.Help) {
        ReportLine("%s", OptionsUsage);
        return EXIT_PASS;
    }
    ReportMarker("START|version=1");
    if (mistake != NULL) {
        ReportLine("aero-virtio-selftest: %s; usage: %s", mistake, OptionsUsage);
        status = EXIT_USAGE;
    } else {
        status = RunTests(&options) ? EXIT_PASS : EXIT_FAIL;
    }
    ReportMarker("RESULT|%s", status == EXIT_PASS ? "PASS" : "FAIL");
    ReportClose();
    return status;
}
