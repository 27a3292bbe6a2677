/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The event log. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "port/internal.h"

/* Locks: the machine's. */
static void keep_event(struct port *port, const char *text)
{
	if (port->event_count == port->event_room && port->event_room < EVENTS_MAX) {
		unsigned room = port->event_room ? 2 * port->event_room : 64;
		char **events = realloc(port->events, room * sizeof(*events));

		if (!events)
			return;
		port->events = events;
		port->event_room = room;
	}
	if (port->event_count < port->event_room)
		port->events[port->event_count++] = strdup(text);
}

void log_event(struct port *port, const char *fmt, ...)
{
	char text[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	machine_lock();
	keep_event(port, text);
	machine_unlock();
	if (cpu_self() && (cpu_self()->callback & (CB_FIND_ADAPTER | CB_INITIALIZE | CB_PASSIVE_INITIALIZE)))
		error_set(&port->refusal, "%s", text);
	if (!port->options.quiet)
		fprintf(stderr, "event log: %s: %s\n", port->name, text);
}

const char *port_event(const struct port *port, unsigned n)
{
	const char *event;

	machine_lock();
	event = n < port->event_count ? port->events[n] : NULL;
	machine_unlock();
	return event;
}
