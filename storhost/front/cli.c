/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What commands share: arguments, sentences on standard error, files of their own, and text from files. */
#include "front/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include "pe/pe.h"

int cli_fail(const char *subject, const struct error *err)
{
	if (subject)
		fprintf(stderr, "storhost: %s: %s\n", subject, err->text);
	else
		fprintf(stderr, "storhost: %s\n", err->text);
	return CLI_FAILED;
}

int cli_usage(const char *fmt, ...)
{
	struct error err;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(err.text, sizeof(err.text), fmt, ap);
	va_end(ap);
	return cli_fail(NULL, &err);
}

/* In any order. 0, or what the command is to return. */
static int file_arguments(int argc, char **argv, const char **path, bool *json)
{
	bool options = true;

	*path = NULL;
	*json = false;
	for (int i = 1; i < argc; i++) {
		if (options && !strcmp(argv[i], "--json"))
			*json = true;
		else if (options && !strcmp(argv[i], "--"))
			options = false;
		else if (options && argv[i][0] == '-' && argv[i][1])
			return cli_usage("%s does not know the option %s", argv[0], argv[i]);
		else if (*path)
			return cli_usage("%s takes one file", argv[0]);
		else
			*path = argv[i];
	}
	return *path ? 0 : cli_usage("%s needs a file", argv[0]);
}

int cli_library(const char *name, char *path, size_t size, struct error *err)
{
	char self[400];
	ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;

	self[length > 0 ? length : 0] = '\0';
	slash = strrchr(self, '/');
	if (!slash)
		return error_set(err, "cannot tell where this program lies");
	*slash = '\0';
	snprintf(path, size, "%s/../lib/%s", self, name);
	if (access(path, R_OK))
		return error_set(err, "%s: %s", path, strerror(errno));
	return 0;
}

int cli_check_output(const char *path, struct error *err)
{
	bool there = !access(path, F_OK);
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);

	if (fd < 0)
		return error_set(err, "%s: %s", path, strerror(errno));
	close(fd);
	if (!there)
		unlink(path);
	return 0;
}

int cli_image_command(int argc, char **argv, unsigned (*print)(const struct pe_file *file),
		      unsigned (*write_json)(const struct pe_file *file))
{
	struct pe_file *file;
	struct error err;
	const char *path;
	unsigned findings;
	bool json;
	int status = file_arguments(argc, argv, &path, &json);

	if (status)
		return status;
	if (pe_open(path, &file, &err))
		return cli_fail(path, &err);
	findings = json ? write_json(file) : print(file);
	pe_close(file);
	return findings ? CLI_FINDINGS : CLI_OK;
}

void cli_print_text(FILE *out, const char *text)
{
	for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
		if (*p < 0x20 || *p > 0x7e)
			fprintf(out, "\\x%02x", *p);
		else
			fputc(*p, out);
	}
}
