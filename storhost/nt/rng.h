/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Seeded random numbers: everything that a machine leaves to chance comes from here, so a run repeats from its seed. */
#ifndef STORHOST_NT_RNG_H
#define STORHOST_NT_RNG_H

#include <stdint.h>

struct rng {
	uint64_t state;
};

/* splitmix64 [Steele, Lea, Flood 2014]. */
static inline uint64_t rng_next(struct rng *rng)
{
	uint64_t z = rng->state += 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

/* A number below n (n > 0). */
static inline uint64_t rng_below(struct rng *rng, uint64_t n)
{
	return rng_next(rng) % n;
}

#endif
