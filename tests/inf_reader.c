/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Prints what SetupAPI makes of .\aero_virtio_blk.inf, for test_inf.py: a Windows program without a C runtime.
 *
 * Lines of fields, tabs between them: "section" name; "line" key (empty: none; a single field is its own), then the
 * fields; "numbers" the same as integers, ? for what is none; "source" disk of the .sys file, and where it begins on
 * this machine.
 * Exit status: 0, or 1 after "error" number and line.
 */
#define NAME ".\\aero_virtio_blk.inf"
#define STYLE_WIN4 2
#define SRCINFO_PATH 1
#define STDOUT ((unsigned)-11)
#define TEXT_MAX 512

struct inf_context {
    void *inf, *current;
    unsigned section, line;
};

__declspec(dllimport) __declspec(noreturn) void __stdcall ExitProcess(unsigned status);
__declspec(dllimport) unsigned __stdcall GetLastError(void);
__declspec(dllimport) void *__stdcall GetStdHandle(unsigned which);
__declspec(dllimport) int __stdcall WriteFile(void *file, const void *bytes, unsigned count, unsigned *done, void *at);

__declspec(dllimport) void *__stdcall SetupOpenInfFileA(const char *name, const char *class_name, unsigned style,
                                                        unsigned *error_line);
__declspec(dllimport) int __stdcall SetupEnumInfSectionsA(void *inf, unsigned index, char *name, unsigned size,
                                                          unsigned *needed);
__declspec(dllimport) int __stdcall SetupFindFirstLineA(void *inf, const char *section, const char *key,
                                                        struct inf_context *context);
__declspec(dllimport) int __stdcall SetupFindNextLine(struct inf_context *in, struct inf_context *out);
__declspec(dllimport) unsigned __stdcall SetupGetFieldCount(struct inf_context *context);
__declspec(dllimport) int __stdcall SetupGetStringFieldA(struct inf_context *context, unsigned index, char *text,
                                                         unsigned size, unsigned *needed);
__declspec(dllimport) int __stdcall SetupGetIntField(struct inf_context *context, unsigned index, int *value);
__declspec(dllimport) int __stdcall SetupGetSourceFileLocationA(void *inf, struct inf_context *context,
                                                                const char *file, unsigned *disk, char *directory,
                                                                unsigned size, unsigned *needed);
__declspec(dllimport) int __stdcall SetupGetSourceInfoA(void *inf, unsigned disk, unsigned what, char *text,
                                                        unsigned size, unsigned *needed);

static void put(const char *text) {
    unsigned length = 0, done;

    while (text[length] != 0) {
        length++;
    }
    WriteFile(GetStdHandle(STDOUT), text, length, &done, 0);
}

static void put_number(unsigned value) {
    char digits[12];
    unsigned at = sizeof(digits) - 1;

    digits[at] = 0;
    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    put(digits + at);
}

static __declspec(noreturn) void fail(unsigned line) {
    put("error\t");
    put_number(GetLastError());
    put("\t");
    put_number(line);
    put("\n");
    ExitProcess(1);
}

static void put_line(struct inf_context *line) {
    unsigned fields = SetupGetFieldCount(line);
    char text[TEXT_MAX];
    unsigned i;
    int value;

    put("line");
    for (i = 0; i <= fields; i++) {
        put("\t");
        if (SetupGetStringFieldA(line, i, text, sizeof(text), 0)) {
            put(text);
        } else if (i > 0) {
            fail(line->line);
        }
    }
    put("\nnumbers");
    for (i = 0; i <= fields; i++) {
        put("\t");
        if (SetupGetIntField(line, i, &value)) {
            put_number((unsigned)value);
        } else {
            put("?");
        }
    }
    put("\n");
}

static void put_source(void *inf) {
    char directory[TEXT_MAX];
    unsigned disk;

    if (!SetupGetSourceFileLocationA(inf, 0, "aero_virtio_blk.sys", &disk, directory, sizeof(directory), 0) ||
        !SetupGetSourceInfoA(inf, disk, SRCINFO_PATH, directory, sizeof(directory), 0)) {
        fail(0);
    }
    put("source\t");
    put_number(disk);
    put("\t");
    put(directory);
    put("\n");
}

void start(void) {
    unsigned error_line = 0;
    void *inf = SetupOpenInfFileA(NAME, 0, STYLE_WIN4, &error_line);
    struct inf_context line;
    char name[TEXT_MAX];
    unsigned i;

    if (inf == (void *)-1) {
        fail(error_line);
    }
    for (i = 0; SetupEnumInfSectionsA(inf, i, name, sizeof(name), 0); i++) {
        put("section\t");
        put(name);
        put("\n");
        if (SetupFindFirstLineA(inf, name, 0, &line)) {
            do {
                put_line(&line);
            } while (SetupFindNextLine(&line, &line));
        }
    }
    put_source(inf);
    ExitProcess(0);
}
