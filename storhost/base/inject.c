/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Counting occasions, and the one that a fault strikes. */
#include "base/inject.h"

#include <stddef.h>
#include <sys/mman.h>

#include "base/count.h"

struct campaign {
	uint64_t seed, nth; /* nth 0: no fault is armed */
	enum inject_kind kind;
	count64 occasions[INJECT_KINDS];
	const char *place;
	bool over, told;
};

static const struct {
	const char *name, *meaning;
} kinds[] = {
#define INJECT(id, name, meaning) { name, meaning },
#include "base/inject.def"
#undef INJECT
};

bool inject_active;
static struct campaign *campaign;

const char *inject_name(enum inject_kind kind)
{
	return kinds[kind].name;
}

const char *inject_meaning(enum inject_kind kind)
{
	return kinds[kind].meaning;
}

int inject_start(uint64_t seed, struct error *err)
{
	campaign = mmap(NULL, sizeof(*campaign), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (campaign == MAP_FAILED) {
		campaign = NULL;
		return error_set(err, "there is no memory");
	}
	campaign->seed = seed;
	inject_active = true;
	return 0;
}

void inject_count(void)
{
	inject_arm(INJECT_KINDS, 0);
}

void inject_arm(enum inject_kind kind, uint64_t nth)
{
	*campaign = (struct campaign){ .seed = campaign->seed, .kind = kind, .nth = nth };
}

void inject_over(void)
{
	__atomic_store_n(&campaign->over, true, __ATOMIC_RELEASE);
}

uint64_t inject_occasions(enum inject_kind kind)
{
	return __atomic_load_n(&campaign->occasions[kind], __ATOMIC_ACQUIRE);
}

bool inject_occasion(enum inject_kind kind, const char *place)
{
	uint64_t n = count64_add(&campaign->occasions[kind]);

	if (kind != campaign->kind || n != campaign->nth)
		return false;
	__atomic_store_n(&campaign->place, place, __ATOMIC_RELEASE);
	return true;
}

bool inject_is_armed(void)
{
	return inject_active && campaign->nth;
}

const char *inject_place(void)
{
	return inject_active ? __atomic_load_n(&campaign->place, __ATOMIC_ACQUIRE) : NULL;
}

bool inject_has_struck(void)
{
	return inject_place() && !__atomic_load_n(&campaign->over, __ATOMIC_ACQUIRE);
}

void inject_tell(void)
{
	if (inject_place())
		__atomic_store_n(&campaign->told, true, __ATOMIC_RELEASE);
}

bool inject_was_told(void)
{
	return inject_active && __atomic_load_n(&campaign->told, __ATOMIC_ACQUIRE);
}

enum inject_kind inject_kind(void)
{
	return inject_active ? campaign->kind : INJECT_KINDS;
}

uint64_t inject_random(void)
{
	uint64_t z = campaign->seed + ((uint64_t)campaign->kind << 32 | campaign->nth) * 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}
