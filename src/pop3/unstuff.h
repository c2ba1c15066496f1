/* SPDX-License-Identifier: ISC */
/*
 * The body of a multi-line response (RFC 1939 section 3) as it streams by:
 * finds CRLF "." CRLF, takes the stuffed dots out and turns CRLF into LF.
 * Only what follows CRLF (or begins the body) is the begin of a line: bare CR,
 * bare LF and NUL are bytes like others.  Pure, for chunks of any size.
 */
#ifndef POP3_UNSTUFF_H
#define POP3_UNSTUFF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum unstuff_state {
	UNSTUFF_LINE_START,
	UNSTUFF_TEXT,
	UNSTUFF_CR,	/* a CR is held back: the next byte decides */
	UNSTUFF_DOT,	/* the dot at a line's start is held back */
	UNSTUFF_DOT_CR, /* dot and CR are held back */
	UNSTUFF_DONE,	/* the terminator has passed */
};

struct unstuff {
	enum unstuff_state state;
	uint64_t octets; /* of the message as RFC 1939 counts: CRLF is two,
			    stuffed dots and terminator are none */
};

void unstuff_init(struct unstuff *unstuff);

/*
 * Filter n bytes of in to out, which has room for n + 2 bytes (a CR and a
 * dot may have been held back); out may be in, if two bytes before in are
 * there and out is in - 2.  *produced says how many were written.  Returns the
 * number of bytes used: fewer than n only when the terminator has passed.
 */
size_t unstuff(struct unstuff *unstuff, const char *in, size_t n, char *out,
    size_t *produced);

#endif
