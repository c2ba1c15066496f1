/* SPDX-License-Identifier: ISC */
#include "run/netrc.h"

#include <stdbool.h>
#include <string.h>
#include <strings.h>

#include "base/buf.h"
#include "base/mem.h"

enum scope {
	SCOPE_OTHERS, /* not for this host */
	SCOPE_DEFAULT,
	SCOPE_HOST,
};

struct reader {
	const char *at;
	const char *end;
	const char *host;
	const char *user;
	struct buf word; /* has room for the longest from the start */

	/* The entry that is being read. */
	enum scope scope;
	bool has_login;
	bool is_his; /* it names the user */
	char *password;

	int best_rank; /* 0: none yet */
	char *best;
};

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static void
skip_blanks(struct reader *reader)
{
	while (reader->at < reader->end && is_blank(*reader->at))
		reader->at++;
}

static bool
next_word(struct reader *reader)
{
	bool quoted;

	skip_blanks(reader);
	if (reader->at == reader->end)
		return false;
	quoted = *reader->at == '"';
	reader->at += quoted;
	reader->word.len = 0;
	while (reader->at < reader->end &&
	    (quoted ? *reader->at != '"' : !is_blank(*reader->at))) {
		if (*reader->at == '\\' && reader->at + 1 < reader->end)
			reader->at++;
		buf_append(&reader->word, reader->at++, 1);
	}
	if (quoted && reader->at < reader->end)
		reader->at++;
	buf_string(&reader->word);
	return true;
}

/* A comment stands where a keyword might; a password may begin with "#". */
static bool
next_keyword(struct reader *reader)
{
	for (skip_blanks(reader);
	     reader->at < reader->end && *reader->at == '#';
	     skip_blanks(reader))
		while (reader->at < reader->end && *reader->at != '\n')
			reader->at++;
	return next_word(reader);
}

/* A macro ends with an empty line. */
static void
skip_macro(struct reader *reader)
{
	bool empty = false;

	while (reader->at < reader->end && *reader->at != '\n')
		reader->at++;
	for (; reader->at < reader->end; reader->at++) {
		if (*reader->at == '\n' && empty)
			return;
		empty = *reader->at == '\n' || (empty && *reader->at == '\r');
	}
}

static void
end_entry(struct reader *reader)
{
	int rank = 2 * (int)reader->scope + reader->has_login;

	if (reader->scope == SCOPE_OTHERS || reader->password == NULL ||
	    (reader->has_login && !reader->is_his) || rank <= reader->best_rank)
		mem_free_secret(reader->password);
	else {
		mem_free_secret(reader->best);
		reader->best = reader->password;
		reader->best_rank = rank;
	}
	reader->password = NULL;
	reader->has_login = false;
	reader->is_his = false;
}

static void
take_machine(struct reader *reader)
{
	end_entry(reader);
	reader->scope = SCOPE_OTHERS;
	if (next_word(reader) &&
	    strcasecmp(reader->word.data, reader->host) == 0)
		reader->scope = SCOPE_HOST;
}

static void
take_default(struct reader *reader)
{
	end_entry(reader);
	reader->scope = SCOPE_DEFAULT;
}

static void
take_login(struct reader *reader)
{
	reader->has_login = true;
	reader->is_his =
	    next_word(reader) && strcmp(reader->word.data, reader->user) == 0;
}

static void
take_account(struct reader *reader)
{
	next_word(reader);
}

static void
take_password(struct reader *reader)
{
	if (!next_word(reader))
		return;
	mem_free_secret(reader->password);
	reader->password = mem_dup(reader->word.data);
}

static void
take_keyword(struct reader *reader)
{
	static const struct {
		const char *word;
		void (*take)(struct reader *reader);
	} keywords[] = {
	    {"machine", take_machine},
	    {"default", take_default},
	    {"login", take_login},
	    {"user", take_login},
	    {"account", take_account},
	    {"password", take_password},
	    {"passwd", take_password},
	    {"macdef", skip_macro},
	};

	for (size_t i = 0; i < sizeof(keywords) / sizeof(keywords[0]); i++)
		if (strcmp(reader->word.data, keywords[i].word) == 0) {
			keywords[i].take(reader);
			return;
		}
}

char *
netrc_password(const char *text, size_t n, const char *host, const char *user)
{
	struct reader reader = {
	    .at = text,
	    .end = text + n,
	    .host = host,
	    .user = user,
	};

	buf_room(&reader.word, n + 1);
	while (next_keyword(&reader))
		take_keyword(&reader);
	end_entry(&reader);
	buf_wipe(&reader.word);
	return reader.best;
}
