/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Lines to standard output, the serial port and the log file. */
#include "report.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define MARKER_PREFIX "AERO_VIRTIO_SELFTEST|"
#define SERIAL_BAUD 115200
#define SERIAL_TIMEOUT_MS 2000 /* for one line; a port that nobody reads is given up */

enum {
    SINK_STDOUT,
    SINK_SERIAL,
    SINK_LOG,
    SINKS
};

static HANDLE ReportSinks[SINKS];

/* A port without line settings, which an emulator may have, is used as it is. */
static HANDLE OpenSerial(void) {
    HANDLE port = CreateFileW(L"\\\\.\\COM1", GENERIC_READ | GENERIC_WRITE, 0, NULL, OPEN_EXISTING, 0, NULL);
    COMMTIMEOUTS timeouts;
    DCB settings;

    if (port == INVALID_HANDLE_VALUE) {
        return port;
    }
    memset(&settings, 0, sizeof(settings));
    settings.DCBlength = sizeof(settings);
    if (GetCommState(port, &settings)) {
        settings.BaudRate = SERIAL_BAUD;
        settings.ByteSize = 8;
        settings.Parity = NOPARITY;
        settings.StopBits = ONESTOPBIT;
        settings.fOutxCtsFlow = FALSE;
        settings.fOutxDsrFlow = FALSE;
        settings.fOutX = FALSE;
        SetCommState(port, &settings);
    }
    memset(&timeouts, 0, sizeof(timeouts));
    timeouts.WriteTotalTimeoutConstant = SERIAL_TIMEOUT_MS;
    SetCommTimeouts(port, &timeouts);
    return port;
}

void ReportOpen(void) {
    ReportSinks[SINK_STDOUT] = GetStdHandle(STD_OUTPUT_HANDLE);
    ReportSinks[SINK_SERIAL] = OpenSerial();
    ReportSinks[SINK_LOG] =
        CreateFileW(REPORT_LOG_FILE, GENERIC_WRITE, FILE_SHARE_READ, NULL, CREATE_ALWAYS, FILE_ATTRIBUTE_NORMAL, NULL);
}

static void CloseSink(int Sink) {
    if (ReportSinks[Sink] != NULL && ReportSinks[Sink] != INVALID_HANDLE_VALUE && Sink != SINK_STDOUT) {
        CloseHandle(ReportSinks[Sink]);
    }
    ReportSinks[Sink] = NULL;
}

void ReportClose(void) {
    int sink;

    for (sink = 0; sink < SINKS; sink++) {
        CloseSink(sink);
    }
}

/* A sink that does not take a whole line is not asked again. */
static void WriteToSinks(const char *Line, DWORD Length) {
    int sink;

    for (sink = 0; sink < SINKS; sink++) {
        DWORD written = 0;

        if (ReportSinks[sink] == NULL || ReportSinks[sink] == INVALID_HANDLE_VALUE) {
            continue;
        }
        if (!WriteFile(ReportSinks[sink], Line, Length, &written, NULL) || written != Length) {
            CloseSink(sink);
        } else if (sink == SINK_LOG) {
            FlushFileBuffers(ReportSinks[sink]);
        }
    }
}

static void ReportText(const char *Prefix, const char *Format, va_list Values) {
    char line[REPORT_LINE_MAX + 2];
    size_t length = strlen(Prefix);
    int printed;

    memcpy(line, Prefix, length);
    printed = _vsnprintf(line + length, REPORT_LINE_MAX - length, Format, Values);
    length = printed < 0 ? REPORT_LINE_MAX : length + (size_t)printed;
    line[length] = '\r';
    line[length + 1] = '\n';
    WriteToSinks(line, (DWORD)length + 2);
}

void ReportLine(const char *Format, ...) {
    va_list values;

    va_start(values, Format);
    ReportText("", Format, values);
    va_end(values);
}

void ReportMarker(const char *Format, ...) {
    va_list values;

    va_start(values, Format);
    ReportText(MARKER_PREFIX, Format, values);
    va_end(values);
}

void ReportFieldText(const WCHAR *Text, char *Field, int FieldSize) {
    char *c;

    if (WideCharToMultiByte(CP_UTF8, 0, Text, -1, Field, FieldSize, NULL, NULL) == 0) {
        Field[0] = '?'; /* too long for a line */
        Field[1] = '\0';
    }
    for (c = Field; *c != '\0'; c++) {
        if (*c == '|' || (unsigned char)*c < ' ') {
            *c = '?';
        }
    }
}
