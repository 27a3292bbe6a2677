/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The list of findings. */
#include "verify/verify.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define MAX_FINDINGS 256

static const struct {
	const char *name, *text, *source;
} rules[] = {
#define RULE(id, text, source) { #id, text, source },
#include "verify/rules.def"
#undef RULE
};

static struct {
	pthread_mutex_t lock;
	struct finding list[MAX_FINDINGS];
	unsigned stored, total;
} findings = { .lock = PTHREAD_MUTEX_INITIALIZER };

bool (*verify_excuses)(enum rule rule);
void (*verify_describe_pc)(uintptr_t pc, char *buf, size_t size);
void (*verify_describe_step)(char *buf, size_t size);

const char *rule_name(enum rule rule)
{
	static char names[RULE_COUNT][24];
	char *name = names[rule];

	if (!name[0]) {
		for (size_t i = 0; rules[rule].name[i] && i + 1 < sizeof(names[0]); i++)
			name[i] = rules[rule].name[i] == '_' ? '-' : rules[rule].name[i];
	}
	return name;
}

const char *rule_text(enum rule rule)
{
	return rules[rule].text;
}

const char *rule_source(enum rule rule)
{
	return rules[rule].source;
}

/* The entry of the same finding, or a new one; NULL when the list is full. Under the lock. */
static struct finding *finding_slot(enum rule rule, uintptr_t pc, const char *text)
{
	for (unsigned i = 0; i < findings.stored; i++) {
		struct finding *finding = &findings.list[i];

		if (finding->rule == rule && finding->pc == pc && (pc || !strcmp(finding->text, text)))
			return finding;
	}
	if (findings.stored == MAX_FINDINGS)
		return NULL;
	findings.list[findings.stored] = (struct finding){ .rule = rule, .pc = pc };
	return &findings.list[findings.stored++];
}

void verify_report(enum rule rule, uintptr_t pc, const char *fmt, ...)
{
	char step[96] = "", where[96] = "", text[sizeof(findings.list[0].text)];
	struct finding *finding;
	va_list ap;

	if (verify_excuses && verify_excuses(rule))
		return;
	if (pc && verify_describe_pc)
		verify_describe_pc(pc, where, sizeof(where));
	if (verify_describe_step)
		verify_describe_step(step, sizeof(step));
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);

	pthread_mutex_lock(&findings.lock);
	findings.total++;
	finding = finding_slot(rule, pc, text);
	if (finding && finding->count++ == 0) {
		memcpy(finding->text, text, sizeof(text));
		memcpy(finding->where, where, sizeof(where));
		fprintf(stderr, "finding %s: %s%s%s%s%s%s\n", rule_name(rule), text, where[0] ? " at " : "", where,
			step[0] ? " (" : "", step, step[0] ? ")" : "");
	}
	pthread_mutex_unlock(&findings.lock);
}

unsigned verify_findings(void)
{
	return findings.total;
}

void verify_clear(void)
{
	pthread_mutex_lock(&findings.lock);
	findings.stored = findings.total = 0;
	pthread_mutex_unlock(&findings.lock);
}

const struct finding *verify_finding(unsigned index)
{
	return index < findings.stored ? &findings.list[index] : NULL;
}
