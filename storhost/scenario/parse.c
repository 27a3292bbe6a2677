/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* From the text of a scenario to its steps: lines, words, and what every verb's grammar is made of. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "scenario/internal.h"

#define TEXT_MAX (1u << 20)
#define LINE_MAX_LENGTH 4095u
#define STEPS_MAX 4096u
#define CLAIM_MAX 200u
#define LIMIT_DEFAULT_S 60u

struct kept {
	struct kept *next;
	max_align_t bytes[];
};

/* ---- memory ---- */

void *words_keep(struct words *words, size_t size)
{
	struct kept *kept = calloc(1, sizeof(*kept) + size);

	if (!kept) {
		words_fail(words, "there is no memory");
		return NULL;
	}
	kept->next = words->scenario->kept;
	words->scenario->kept = kept;
	return kept->bytes;
}

static char *keep_text(struct words *words, const char *text, size_t length)
{
	char *copy = words_keep(words, length + 1);

	if (copy)
		memcpy(copy, text, length);
	return copy;
}

void scenario_free(struct scenario *scenario)
{
	if (!scenario)
		return;
	while (scenario->kept) {
		struct kept *next = scenario->kept->next;

		free(scenario->kept);
		scenario->kept = next;
	}
	free(scenario->steps);
	free(scenario->file);
	free(scenario);
}

const char *scenario_claim(const struct scenario *scenario)
{
	return scenario->claim;
}

unsigned scenario_preemptions(const struct scenario *scenario)
{
	return scenario->preemptions;
}

/* ---- words ---- */

int words_fail(struct words *words, const char *fmt, ...)
{
	struct error sentence;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(sentence.text, sizeof(sentence.text), fmt, ap);
	va_end(ap);
	return error_set(words->err, "%s:%u: %s", words->scenario->file, words->line, sentence.text);
}

const char *words_peek(const struct words *words)
{
	return words->at < words->count ? words->word[words->at] : NULL;
}

const char *words_next(struct words *words)
{
	const char *word = words_peek(words);

	words->at += word != NULL;
	return word;
}

bool words_take(struct words *words, const char *word)
{
	const char *next = words_peek(words);

	if (!next || words->quoted[words->at] || strcmp(next, word))
		return false;
	words->at++;
	return true;
}

int words_text(struct words *words, const char *what, const char **text)
{
	if (words->at < words->count && !words->quoted[words->at])
		return words_fail(words, "%s stands in quotes, unlike '%s'", what, words_peek(words));
	*text = words_next(words);
	return *text ? 0 : words_fail(words, "%s is missing", what);
}

int words_name(struct words *words, const char *what, const char **name)
{
	static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.";

	*name = words_next(words);
	if (!*name)
		return words_fail(words, "%s is missing", what);
	if (!**name || strlen(*name) > NAME_MAX_LENGTH || (*name)[strspn(*name, letters)])
		return words_fail(words, "%s is 1 to %u letters, digits, '-', '_' or '.', not '%s'", what,
				  NAME_MAX_LENGTH, *name);
	return 0;
}

static bool to_number(const char *text, char **end, uint64_t *number)
{
	if (!isdigit((unsigned char)*text))
		return false;
	*number = strtoull(text, end, text[0] == '0' && (text[1] | 0x20) == 'x' ? 16 : 10);
	return *end != text;
}

int words_number(struct words *words, const char *what, uint64_t least, uint64_t most, uint64_t *number)
{
	const char *word = words_next(words);
	char *end;

	if (!word)
		return words_fail(words, "%s is missing", what);
	if (!to_number(word, &end, number) || *end || *number < least || *number > most)
		return words_fail(words, "%s is a number from %llu to %llu, not '%s'", what, (unsigned long long)least,
				  (unsigned long long)most, word);
	return 0;
}

