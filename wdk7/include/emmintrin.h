/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What a driver needs of SSE2's intrinsics; the compiler's own are for code that may use its registers. */
#ifndef EMMINTRIN_H
#define EMMINTRIN_H

/* Full barrier. Only where there is SSE2. */
#define _mm_mfence() __asm__ __volatile__("mfence" : : : "memory")

#endif
