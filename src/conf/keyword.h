/* SPDX-License-Identifier: ISC */
/*
 * The one table of rc keywords.  It drives the parser, the command line,
 * --pretend, the defaults, and the test that compares it with the manual.
 */
#ifndef CONF_KEYWORD_H
#define CONF_KEYWORD_H

#include <stdbool.h>
#include <stddef.h>

#include "conf/conf.h"

enum keyword_flags {
	KEYWORD_SECRET = 1,	 /* printed as "*", not on the command line */
	KEYWORD_EMPTY_IS_ON = 2, /* a missing argument means "on" */
	KEYWORD_IGNORED = 4,	 /* accepted for mpop's sake, with a note */
	KEYWORD_LATER = 8,	 /* "not supported yet", but for its default */
	KEYWORD_LIST = 16,	 /* may be given several times and adds up */
	KEYWORD_HIDDEN = 32,	 /* what is refused is not shown: a secret? */
};

struct keyword;

/* What an argument may look like, and how its field is handled. */
struct keyword_type {
	size_t size; /* of the field, or of neighbours handled as one */

	/* Check the argument and store it; why is set on failure: a phrase
	 * such as "not a size". */
	bool (*parse)(const struct keyword *keyword, const char *argument,
	    struct account *account, const char **why);

	/* The argument as one would write it (of a list: the i-th); the caller
	 * frees it.  NULL: unset, or no more. */
	char *(*print)(const struct keyword *keyword,
	    const struct account *account, size_t i);

	/* NULL for plain values: give a field that was copied bit by bit
	 * memory of its own; release a field and leave it empty. */
	void (*own)(void *field);
	void (*clear)(void *field);
};

struct keyword {
	const char *name;
	const char *initial; /* default as one would write it, NULL: none */
	unsigned int flags;
	size_t offset;			 /* of the field in struct account */
	const struct keyword_type *type; /* NULL: no field */

	/* What parse chooses from, "on|off|auto", where that is useful. */
	const char *choices;
};

/* All keywords in the order of the manual page. */
const struct keyword *keyword_table(size_t *n);

/* By name, whatever its case; NULL if there is none. */
const struct keyword *keyword_find(const char *name);

/* The known one (or account, defaults, eval, include) nearest to a misspelt
 * name, or NULL. */
const char *keyword_nearest(const char *name);

#endif
