/* SPDX-License-Identifier: ISC */
/*
 * The body of a multi-line response (RFC 1939 section 3) as it streams by:
 * finds CRLF "." CRLF, takes the stuffed dots out and turns CRLF into LF.
 * Only what follows CRLF (or begins the body) is the begin of a line: bare CR,
 * bare LF and NUL are bytes like others.  Pure, for chunks of any size.
 */
#ifndef POP3_UNSTUFF_H
#define POP3_UNSTUFF_H

#include <stddef.h>
#include <stdint.h>

enum unstuff_state {
	UNSTUFF_LINE_START,
	UNSTUFF_TEXT,
	UNSTUFF_CR,	/* a CR is held back: the next byte decides */
	UNSTUFF_DOT,	/* the dot at a line's start has passed */
	UNSTUFF_DOT_CR, /* and a CR behind it is held back */
	UNSTUFF_DONE,	/* the terminator has passed */
};

struct unstuff {
	enum unstuff_state state;
	uint64_t octets; /* of the message as RFC 1939 counts: CRLF is two,
			    stuffed dots and terminator are none */
};

void unstuff_init(struct unstuff *unstuff);

/*
 * Filter n > 0 bytes in place and return how many were used: these are never
 * to be shown again, the others must come again in the next call.  *out is
 * where the produced bytes are (*produced, perhaps 0): in data, or for a CR
 * that was held back elsewhere, with no byte used.  So each call makes
 * progress, nothing is ever written outside of the used bytes, and all n are
 * used unless a CR came free or the terminator has passed.
 */
size_t unstuff(struct unstuff *unstuff, char *data, size_t n, const char **out,
    size_t *produced);

#endif
