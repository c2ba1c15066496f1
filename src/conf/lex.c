/* SPDX-License-Identifier: ISC */
#include "conf/lex.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/text.h"

#define LEX_TEXT_MAX ((size_t)16 << 20)
#define LEX_TEXT_FIRST 4096
#define NAME_MAX_SHOWN 512

/* The text may hold secrets: it is wiped whenever it is given up. */
struct lex {
	char *text; /* len octets and a NUL */
	size_t len;
	size_t cap;
	char *next; /* where the next line begins */
	unsigned int number;
	struct stat stat;
};

static void
grow(struct lex *lex)
{
	size_t cap = lex->cap > 0 ? 2 * lex->cap : LEX_TEXT_FIRST;
	char *text = mem_alloc(cap + 1);

	if (lex->len > 0)
		memcpy(text, lex->text, lex->len);
	if (lex->text != NULL)
		explicit_bzero(lex->text, lex->len);
	free(lex->text);
	lex->text = text;
	lex->cap = cap;
}

static unsigned int
count_lines(const char *text, size_t n)
{
	unsigned int lines = 1;

	for (size_t i = 0; i < n; i++)
		lines += text[i] == '\n';
	return lines;
}

/* Looks for NUL at once, or an endless device would be read to the limit. */
static int
read_text(struct lex *lex, int fd, const char *name, struct err *err)
{
	for (;;) {
		ssize_t n;
		char *nul;

		if (lex->len == lex->cap)
			grow(lex);
		n = read(fd, lex->text + lex->len, lex->cap - lex->len);
		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1)
			return err_set_errno(
			    err, ERR_CONFIG, "cannot read %s", name);
		nul = memchr(lex->text + lex->len, '\0', (size_t)n);
		lex->len += (size_t)n;
		if (nul != NULL)
			return err_set(err, ERR_CONFIG,
			    "%s:%u: a NUL character", name,
			    count_lines(lex->text, (size_t)(nul - lex->text)));
		if (n == 0)
			break;
		if (lex->len > LEX_TEXT_MAX)
			return err_set(
			    err, ERR_CONFIG, "%s is too large", name);
	}
	lex->text[lex->len] = '\0';
	return 0;
}

struct lex *
lex_open(const char *path, struct err *err)
{
	bool from_stdin = strcmp(path, "-") == 0;
	int fd = from_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
	char name[NAME_MAX_SHOWN];
	struct lex *lex;
	int status;

	text_escape(name, sizeof(name), path, strlen(path));
	if (fd == -1) {
		err_set_errno(err, ERR_CONFIG, "cannot read %s", name);
		return NULL;
	}
	lex = mem_zero(1, sizeof(*lex));
	status = fstat(fd, &lex->stat);
	if (status == -1)
		err_set_errno(err, ERR_CONFIG, "cannot read %s", name);
	else
		status = read_text(lex, fd, name, err);
	if (!from_stdin)
		close(fd);
	if (status == -1) {
		lex_free(lex);
		return NULL;
	}
	lex->next = lex->text;
	if (strncmp(lex->text, "\xef\xbb\xbf", 3) == 0)
		lex->next += 3;
	return lex;
}

bool
lex_next(struct lex *lex, struct lex_line *line)
{
	char *end = lex->text + lex->len;

	while (lex->next < end) {
		char *start = lex->next,
		     *stop = memchr(start, '\n', (size_t)(end - start));

		if (stop == NULL)
			stop = end;
		lex->next = stop + 1;
		lex->number++;
		*stop = '\0';
		if (stop > start && stop[-1] == '\r')
			stop[-1] = '\0';
		if (lex_split(start, line)) {
			line->number = lex->number;
			return true;
		}
	}
	return false;
}

const struct stat *
lex_stat(const struct lex *lex)
{
	return &lex->stat;
}

void
lex_free(struct lex *lex)
{
	if (lex == NULL)
		return;
	if (lex->text != NULL)
		explicit_bzero(lex->text, lex->len);
	free(lex->text);
	free(lex);
}

bool
lex_split(char *line, struct lex_line *words)
{
	char *word = line + strspn(line, " \t");
	size_t length = strcspn(word, " \t");

	if (word[0] == '\0' || word[0] == '#')
		return false;
	words->word = word;
	words->argument = word + length;
	if (word[length] != '\0')
		words->argument = lex_trim(word + length + 1);
	word[length] = '\0';
	return true;
}

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static bool
is_quoted(const char *string, size_t n)
{
	return n >= 2 && string[0] == '"' && string[n - 1] == '"';
}

char *
lex_trim(char *string)
{
	char *start = string + strspn(string, " \t");
	size_t n = strlen(start);

	while (n > 0 && is_blank(start[n - 1]))
		n--;
	if (is_quoted(start, n)) {
		start++;
		n -= 2;
	}
	start[n] = '\0';
	return start;
}

char *
lex_quote(const char *string)
{
	size_t n = strlen(string);

	if (n == 0 || is_blank(string[0]) || is_blank(string[n - 1]) ||
	    is_quoted(string, n))
		return mem_printf("\"%s\"", string);
	return mem_dup(string);
}
