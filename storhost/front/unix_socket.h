/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* UNIX sockets that servers listen at. */
#ifndef STORHOST_FRONT_UNIX_SOCKET_H
#define STORHOST_FRONT_UNIX_SOCKET_H

#include "base/error.h"

/*
 * A socket that listens at the path, or -1 and a sentence. What a killed server left there is replaced; a socket that
 * somebody listens at and a file that is no socket stay. Whoever closes it takes the path away too.
 */
int unix_listen(const char *path, struct error *err);

#endif