int words_size(struct words *words, uint64_t *bytes)
{
	static const char units[] = "KMGT";
	const char *word = words_next(words), *unit;
	char *end;

	if (!word)
		return words_fail(words, "the size is missing");
	if (!to_number(word, &end, bytes))
		return words_fail(words, "'%s' is no size such as 4096, 64M or 3T", word);
	unit = *end ? strchr(units, *end) : NULL;
	if (unit) {
		unsigned shift = 10 * (unsigned)(unit - units + 1);

		*bytes = *bytes <= UINT64_MAX >> shift ? *bytes << shift : UINT64_MAX;
		end++;
	}
	if (*end)
		return words_fail(words, "'%s' is no size such as 4096, 64M or 3T", word);
	if (!*bytes || *bytes % 512 || *bytes > (uint64_t)64 << 40)
		return words_fail(words, "a size is a multiple of 512 from 512 bytes to 64T, not %s", word);
	return 0;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool is_byte(const char *word, bool wild)
{
	if (strlen(word) != 2)
		return false;
	return (wild && !strcmp(word, "??")) || (hex_digit(word[0]) >= 0 && hex_digit(word[1]) >= 0);
}

int words_bytes(struct words *words, uint32_t most, bool wild, uint8_t **bytes, uint8_t **known, uint32_t *count)
{
	unsigned end = words->at;

	while (end < words->count && is_byte(words->word[end], wild))
		end++;
	*count = end - words->at;
	if (!*count)
		return words_fail(words, "bytes of two hexadecimal digits are missing%s%s",
				  words_peek(words) ? " before " : "", words_peek(words) ? words_peek(words) : "");
	if (*count > most)
		return words_fail(words, "%u bytes are too many: there is room for %u", *count, most);
	*bytes = words_keep(words, *count);
	*known = words_keep(words, *count);
	if (!*bytes || !*known)
		return -1;
	for (uint32_t i = 0; i < *count; i++) {
		const char *word = words_next(words);

		(*known)[i] = word[0] != '?';
		(*bytes)[i] = word[0] == '?' ? 0 : (uint8_t)(hex_digit(word[0]) << 4 | hex_digit(word[1]));
	}
	return 0;
}

/* ---- lines ---- */

/* Cuts a copy of the line into words; what is behind a '#' is left in *comment. */
static int cut_line(struct words *words, char *line, const char **comment)
{
	char *p = line;

	*comment = NULL;
	words->count = words->at = 0;
	for (;;) {
		p += strspn(p, " \t");
		if (!*p)
			return 0;
		if (*p == '#') {
			*comment = p + 1;
			return 0;
		}
		if (words->count == WORDS_MAX)
			return words_fail(words, "a line has at most %u words", WORDS_MAX);
		words->quoted[words->count] = *p == '"';
		words->word[words->count] = *p == '"' ? p + 1 : p;
		if (*p == '"') {
			p = strchr(p + 1, '"');
			if (!p)
				return words_fail(words, "a quotation mark is missing");
			*p++ = '\0';
			if (*p && !strchr(" \t#", *p))
				return words_fail(words, "a blank is missing behind the quotation mark");
			words->count++;
			continue;
		}
		words->count++;
		p += strcspn(p, " \t");
		if (!*p)
			return 0;
		*p++ = '\0';
	}
}

static int take_claim(struct words *words, const char *comment)
{
	size_t length;

	if (words->scenario->claim || !comment)
		return 0;
	comment += strspn(comment, " \t");
	length = strlen(comment);
	while (length && isspace((unsigned char)comment[length - 1]))
		length--;
	if (!length || !strncmp(comment, "SPDX-", 5))
		return 0;
	if (length > CLAIM_MAX)
		return words_fail(words, "a claim has at most %u characters", CLAIM_MAX);
	words->scenario->claim = keep_text(words, comment, length);
	return words->scenario->claim ? 0 : -1;
}

static const struct verb *verb_named(const char *name)
{
	for (unsigned i = 0; i < verb_count; i++) {
		if (!strcmp(verbs[i].name, name))
			return &verbs[i];
	}
	return NULL;
}

static const char *step_text(struct words *words)
{
	size_t length = 1;
	char *text, *p;

	for (unsigned i = 0; i < words->count; i++)
		length += strlen(words->word[i]) + 3;
	text = p = words_keep(words, length);
	for (unsigned i = 0; text && i < words->count; i++) {
		const char *quote = words->quoted[i] ? "\"" : "";

		p += sprintf(p, "%s%s%s%s", i ? " " : "", quote, words->word[i], quote);
	}
	return text;
}

static int check_submitted(struct words *words, const struct step *step)
{
	const struct scenario *scenario = words->scenario;

	if (!step->verb->build || step->direct)
		return words_fail(words, "'%s' is nothing that can be submitted", step->verb->name);
	if (step->expect.count)
		return words_fail(words, "what is expected of '%s' is said where it is awaited", step->submitted);
	if (!strcmp(step->submitted, "all"))
		return words_fail(words, "no request can be called 'all'");
	for (unsigned i = scenario->step_count; i-- > 0;) {
		const struct step *other = &scenario->steps[i];

		if (other->name && !strcmp(other->verb->name, "await") &&
		    (!strcmp(other->name, step->submitted) || !strcmp(other->name, "all")))
			break;
		if (other->submitted && !strcmp(other->submitted, step->submitted))
			return words_fail(words, "'%s' is the name of a request that was not awaited yet",
					  step->submitted);
	}
	return 0;
}

static int parse_step(struct words *words, struct step *step)
{
	const char *name;

	step->line = words->line;
	step->text = step_text(words);
	if (!step->text || (words_take(words, "submit") && words_name(words, "the request's name", &step->submitted)))
		return -1;
	name = words_next(words);
	if (!name)
		return words_fail(words, "the request to submit is missing");
	step->verb = verb_named(name);
	if (!step->verb)
		return words_fail(words, "there is no verb '%s'; 'storhost run --help' has them all", name);
	if (step->verb->parse && step->verb->parse(words, step))
		return -1;
	if (step->verb->build && !step->direct && words_take(words, "->") && expect_parse(words, &step->expect))
		return -1;
	if (words_peek(words))
		return words_fail(words, "'%s' is more than '%s' takes: %s", words_peek(words), step->verb->name,
				  step->verb->grammar);
	return step->submitted ? check_submitted(words, step) : 0;
}

static int parse_line(struct words *words, const char *text, size_t length)
{
	struct scenario *scenario = words->scenario;
	const char *comment;
	struct step *steps;
	char *line;

	if (length && text[length - 1] == '\r')
		length--;
	if (length > LINE_MAX_LENGTH)
		return words_fail(words, "a line has at most %u characters", LINE_MAX_LENGTH);
	if (memchr(text, '\0', length))
		return words_fail(words, "there is a NUL in the line");
	line = keep_text(words, text, length);
	if (!line || cut_line(words, line, &comment) || take_claim(words, comment))
		return -1;
	if (!words->count)
		return 0;
	if (scenario->step_count == STEPS_MAX)
		return words_fail(words, "a scenario has at most %u steps", STEPS_MAX);
	if (scenario->step_count == scenario->step_room) {
		scenario->step_room = scenario->step_room ? 2 * scenario->step_room : 32;
		steps = realloc(scenario->steps, scenario->step_room * sizeof(*steps));
		if (!steps)
			return words_fail(words, "there is no memory");
		scenario->steps = steps;
	}
	memset(&scenario->steps[scenario->step_count], 0, sizeof(*scenario->steps));
	if (parse_step(words, &scenario->steps[scenario->step_count]))
		return -1;
	scenario->step_count++;
	return 0;
}

static int parse_lines(struct words *words, const char *text, size_t size)
{
	const char *end = text + size;

	if (size > TEXT_MAX)
		return words_fail(words, "a scenario has at most %u bytes", TEXT_MAX);
	while (text < end) {
		const char *newline = memchr(text, '\n', (size_t)(end - text));
		size_t length = (size_t)((newline ? newline : end) - text);

		if (parse_line(words, text, length))
			return -1;
		if (!newline)
			break;
		text = newline + 1;
		words->line++;
	}
	if (!words->scenario->claim)
		return words_fail(words, "there is no claim: the first comment says what the scenario proves");
	if (!words->scenario->step_count)
		return words_fail(words, "there is no step");
	return 0;
}

struct scenario *scenario_parse(const char *file, const char *text, size_t size, struct error *err)
{
	struct scenario *scenario = calloc(1, sizeof(*scenario));
	struct words *words = calloc(1, sizeof(*words));
	int failed = -1;

	if (scenario && words) {
		scenario->limit = LIMIT_DEFAULT_S;
		scenario->preemptions = 1;
		scenario->file = strdup(file);
		words->scenario = scenario;
		words->err = err;
		words->line = 1;
	}
	if (scenario && words && scenario->file)
		failed = parse_lines(words, text, size);
	else
		error_set(err, "%s:1: there is no memory", file);
	free(words);
	if (!failed)
		return scenario;
	scenario_free(scenario);
	return NULL;
}

void scenario_help(FILE *out)
{
	fprintf(out, "Steps of a scenario:\n");
	for (unsigned i = 0; i < verb_count; i++)
		fprintf(out, "  %s\n        %s\n", verbs[i].grammar, verbs[i].help);
	fprintf(out, "  submit NAME STEP\n        sends a step that ends in [-> EXPECT] and does not wait for it\n");
	expect_help(out);
}
