/* SPDX-License-Identifier: ISC */
/* A script as a list of steps; README has the grammar. */
#ifndef POPD_SCRIPT_H
#define POPD_SCRIPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum op {
	OP_SEND_LINE,
	OP_SEND,
	OP_EXPECT,
	OP_MATCH,
	OP_OCTETS,
	OP_ANY,
	OP_QUESTION,
	OP_ANSWER,
	OP_ENDLESS,
	OP_FILE,
	OP_MESSAGE,
	OP_FLUSH,
	OP_DRIP,
	OP_CHUNK,
	OP_DELAY,
	OP_EXPECT_NOTHING,
	OP_EXPECT_EOF,
	OP_DRAIN,
	OP_STALL,
	OP_TLS,
	OP_TLS_FAILS,
	OP_CLOSE_NOTIFY,
	OP_CUT,
	OP_RESET,
	OP_REPEAT,
	OP_END,
	OPS
};

struct step {
	enum op op;
	size_t line;	/* in the script, from 1 */
	char *text;	/* octets, pattern or path */
	size_t len;	/* of text */
	int64_t number; /* ms, octets or times; -1: not given */
	bool counted;	/* %d in text is the count of the repeat */
};

struct script {
	const char *path;
	struct step *steps;
	size_t count;
};

enum {
	REPEAT_DEPTH = 4
};

/* Reads and checks all of it; dies with file and line of an error. */
struct script *script_load(const char *path);
void script_free(struct script *s);

#endif
