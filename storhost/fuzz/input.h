/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Bytes from which a run takes every decision. Past their end all is 0, and 0 is always what an honest peer does. */
#ifndef STORHOST_FUZZ_INPUT_H
#define STORHOST_FUZZ_INPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct input {
	const uint8_t *bytes;
	size_t size;
};

static inline bool input_more(const struct input *input)
{
	return input->size != 0;
}

static inline uint8_t input_byte(struct input *input)
{
	if (!input->size)
		return 0;
	input->size--;
	return *input->bytes++;
}

/* The next `width` bytes, the first of them the lowest. */
static inline uint64_t input_number(struct input *input, unsigned width)
{
	uint64_t number = 0;

	for (unsigned i = 0; i < width; i++)
		number |= (uint64_t)input_byte(input) << (8 * i);
	return number;
}

/* A number below n (n > 0). */
static inline uint32_t input_below(struct input *input, uint32_t n)
{
	return (uint32_t)(input_number(input, n > 256 ? 2 : 1) % n);
}

#endif
