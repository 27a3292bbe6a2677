/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Access to memory that a driver names. */
#include "nt/guest.h"

#include <string.h>

#include "nt/cpu.h"
#include "trap/trap.h"
#include "verify/verify.h"

#define CHUNK 512u

static bool guest_fault(const void *address, size_t size, bool write, uintptr_t pc)
{
	verify_report(RULE_CALL_ARGUMENT, pc, "%p, %zu bytes, cannot be %s", address, size, write ? "written" : "read");
	return false;
}

bool guest_read(void *to, const void *from, size_t size, uintptr_t pc)
{
	return !trap_copy(to, from, size) || guest_fault(from, size, false, pc);
}

bool guest_write(void *to, const void *from, size_t size, uintptr_t pc)
{
	return !trap_copy(to, from, size) || guest_fault(to, size, true, pc);
}

bool guest_string(char *to, const char *from, size_t size, uintptr_t pc)
{
	for (size_t i = 0; i + 1 < size; i++) {
		to[i + 1] = '\0';
		if (!guest_read(&to[i], from + i, 1, pc)) {
			to[i] = '\0';
			return false;
		}
		if (!to[i])
			break;
	}
	return true;
}

bool guest_wide_string(char *to, const uint16_t *from, size_t size, uintptr_t pc)
{
	uint16_t unit = 1;

	for (size_t i = 0; i + 1 < size && unit; i++) {
		if (!guest_read(&unit, from + i, sizeof(unit), pc))
			unit = 0;
		to[i] = (char)(unit < 0x80 ? unit : '?');
		to[i + 1] = '\0';
	}
	return true;
}

static void guest_crash(const void *address, const char *how, uintptr_t pc)
{
	verify_report(RULE_DRIVER_FAULT, pc, "memory at %p was to be %s and is not there", address, how);
	cpu_die("the driver gave a memory routine a bad address");
}

void guest_move(void *to, const void *from, size_t size, uintptr_t pc)
{
	uint8_t chunk[CHUNK];
	bool backwards = (uintptr_t)to - (uintptr_t)from < size;

	for (size_t done = 0; done < size;) {
		size_t part = size - done < CHUNK ? size - done : CHUNK;
		size_t at = backwards ? size - done - part : done;

		if (trap_copy(chunk, (const uint8_t *)from + at, part))
			guest_crash((const uint8_t *)from + at, "read", pc);
		if (trap_copy((uint8_t *)to + at, chunk, part))
			guest_crash((uint8_t *)to + at, "written", pc);
		done += part;
	}
}

void guest_fill(void *to, int value, size_t size, uintptr_t pc)
{
	uint8_t chunk[CHUNK];

	memset(chunk, value, sizeof(chunk));
	for (size_t done = 0; done < size; done += CHUNK) {
		if (trap_copy((uint8_t *)to + done, chunk, size - done < CHUNK ? size - done : CHUNK))
			guest_crash((uint8_t *)to + done, "written", pc);
	}
}
