/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Trace output of checked builds: VblkTrace((VBLK_TRACE_STATE, "format", ...)). Free builds compile none of it.
 *
 * The levels are those of nt!Kd_STORMINIPORT_Mask, which decides what the debugger shows.
 */
#ifndef AERO_VIRTIO_BLK_TRACE_H
#define AERO_VIRTIO_BLK_TRACE_H

#define VBLK_TRACE_ERROR 0
#define VBLK_TRACE_STATE 1
#define VBLK_TRACE_REQUEST 3

#if DBG
#define VblkTrace(Arguments) StorPortDebugPrint Arguments
#else
#define VblkTrace(Arguments) ((void)0)
#endif

#endif
