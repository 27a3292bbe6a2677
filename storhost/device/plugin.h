/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Devices in shared objects: the machine's side of include/storhost-device.h. */
#ifndef STORHOST_DEVICE_PLUGIN_H
#define STORHOST_DEVICE_PLUGIN_H

#include "device/open.h"

/* Loads the object to see whether it is one. */
int plugin_check(const struct device_choice *choice, struct error *err);
int plugin_parse(struct device_choice *choice, const char *options, struct error *err);
struct device *plugin_open(const struct device_choice *choice, const char *disk, struct error *err);

#endif
