/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The contract device in its shared object, with one bug in front of it: a device model that knows nothing of storhost
 * but its public header. Options: OBJECT of the contract device, '=' and the bug, as in "PATH=sticky-isr".
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "storhost-device.h"

#ifndef VERSION
#define VERSION STORHOST_DEVICE_VERSION
#endif

#define DRIVER_FEATURE 0x000cu
#define DEVICE_STATUS 0x0014u
#define QUEUE_DEVICE 0x0030u
#define UNDEFINED 0x0080u
#define NOTIFY 0x1000u
#define ISR 0x2000u

struct storhost_device {
    const struct storhost_device_table *sound;
    struct storhost_device *device;
    const struct storhost_machine *machine;
    struct storhost_machine between;
    char bug[32];
    uint64_t isr, used, driver_feature;
    int was_reset;
};

static int has(const struct storhost_device *broken, const char *bug) {
    return !strcmp(broken->bug, bug);
}

/* ---- the machine, for the sound device ---- */

static int pass_read(void *opaque, uint64_t address, void *data, uint32_t length) {
    struct storhost_device *broken = opaque;

    return broken->machine->read(broken->machine->opaque, address, data, length);
}

static int pass_write(void *opaque, uint64_t address, const void *data, uint32_t length) {
    struct storhost_device *broken = opaque;

    return broken->machine->write(broken->machine->opaque, address, data, length);
}

static void *pass_map(void *opaque, uint64_t address, uint32_t length, int write) {
    struct storhost_device *broken = opaque;

    return broken->machine->map(broken->machine->opaque, address, length, write);
}

static int pass_granted(void *opaque, uint64_t address, uint64_t length, int write) {
    struct storhost_device *broken = opaque;

    return broken->machine->granted(broken->machine->opaque, address, length, write);
}

static void pass_set_intx(void *opaque, int asserted) {
    struct storhost_device *broken = opaque;

    broken->machine->set_intx(broken->machine->opaque, asserted);
}

static void pass_msi_write(void *opaque, uint64_t address, uint32_t data) {
    struct storhost_device *broken = opaque;

    broken->machine->msi_write(broken->machine->opaque, address, data + has(broken, "wrong-message"));
    if (has(broken, "line-beside-messages"))
        broken->machine->set_intx(broken->machine->opaque, 1);
}

static void pass_wake(void *opaque) {
    struct storhost_device *broken = opaque;

    broken->machine->wake(broken->machine->opaque);
}

static void pass_blame(void *opaque, const char *rule, const char *clause, const char *sentence) {
    struct storhost_device *broken = opaque;

    broken->machine->blame(broken->machine->opaque, rule, clause, sentence);
}

/* ---- the broken device, for the machine ---- */

static struct storhost_device *create(const char *options, const char *disk, const struct storhost_machine *machine,
                                      char *why) {
    const char *bug = strchr(options, '=');
    struct storhost_device *broken = calloc(1, sizeof(*broken));
    const struct storhost_device_table *(*get)(uint32_t version) = NULL;
    char path[400];
    void *object;

    snprintf(path, sizeof(path), "%.*s", bug ? (int)(bug - options) : 0, options);
    object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (object)
        get = (const struct storhost_device_table *(*)(uint32_t))dlsym(object, STORHOST_DEVICE_ENTRY);
    if (!broken || !get) {
        snprintf(why, STORHOST_DEVICE_WHY, "there is no device in '%s'", path);
        free(broken);
        return NULL;
    }
    snprintf(broken->bug, sizeof(broken->bug), "%s", bug + 1);
    broken->machine = machine;
    broken->between = (struct storhost_machine){
        sizeof(broken->between), broken,         pass_read, pass_write, pass_map, pass_granted,
        pass_set_intx,           pass_msi_write, pass_wake, pass_blame};
    broken->sound = get(STORHOST_DEVICE_VERSION);
    broken->device = broken->sound->create("", disk, &broken->between, why);
    return broken->device ? broken : NULL;
}

static void destroy(struct storhost_device *broken) {
    broken->sound->destroy(broken->device);
    free(broken);
}

static uint32_t config_read(struct storhost_device *broken, uint32_t offset, uint32_t width) {
    uint32_t value = broken->sound->config_read(broken->device, offset, width);

    return offset == 0x3d && has(broken, "no-line") ? 0 : value;
}

static void config_write(struct storhost_device *broken, uint32_t offset, uint32_t width, uint32_t value) {
    broken->sound->config_write(broken->device, offset, width, value);
}

static uint64_t bar_length(struct storhost_device *broken, uint32_t bar) {
    return broken->sound->bar_length(broken->device, bar);
}

static uint64_t bar_read(struct storhost_device *broken, uint32_t bar, uint64_t offset, uint32_t width) {
    uint64_t value = broken->sound->bar_read(broken->device, bar, offset, width);

    if (offset == ISR && has(broken, "sticky-isr"))
        value = broken->isr |= value;
    if (offset == DRIVER_FEATURE && has(broken, "features-outlive-reset") && broken->was_reset)
        value = broken->driver_feature;
    if (offset >= UNDEFINED && offset < UNDEFINED + 0x80 && has(broken, "undefined-ones"))
        value = ~0ull >> (64 - 8 * width);
    return value;
}

static void bar_write(struct storhost_device *broken, uint32_t bar, uint64_t offset, uint32_t width, uint64_t value) {
    char byte;

    broken->sound->bar_write(broken->device, bar, offset, width, value);
    if (offset == QUEUE_DEVICE)
        broken->used = value;
    if (offset == QUEUE_DEVICE + 4)
        broken->used = (uint32_t)broken->used | value << 32;
    if (offset == DRIVER_FEATURE && value)
        broken->driver_feature = value;
    if (offset == DEVICE_STATUS) {
        broken->was_reset = value == 0;
        broken->isr = 0;
        broken->machine->wake(broken->machine->opaque);
    }
    if (offset == NOTIFY && has(broken, "reads-elsewhere"))
        broken->machine->read(broken->machine->opaque, 0x1000, &byte, 1);
}

/* A write that was under way when the reset came, and comes after it. */
static int step(struct storhost_device *broken, uint64_t random) {
    if (has(broken, "writes-after-reset") && broken->was_reset && broken->used)
        broken->machine->write(broken->machine->opaque, broken->used + 4, "late", 4);
    return broken->sound->step(broken->device, random);
}

static void power_cycle(struct storhost_device *broken) {
    broken->used = 0;
    broken->sound->power_cycle(broken->device);
}

static int running(struct storhost_device *broken) {
    return broken->sound->running(broken->device);
}

static int owes(struct storhost_device *broken) {
    return broken->sound->owes(broken->device);
}

const struct storhost_device_table *storhost_device_get(uint32_t version) {
    static const struct storhost_device_table table = {
        .size = sizeof(table),
        .version = VERSION,
        .name = "broken",
        .create = create,
        .destroy = destroy,
        .config_read = config_read,
        .config_write = config_write,
        .bar_length = bar_length,
        .bar_read = bar_read,
        .bar_write = bar_write,
        .step = step,
        .power_cycle = power_cycle,
        .running = running,
#ifndef INCOMPLETE
        .owes = owes,
#endif
    };

    (void)version;
    (void)owes;
    return &table;
}
