/* SPDX-License-Identifier: ISC */
/* The lines of an rc file, as keyword and argument. */
#ifndef CONF_LEX_H
#define CONF_LEX_H

#include <stdbool.h>
#include <sys/stat.h>

#include "base/err.h"

struct lex;

/* Both point into the text of the struct lex, and may be written to. */
struct lex_line {
	unsigned int number;
	char *word;
	char *argument; /* "" for none */
};

/*
 * Read a whole file ("-": standard input), 16 MiB at most.  ERR_CONFIG when it
 * cannot be read or holds a NUL; NULL on failure.
 */
struct lex *lex_open(const char *path, struct err *err);

/* The next line that is neither empty nor a comment; false at the end. */
bool lex_next(struct lex *lex, struct lex_line *line);

/* What fstat(2) said of the file. */
const struct stat *lex_stat(const struct lex *lex);

/* Wipes the text; NULL is nothing to do. */
void lex_free(struct lex *lex);

/* Split one line in place; false if it is empty or a comment. */
bool lex_split(char *line, struct lex_line *words);

/* Cut blanks off both ends in place, then one pair of double quotes. */
char *lex_trim(char *string);

/* The opposite: as it must be written to survive lex_trim; the caller frees. */
char *lex_quote(const char *string);

#endif
