/* SPDX-License-Identifier: ISC */
#include "conf/conf.h"

#include <ctype.h>
#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/spawn.h"
#include "base/text.h"
#include "conf/account.h"
#include "conf/keyword.h"
#include "conf/lex.h"

#define EVAL_TIMEOUT 60000 /* milliseconds */
#define EVAL_OUTPUT_MAX 65536
#define INCLUDE_DEPTH_MAX 16
#define NAME_SHOWN_MAX 512
#define WORD_SHOWN_MAX 64
#define ARGUMENT_SHOWN_MAX 160

/* A file that is being read. */
struct source {
	const char *path;
	struct lex *lex;
	unsigned int line;
	bool from_eval; /* the line is the output of a command */
	unsigned int depth;
	const struct source *outer; /* NULL: nothing included it */
};

struct reader {
	struct conf *conf;
	struct account *defaults;
	struct account *section; /* NULL before the first one */
	struct err *err;
};

static int read_file(
    struct reader *reader, const char *path, const struct source *outer);
static int take_line(
    struct reader *reader, struct source *source, const struct lex_line *line);

/* "FILE:LINE: WORD: why". */
static int
fail(const struct reader *reader, const struct source *source, const char *word,
    const char *why)
{
	char name[NAME_SHOWN_MAX], shown[WORD_SHOWN_MAX];

	text_escape(name, sizeof(name), source->path, strlen(source->path));
	text_escape(shown, sizeof(shown), word, strlen(word));
	return err_set(reader->err, ERR_CONFIG, "%s:%u: %s: %s", name,
	    source->line, shown, why);
}

/* The same with what the rc file says, which must not hold a secret; what a
 * command has printed may be one. */
static int
fail_showing(const struct reader *reader, const struct source *source,
    const struct lex_line *line, const char *why)
{
	char shown[ARGUMENT_SHOWN_MAX];
	char *phrase;

	if (line->argument[0] == '\0' || source->from_eval)
		return fail(reader, source, line->word, why);
	text_escape(
	    shown, sizeof(shown), line->argument, strlen(line->argument));
	phrase = mem_printf("%s: %s", why, shown);
	fail(reader, source, line->word, phrase);
	free(phrase);
	return -1;
}

/* Accounts */

static const char *
why_not_a_name(const struct conf *conf, const char *name)
{
	if (name[0] == '\0')
		return "a name is missing";
	for (const char *s = name; *s != '\0'; s++)
		if (*s == ',' || iscntrl((unsigned char)*s))
			return "a name holds no comma and no control character";
	if (conf_find(conf, name) != NULL)
		return "there is an account of this name already";
	return NULL;
}

static int
inherit_all(struct reader *reader, struct source *source,
    struct account *account, char *parents)
{
	struct lex_line line = {.word = (char[]){"account"}};

	while (parents != NULL) {
		char *next = strchr(parents, ',');
		const struct account *parent;

		if (next != NULL)
			*next++ = '\0';
		line.argument = lex_trim(parents);
		parent = conf_find(reader->conf, line.argument);
		if (parent == NULL)
			return fail_showing(reader, source, &line,
			    line.argument[0] == '\0'
				? "a parent's name is missing"
				: "no such account above");
		account_inherit(account, parent);
		parents = next;
	}
	return 0;
}

static int
take_account(
    struct reader *reader, struct source *source, const struct lex_line *line)
{
	char *parents = strchr(line->argument, ':');
	struct account *account;
	struct lex_line named = *line;
	const char *why;

	if (parents != NULL) {
		*parents++ = '\0';
		named.argument = lex_trim(line->argument);
	}
	why = why_not_a_name(reader->conf, named.argument);
	if (why != NULL)
		return fail_showing(reader, source, &named, why);
	account = account_copy(reader->defaults);
	account->name = mem_dup(named.argument);
	account->file = mem_dup(source->path);
	account->line = source->line;
	if (inherit_all(reader, source, account, parents) == -1) {
		account_free(account);
		return -1;
	}
	conf_add(reader->conf, account);
	reader->section = account;
	return 0;
}

static int
take_defaults(
    struct reader *reader, struct source *source, const struct lex_line *line)
{
	if (line->argument[0] != '\0')
		return fail_showing(reader, source, line, "takes no argument");
	reader->section = reader->defaults;
	return 0;
}

/* Commands that make lines */

static int
fail_eval(const struct reader *reader, const struct source *source,
    struct spawn_result *result)
{
	char how[64], said[ARGUMENT_SHOWN_MAX];
	const char *stderr_text = buf_string(&result->err);
	char *phrase;

	spawn_describe(result, how, sizeof(how));
	text_escape(
	    said, sizeof(said), stderr_text, strcspn(stderr_text, "\r\n"));
	phrase = mem_printf(
	    "the command %s%s%s", how, said[0] != '\0' ? ": " : "", said);
	fail(reader, source, "eval", phrase);
	free(phrase);
	return -1;
}

