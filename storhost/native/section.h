/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Read before each source of a linked-in driver: its code is a section of its own, so that an address tells whose it is. */
#pragma clang section text = "miniport"
