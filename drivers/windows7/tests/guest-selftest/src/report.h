/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Where the selftest says what it found: standard output, COM1 and C:\aero-virtio-selftest.log, whichever there are.
 *
 * A line goes to all of them at once, ends with CR LF and is on its way when the function returns: a guest that hangs
 * or crashes has told everything until then. A line without a marker is for people; readers of markers skip it.
 */
#ifndef SELFTEST_REPORT_H
#define SELFTEST_REPORT_H

#include <windows.h>

#define REPORT_LOG_FILE L"C:\\aero-virtio-selftest.log"
#define REPORT_LINE_MAX 1024 /* bytes; what is longer is cut */

void ReportOpen(void);
void ReportClose(void);

/* printf's formats as msvcrt.dll has them: %I64u, not %llu. */
void ReportLine(const char *Format, ...);
/* "AERO_VIRTIO_SELFTEST|" and the line. */
void ReportMarker(const char *Format, ...);

/* Text as a field of a marker may hold it: UTF-8, nothing that would end the field or the line. */
void ReportFieldText(const WCHAR *Text, char *Field, int FieldSize);

#endif
