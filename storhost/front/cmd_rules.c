/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* `storhost rules`: what a driver is held to, for people, for programs, and as docs/storport-rules.md. */
#include <string.h>

#include "front/cli.h"
#include "front/json.h"
#include "verify/verify.h"

enum form { FORM_TEXT, FORM_JSON, FORM_MARKDOWN };

static struct rule_family family_of(enum rule rule)
{
	struct rule_family family;

	for (unsigned n = 0; rule_family(n, &family); n++) {
		if (rule < family.end)
			break;
	}
	return family;
}

/* Whether the source names that kind: as a word that begins it, or one of its parts. */
static bool source_names(const char *source, const char *kind)
{
	const char *at = source;

	while ((at = strstr(at, kind)) != NULL) {
		char behind = at[strlen(kind)];

		if ((at == source || !strncmp(at - 2, "; ", 2)) && (behind == ' ' || !behind))
			return true;
		at++;
	}
	return false;
}

static void print_rule(enum rule rule)
{
	struct rule_family family = family_of(rule);
	const char *kind, *meaning;

	printf("%s: %s.\n\n", rule_name(rule), rule_text(rule));
	printf("Family           %s\n", family.title);
	printf("Source           %s\n", rule_source(rule));
	for (unsigned n = 0; (kind = rule_source_kind(n, &meaning)) != NULL; n++) {
		if (source_names(rule_source(rule), kind))
			printf("                 %s: %s\n", kind, meaning);
	}
	printf("Broken by        %s, of tests/broken\n", rule_breaker(rule));
	printf("Kept by ours in  every run, as storhost/tests/scenarios/%s.scn\n", family.scenario);
}

static void print_all(void)
{
	struct rule_family family;

	for (unsigned n = 0; rule_family(n, &family); n++) {
		printf("%s%s\n", n ? "\n" : "", family.title);
		for (enum rule rule = family.first; rule < family.end; rule++)
			printf("  %-18s %s\n", rule_name(rule), rule_text(rule));
	}
}

static void json_rule(struct json *json, enum rule rule)
{
	struct rule_family family = family_of(rule);

	json_open_object(json, NULL);
	json_string(json, "id", rule_name(rule));
	json_string(json, "text", rule_text(rule));
	json_string(json, "source", rule_source(rule));
	json_string(json, "family", family.title);
	json_string(json, "broken_by", rule_breaker(rule));
	json_string(json, "scenario", family.scenario);
	json_close(json);
}

static void write_json(enum rule first, enum rule end, bool one)
{
	struct json json;

	json_begin(&json, stdout);
	if (!one)
		json_open_array(&json, NULL);
	for (enum rule rule = first; rule < end; rule++)
		json_rule(&json, rule);
	if (!one)
		json_close(&json);
	json_end(&json);
}

static void markdown_family(const struct rule_family *family)
{
	printf("\n## %s\n\nPut to the test with our driver, which passes, by\n"
	       "[%s](../storhost/tests/scenarios/%s.scn) among others.\n\n"
	       "| Rule | What must hold | Source | Broken by |\n|---|---|---|---|\n",
	       family->title, family->scenario, family->scenario);
	for (enum rule rule = family->first; rule < family->end; rule++)
		printf("| %s | %s | %s | `%s` |\n", rule_name(rule), rule_text(rule), rule_source(rule),
		       rule_breaker(rule));
}

static void write_markdown(void)
{
	struct rule_family family;
	const char *kind, *meaning;

	printf("<!-- SPDX-License-Identifier: MIT OR Apache-2.0 -->\n<!-- Made by `make docs`; do not edit. -->\n"
	       "# Rules for StorPort miniports\n\n"
	       "storhost holds every driver that it runs to these %u rules, all the time. A finding names the rule,\n"
	       "says what happened, where in the driver (with the function's name, if the .pdb lies beside the .sys)\n"
	       "and in which callback, and with which seed and at which step it happens again.\n"
	       "`storhost rules RULE` explains one.\n\n"
	       "For each rule `tests/broken` has a small driver that breaks it and no other; a test builds and runs\n"
	       "it for x64 and x86. Our own driver is held to all of them in every scenario, test and benchmark:\n"
	       "one finding fails the run.\n\n"
	       "| Source | Meaning |\n|---|---|\n",
	       RULE_COUNT);
	for (unsigned n = 0; (kind = rule_source_kind(n, &meaning)) != NULL; n++)
		printf("| %s | %s |\n", kind, meaning);
	for (unsigned n = 0; rule_family(n, &family); n++)
		markdown_family(&family);
}

static int parse(int argc, char **argv, enum rule *rule, enum form *form)
{
	*rule = RULE_COUNT;
	*form = FORM_TEXT;
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--json") && *form != FORM_MARKDOWN)
			*form = FORM_JSON;
		else if (!strcmp(argv[i], "--markdown") && *form != FORM_JSON)
			*form = FORM_MARKDOWN;
		else if (argv[i][0] == '-')
			return cli_usage("rules takes --json or --markdown, not '%s'", argv[i]);
		else if (*rule != RULE_COUNT)
			return cli_usage("rules explains one rule at a time");
		else if ((*rule = rule_find(argv[i])) == RULE_COUNT)
			return cli_usage("there is no rule '%s'; 'storhost rules' lists them", argv[i]);
	}
	if (*rule != RULE_COUNT && *form == FORM_MARKDOWN)
		return cli_usage("--markdown is for all the rules");
	return CLI_OK;
}

int cmd_rules(int argc, char **argv)
{
	enum rule rule;
	enum form form;
	int status = parse(argc, argv, &rule, &form);
	bool one = rule != RULE_COUNT;

	if (status)
		return status;
	if (form == FORM_JSON)
		write_json(one ? rule : 0, one ? rule + 1 : RULE_COUNT, one);
	else if (form == FORM_MARKDOWN)
		write_markdown();
	else if (one)
		print_rule(rule);
	else
		print_all();
	return CLI_OK;
}
