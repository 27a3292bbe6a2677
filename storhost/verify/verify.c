/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The list of findings. */
#include "verify/verify.h"

#include <ctype.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define MAX_FINDINGS 256

static const struct {
	const char *name, *text, *source;
} rules[] = {
#define FAMILY(id, title, scenario)
#define RULE(id, text, source) { #id, text, source },
#include "verify/rules.def"
#undef FAMILY
#undef RULE
};

/* A family has the number of the rule that follows it. */
enum {
#define FAMILY(id, title, scenario) FAMILY_##id, FAMILY_##id##_BACK = FAMILY_##id - 1,
#define RULE(id, text, source) BOUND_##id,
#include "verify/rules.def"
#undef FAMILY
#undef RULE
};

static const struct {
	const char *title, *scenario;
	enum rule first;
} families[] = {
#define FAMILY(id, title, scenario) { title, scenario, (enum rule)FAMILY_##id },
#define RULE(id, text, source)
#include "verify/rules.def"
#undef FAMILY
#undef RULE
};

#define FAMILIES (sizeof(families) / sizeof(families[0]))

static const struct {
	const char *kind, *meaning;
} source_kinds[] = {
	{ "SDV", "a StorPort rule of Static Driver Verifier, here held at run time" },
	{ "DV", "a check of Driver Verifier; 0xF1 is its bug check, with the first parameter" },
	{ "DDI", "the Windows Driver Kit's page of that routine, structure or request" },
	{ "W7D", "that page of the Windows 7 WDK's documentation" },
	{ "ABI", "the Windows Driver Kit's headers for Windows 7" },
	{ "VIRTIO", "section of the Virtual I/O Device specification, version 1.2" },
	{ "CONTRACT", "section of AERO-W7-VIRTIO, version 1" },
	{ "bug check", "what Windows does when a driver breaks it" },
	{ "storhost", "what storhost itself needs in order to go on" },
};

static struct {
	pthread_mutex_t lock;
	struct finding list[MAX_FINDINGS];
	unsigned stored, total;
} findings = { .lock = PTHREAD_MUTEX_INITIALIZER };

bool (*verify_excuses)(enum rule rule);
const struct verify_scene *verify_scene;

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

const char *rule_breaker(enum rule rule)
{
	static char names[RULE_COUNT][40];
	char *name = names[rule], *out = name + 5;
	bool first = true;

	memcpy(name, "Break", 5);
	for (const char *p = rules[rule].name; *p && out < name + sizeof(names[0]) - 1; p++) {
		if (*p != '_')
			*out++ = (char)(first ? toupper(*p) : tolower(*p));
		first = *p == '_';
	}
	return name;
}

enum rule rule_find(const char *name)
{
	for (unsigned rule = 0; rule < RULE_COUNT; rule++) {
		const char *want = rules[rule].name, *p = name;

		while (*want && (toupper((unsigned char)*p) == *want || (*p == '-' && *want == '_')))
			want++, p++;
		if (!*want && !*p)
			return (enum rule)rule;
	}
	return RULE_COUNT;
}

bool rule_family(unsigned n, struct rule_family *family)
{
	if (n >= FAMILIES)
		return false;
	family->title = families[n].title;
	family->scenario = families[n].scenario;
	family->first = families[n].first;
	family->end = n + 1 < FAMILIES ? families[n + 1].first : RULE_COUNT;
	return true;
}

const char *rule_source_kind(unsigned n, const char **meaning)
{
	if (n >= sizeof(source_kinds) / sizeof(source_kinds[0]))
		return NULL;
	*meaning = source_kinds[n].meaning;
	return source_kinds[n].kind;
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

static void finding_print(const struct finding *finding)
{
	fprintf(stderr, "finding %s: %s", rule_name(finding->rule), finding->text);
	if (finding->where[0])
		fprintf(stderr, " at %s", finding->where);
	if (finding->call[0])
		fprintf(stderr, ", in %s", finding->call);
	if (finding->step[0])
		fprintf(stderr, " (%s)", finding->step);
	fputc('\n', stderr);
}

void verify_report(enum rule rule, uintptr_t pc, const char *fmt, ...)
{
	struct finding said = { .rule = rule, .pc = pc }, *finding;
	va_list ap;

	if (verify_excuses && verify_excuses(rule))
		return;
	if (verify_scene && pc)
		verify_scene->describe_pc(pc, said.where, sizeof(said.where));
	if (verify_scene) {
		verify_scene->describe_call(said.call, sizeof(said.call));
		verify_scene->describe_step(said.step, sizeof(said.step));
	}
	va_start(ap, fmt);
	vsnprintf(said.text, sizeof(said.text), fmt, ap);
	va_end(ap);

	pthread_mutex_lock(&findings.lock);
	findings.total++;
	finding = finding_slot(rule, pc, said.text);
	if (finding && finding->count++ == 0) {
		said.count = finding->count;
		*finding = said;
		finding_print(&said);
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