/* The first line of the output instead of the line itself. */
static int
take_output(struct reader *reader, struct source *source, struct buf *output)
{
	char *text = buf_string(output), *end = strchr(text, '\n');
	struct lex_line line;
	int status = 0;

	if (output->len == 0)
		return fail(reader, source, "eval", "the command said nothing");
	if (end == NULL && output->len >= EVAL_OUTPUT_MAX)
		return fail(
		    reader, source, "eval", "the command's line is too long");
	if (end == NULL)
		end = text + output->len;
	if (memchr(text, '\0', (size_t)(end - text)) != NULL)
		return fail(
		    reader, source, "eval", "a NUL in the command's output");
	*end = '\0';
	if (end > text && end[-1] == '\r')
		end[-1] = '\0';
	source->from_eval = true;
	if (lex_split(text, &line))
		status = take_line(reader, source, &line);
	source->from_eval = false;
	return status;
}

static int
take_eval(
    struct reader *reader, struct source *source, const struct lex_line *line)
{
	struct spawn spawn = {
	    .command = line->argument,
	    .input = -1,
	    .timeout = EVAL_TIMEOUT,
	    .output_max = EVAL_OUTPUT_MAX,
	};
	struct spawn_result result = {0};
	int status;

	if (source->from_eval)
		return fail(reader, source, "eval",
		    "not in what another eval command said");
	if (line->argument[0] == '\0')
		return fail(reader, source, "eval", "a command is missing");
	status = spawn_run(&spawn, &result, reader->err);
	if (status == -1)
		err_prefix(reader->err, "eval");
	else if (result.timed_out || result.status != 0)
		status = fail_eval(reader, source, &result);
	else
		status = take_output(reader, source, &result.out);
	spawn_result_free(&result);
	return status;
}

/* A directory that is not there matches nothing; one that cannot be read may
 * hide accounts. */
static int
stop_glob(const char *path, int error)
{
	(void)path;
	return error != ENOENT && error != ENOTDIR;
}

static void
append_literally(struct buf *pattern, const char *path)
{
	for (; *path != '\0'; path++) {
		if (strchr("*?[\\", *path) != NULL)
			buf_puts(pattern, "\\");
		buf_append(pattern, path, 1);
	}
}

/* Relative to the file that says it, and "~" is the home directory; what is
 * put in front has no wildcards. */
static void
make_pattern(struct buf *pattern, const char *path, const char *argument)
{
	char *front = NULL;

	if (argument[0] == '~' && argument[1] == '/')
		front = file_expand_home("~");
	else if (argument[0] != '/' && strchr(path, '/') != NULL)
		front = file_parent(path);
	if (front != NULL) {
		append_literally(pattern, front);
		if (argument[0] != '~')
			buf_puts(pattern, "/");
	}
	buf_puts(pattern, argument + (argument[0] == '~' && front != NULL));
	free(front);
}

static int
read_matches(struct reader *reader, struct source *source, const glob_t *found)
{
	struct account *section = reader->section;
	int status = 0;

	/* No file ends up in the section that another one began. */
	for (size_t i = 0; i < found->gl_pathc && status == 0; i++) {
		status = read_file(reader, found->gl_pathv[i], source);
		reader->section = section;
	}
	return status;
}

static int
take_include(
    struct reader *reader, struct source *source, const struct lex_line *line)
{
	bool is_pattern = strpbrk(line->argument, "*?[") != NULL;
	struct buf pattern = {0};
	glob_t found = {0};
	int status;

	if (line->argument[0] == '\0')
		return fail(reader, source, "include", "a file is missing");
	if (source->depth >= INCLUDE_DEPTH_MAX)
		return fail(reader, source, "include", "nested too deeply");
	make_pattern(&pattern, source->path, line->argument);
	status = glob(buf_string(&pattern), 0, stop_glob, &found);
	if (status == 0)
		status = read_matches(reader, source, &found);
	else if (status == GLOB_NOMATCH && is_pattern)
		status = 0;
	else
		status = fail_showing(reader, source, line,
		    status == GLOB_NOMATCH ? "no such file"
					   : "cannot read its directory");
	globfree(&found);
	buf_free(&pattern);
	return status;
}

/* Keywords */

/* Whoever takes eval for passwordeval must not find the password in a log. */
static int
fail_no_keyword(const struct reader *reader, const struct source *source)
{
	fail(reader, source, "eval",
	    "what the command printed begins with no keyword");
	return err_hint(reader->err,
	    "a command that prints the password alone is for passwordeval");
}

static int
fail_unknown(const struct reader *reader, const struct source *source,
    const struct lex_line *line)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz"
				      "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789_-";
	size_t n = strspn(line->word, letters);
	const char *nearest;
	bool is_keyword;
	char *word;

	/* Of "password=hunter2" no more is shown than "password". */
	word = mem_printf(
	    "%.*s", (int)(n > 0 ? n : strlen(line->word)), line->word);
	is_keyword = keyword_find(word) != NULL;
	nearest = keyword_nearest(word);
	if (source->from_eval && !is_keyword)
		fail_no_keyword(reader, source);
	else
		fail(reader, source, word, "unknown keyword");
	if (is_keyword)
		err_hint(reader->err,
		    "a blank separates a keyword from its argument");
	else if (nearest != NULL && !source->from_eval)
		err_hint(reader->err, "did you mean %s", nearest);
	free(word);
	return -1;
}

