/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What stands for ring memory where ThreadSanitizer looks. */
#include "base/race.h"

#ifdef RACE_CHECKED
char race_ring;
#endif
