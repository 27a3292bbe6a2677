/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The one thing in which these miniports differ. */
#include "miniport.h"

const volatile ULONG Mistake = MISTAKE;
