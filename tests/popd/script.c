/* SPDX-License-Identifier: ISC */
/* A script as a list of steps; README has the grammar. */
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "script.h"
#include "text.h"

enum argument {
	NONE,
	OCTETS,
	PATTERN,
	PATH,
	NUMBER,
	MAYBE_NUMBER
};

static const struct word {
	const char *word;
	enum op op;
	enum argument argument;
} words[] = {
    {"S:", OP_SEND_LINE, OCTETS},
    {"S-", OP_SEND, OCTETS},
    {"C:", OP_EXPECT, OCTETS},
    {"C~", OP_MATCH, PATTERN},
    {"C-", OP_OCTETS, OCTETS},
    {"ANY", OP_ANY, NONE},
    {"QUESTION", OP_QUESTION, NONE},
    {"ANSWER", OP_ANSWER, OCTETS},
    {"ENDLESS", OP_ENDLESS, OCTETS},
    {"SEND FILE", OP_FILE, PATH},
    {"MESSAGE", OP_MESSAGE, PATH},
    {"FLUSH", OP_FLUSH, NONE},
    {"DRIP", OP_DRIP, NUMBER},
    {"TLS-RECORDS", OP_CHUNK, NUMBER},
    {"DELAY", OP_DELAY, NUMBER},
    {"EXPECT-NOTHING", OP_EXPECT_NOTHING, NUMBER},
    {"EXPECT-EOF", OP_EXPECT_EOF, NONE},
    {"DRAIN", OP_DRAIN, NONE},
    {"STALL", OP_STALL, MAYBE_NUMBER},
    {"TLS", OP_TLS, NONE},
    {"TLS-FAILS", OP_TLS_FAILS, NONE},
    {"CLOSE-NOTIFY", OP_CLOSE_NOTIFY, NONE},
    {"CUT", OP_CUT, NONE},
    {"RESET", OP_RESET, NONE},
    {"END", OP_END, NONE},
};

struct parser {
	struct script *script;
	size_t line;
	size_t depth; /* of REPEAT */
};

static _Noreturn void
bad(const struct parser *p, const char *what, const char *text)
{
	errx(2, "%s:%zu: %s: %s", p->script->path, p->line, what, text);
}

static struct step *
add_step(struct parser *p, enum op op)
{
	struct script *s = p->script;

	s->steps = text_grow(s->steps, s->count + 1, sizeof(*s->steps));
	s->steps[s->count] = (struct step){
	    .op = op,
	    .line = p->line,
	    .number = -1,
	    .counted = p->depth > 0,
	};
	return &s->steps[s->count++];
}

static int64_t
number(const struct parser *p, const char *text, int64_t least)
{
	const char *why;
	int64_t n = strtonum(text, least, INT64_MAX, &why);

	if (why != NULL)
		bad(p, "not a number that fits here", text);
	return n;
}

/* Paths are relative to the script's folder. */
static char *
beside(const char *script, const char *path)
{
	const char *slash = strrchr(script, '/');
	char *joined;

	if (path[0] == '/' || slash == NULL)
		return text_copy(path);
	if (asprintf(&joined, "%.*s/%s", (int)(slash - script), script, path) ==
	    -1)
		err(1, "memory");
	return joined;
}

static void
set_argument(
    struct parser *p, struct step *s, enum argument kind, const char *text)
{
	ssize_t len = 0;

	switch (kind) {
	case NONE:
		if (*text != '\0')
			bad(p, "takes no argument", text);
		break;
	case OCTETS:
		s->text = text_copy(text);
		if ((len = text_unescape(s->text)) == -1)
			bad(p, "bad escape", text);
		break;
	case PATTERN:
		s->text = text_copy(text);
		len = (ssize_t)strlen(text);
		break;
	case PATH:
		s->text = beside(p->script->path, text);
		break;
	case NUMBER:
	case MAYBE_NUMBER:
		if (kind == NUMBER || *text != '\0')
			s->number = number(p, text, 0);
		break;
	}
	s->len = (size_t)len;
}

/* The row whose word begins the line. */
static const struct word *
find_word(const struct parser *p, const char *line)
{
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		size_t len = strlen(words[i].word);

		if (strncmp(line, words[i].word, len) == 0 &&
		    (line[len] == ' ' || line[len] == '\0'))
			return &words[i];
	}
	bad(p, "unknown step", line);
}

static void
parse_step(struct parser *p, const char *line)
{
	const struct word *w = find_word(p, line);
	const char *argument;
	struct step *s;

	if (w->op == OP_END && p->depth-- == 0)
		bad(p, "no REPEAT before", line);
	argument = line + strlen(w->word);
	if (*argument == ' ')
		argument++;
	s = add_step(p, w->op);
	set_argument(p, s, w->argument, argument);
}

/* "REPEAT N STEP", or "REPEAT N" with steps up to END. */
static void
parse_repeat(struct parser *p, const char *rest)
{
	size_t len = strcspn(rest, " ");
	char *times = text_copy(rest);

	times[len] = '\0';
	if (++p->depth > REPEAT_DEPTH)
		bad(p, "too deep", rest);
	add_step(p, OP_REPEAT)->number = number(p, times, 1);
	free(times);
	if (rest[len] == ' ') {
		parse_step(p, rest + len + 1);
		parse_step(p, "END");
	}
}

static void
parse_line(struct parser *p, char *line)
{
	static const char repeat[] = "REPEAT ";

	line[strcspn(line, "\n")] = '\0';
	line += strspn(line, " \t");
	if (*line == '\0' || *line == '#')
		return;
	if (strncmp(line, repeat, strlen(repeat)) == 0) {
		parse_repeat(p, line + strlen(repeat));
		return;
	}
	parse_step(p, line);
}

struct script *
script_load(const char *path)
{
	struct script *script = text_alloc(1, sizeof(*script));
	struct parser p = {.script = script};
	char *line = NULL;
	size_t size = 0;
	FILE *f;

	script->path = path;
	if ((f = fopen(path, "re")) == NULL)
		err(2, "%s", path);
	while (getline(&line, &size, f) != -1) {
		p.line++;
		parse_line(&p, line);
	}
	if (p.depth > 0)
		bad(&p, "END is missing", "REPEAT");
	free(line);
	fclose(f);
	return script;
}

void
script_free(struct script *s)
{
	for (size_t i = 0; i < s->count; i++)
		free(s->steps[i].text);
	free(s->steps);
	free(s);
}
