/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The event log. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "port/internal.h"

void log_event(struct port *port, const char *fmt, ...)
{
	char text[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	machine_lock();
	if (port->event_count < EVENTS)
		port->events[port->event_count++] = strdup(text);
	machine_unlock();
	if (cpu_self() && (cpu_self()->callback & (CB_FIND_ADAPTER | CB_INITIALIZE | CB_PASSIVE_INITIALIZE)))
		error_set(&port->refusal, "%s", text);
	if (!port->options.quiet)
		fprintf(stderr, "event log: %s: %s\n", port->name, text);
}

const char *port_event(const struct port *port, unsigned n)
{
	return n < port->event_count ? port->events[n] : NULL;
}
