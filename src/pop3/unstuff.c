/* SPDX-License-Identifier: ISC */
#include "pop3/unstuff.h"

#include <string.h>

/* A chunk on its way: from is read, to is written, never the later one. */
struct cursor {
	const char *from;
	const char *end;
	char *to;
	uint64_t crs; /* taken out */
};

void
unstuff_init(struct unstuff *unstuff)
{
	*unstuff = (struct unstuff){.state = UNSTUFF_LINE_START};
}

/* memmove would copy a body that needs no change onto itself. */
static void
keep(struct cursor *cursor, const char *until)
{
	size_t n = (size_t)(until - cursor->from);

	if (cursor->to != cursor->from)
		memmove(cursor->to, cursor->from, n);
	cursor->to += n;
	cursor->from = until;
}

/* Up to the next line that begins with a dot, or the end of the chunk. */
static enum unstuff_state
text(struct cursor *cursor)
{
	const char *next = cursor->from;

	while (
	    (next = memchr(next, '\n', (size_t)(cursor->end - next))) != NULL) {
		next++;
		if (next - cursor->from < 2 || next[-2] != '\r')
			continue;
		keep(cursor, next - 2);
		*cursor->to++ = '\n';
		cursor->from = next;
		cursor->crs++;
		if (next == cursor->end || *next == '.')
			return UNSTUFF_LINE_START;
	}
	if (cursor->end > cursor->from && cursor->end[-1] == '\r') {
		keep(cursor, cursor->end - 1);
		cursor->from = cursor->end;
		return UNSTUFF_CR;
	}
	keep(cursor, cursor->end);
	return UNSTUFF_TEXT;
}

/* One step, of whole lines where there are some. */
static enum unstuff_state
step(enum unstuff_state state, struct cursor *cursor)
{
	char c = *cursor->from;

	switch (state) {
	case UNSTUFF_LINE_START:
		if (c != '.')
			return text(cursor);
		cursor->from++;
		return UNSTUFF_DOT;
	case UNSTUFF_DOT:
		/* With the next byte in sight, text decides about this CR. */
		if (c != '\r' ||
		    (cursor->end - cursor->from > 1 && cursor->from[1] != '\n'))
			return text(cursor);
		cursor->from++;
		return UNSTUFF_DOT_CR;
	case UNSTUFF_DOT_CR:
		cursor->from++;
		return UNSTUFF_DONE;
	case UNSTUFF_CR:
		cursor->from++;
		*cursor->to++ = '\n';
		cursor->crs++;
		return UNSTUFF_LINE_START;
	case UNSTUFF_TEXT:
	case UNSTUFF_DONE:
		break;
	}
	return text(cursor);
}

size_t
unstuff(struct unstuff *unstuff, char *data, size_t n, const char **out,
    size_t *produced)
{
	struct cursor cursor = {data, data + n, data, 0};
	enum unstuff_state *state = &unstuff->state;

	if ((*state == UNSTUFF_CR || *state == UNSTUFF_DOT_CR) && n > 0 &&
	    data[0] != '\n') {
		*state = UNSTUFF_TEXT;
		*out = "\r";
		*produced = 1;
		unstuff->octets++;
		return 0;
	}
	while (cursor.from < cursor.end && *state != UNSTUFF_DONE)
		*state = step(*state, &cursor);
	*out = data;
	*produced = (size_t)(cursor.to - data);
	unstuff->octets += *produced + cursor.crs;
	return (size_t)(cursor.from - data);
}