/* A password in a file is for its owner only. */
static int
check_private(const struct reader *reader, const struct source *source,
    const struct lex_line *line)
{
	const struct stat *st = lex_stat(source->lex);
	char name[NAME_SHOWN_MAX];

	if (line->argument[0] == '\0' || source->from_eval ||
	    strcmp(source->path, "-") == 0)
		return 0;
	text_escape(name, sizeof(name), source->path, strlen(source->path));
	if (st->st_uid != geteuid()) {
		fail(reader, source, line->word,
		    "this file with a password is not yours");
		return err_hint(
		    reader->err, "chown %ju %s", (uintmax_t)geteuid(), name);
	}
	if ((st->st_mode & 077) != 0) {
		fail(reader, source, line->word,
		    "others can read or change this file with a password");
		return err_hint(reader->err, "chmod 600 %s", name);
	}
	return 0;
}

static int
take_keyword(
    struct reader *reader, struct source *source, const struct lex_line *line)
{
	const struct keyword *keyword = keyword_find(line->word);
	char name[NAME_SHOWN_MAX];
	const char *why;

	if (keyword == NULL)
		return fail_unknown(reader, source, line);
	if (reader->section == NULL)
		return fail(reader, source, keyword->name,
		    "the first line must be defaults or account");
	if ((keyword->flags & KEYWORD_SECRET) &&
	    check_private(reader, source, line) == -1)
		return -1;
	if (keyword->flags & KEYWORD_IGNORED)
		log_say(LOG_AT_VERBOSE, "%s:%u: %s has no effect",
		    text_escape(
			name, sizeof(name), source->path, strlen(source->path)),
		    source->line, keyword->name);
	if (account_set(reader->section, keyword, line->argument, &why))
		return 0;
	if (keyword->flags & (KEYWORD_SECRET | KEYWORD_LATER | KEYWORD_HIDDEN))
		return fail(reader, source, keyword->name, why);
	return fail_showing(reader, source, line, why);
}

static int
take_line(
    struct reader *reader, struct source *source, const struct lex_line *line)
{
	static const struct command {
		const char *word;
		int (*take)(struct reader *reader, struct source *source,
		    const struct lex_line *line);
	} commands[] = {
	    {"defaults", take_defaults},
	    {"account", take_account},
	    {"eval", take_eval},
	    {"include", take_include},
	};

	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (strcasecmp(line->word, commands[i].word) == 0)
			return commands[i].take(reader, source, line);
	return take_keyword(reader, source, line);
}

/* Files */

/* A loop of includes would end at the depth only after 2^16 files. */
static bool
is_open(const struct source *source, const struct stat *st)
{
	for (; source != NULL; source = source->outer) {
		const struct stat *open = lex_stat(source->lex);

		if (open->st_dev == st->st_dev && open->st_ino == st->st_ino)
			return true;
	}
	return false;
}

static int
read_lines(struct reader *reader, struct source *source)
{
	struct lex_line line;
	int status = 0;

	while (status == 0 && lex_next(source->lex, &line)) {
		source->line = line.number;
		status = take_line(reader, source, &line);
	}
	return status;
}

static int
read_file(struct reader *reader, const char *path, const struct source *outer)
{
	struct source source = {
	    .path = path,
	    .lex = lex_open(path, reader->err),
	    .depth = outer != NULL ? outer->depth + 1 : 0,
	    .outer = outer,
	};
	int status;

	if (source.lex == NULL && outer != NULL)
		return err_prefix(
		    reader->err, "%s:%u: include", outer->path, outer->line);
	if (source.lex == NULL)
		return -1;
	if (is_open(outer, lex_stat(source.lex)))
		status = fail(
		    reader, outer, "include", "a file that includes itself");
	else
		status = read_lines(reader, &source);
	lex_free(source.lex);
	return status;
}

/* Somebody who begins has no rc file yet. */
static void
hint_at_beginning(const char *path, struct err *err)
{
	char *usual = conf_default_path();

	if (strcmp(path, usual) == 0 && access(path, F_OK) == -1)
		err_hint(err,
		    "poplarrc(5) says what to write there, with "
		    "examples");
	free(usual);
}

struct conf *
conf_read(const char *path, struct err *err)
{
	struct reader reader = {
	    .conf = mem_zero(1, sizeof(struct conf)),
	    .defaults = account_new(),
	    .err = err,
	};
	char name[NAME_SHOWN_MAX];
	int status = read_file(&reader, path, NULL);

	account_free(reader.defaults);
	if (status == -1)
		hint_at_beginning(path, err);
	else if (reader.conf->n == 0)
		status = err_set(err, ERR_CONFIG, "%s: no account in it",
		    text_escape(name, sizeof(name), path, strlen(path)));
	if (status == 0)
		return reader.conf;
	conf_free(reader.conf);
	return NULL;
}
