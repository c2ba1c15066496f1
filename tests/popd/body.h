/* SPDX-License-Identifier: ISC */
/* The text of a multi-line response: line ends, TOP's limit, dots. */
#ifndef POPD_BODY_H
#define POPD_BODY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "stream.h"

/* Where the last octet has left a line. */
enum place {
	PLACE_START,
	PLACE_MIDDLE,
	PLACE_CR
};

/* A message on its way out. */
struct body {
	struct stream *stream;
	bool lf;	    /* turn LF without CR into CRLF */
	bool no_stuff;	    /* do not double leading dots */
	int64_t lines_left; /* of the body, for TOP; -1: all */
	bool in_body;	    /* the empty line has passed */
	bool blank;	    /* nothing but CR in this line yet */
	bool done;	    /* TOP has had its lines */
	bool after_cr;	    /* of what came in */
	enum place place;   /* of what went out */
};

/* lines is -1 for RETR. */
void body_begin(struct body *b, struct stream *s, int64_t lines);
void body_data(struct body *b, const char *data, size_t len);

/* Completes the last line if need be and adds the terminator. */
void body_end(struct body *b);

/* A whole open file from here on; false when it cannot be read. */
bool body_file(struct body *b, int fd);

/* Doubles dots in text that begins at a line's start, to be freed. */
char *body_stuffed(const char *data, size_t len, size_t *stuffed_len);

/*
 * Reads from an open file what must be known of it: octets that are added on
 * the wire (CR before LF, a missing last CRLF). -1: it cannot be read.
 */
int64_t body_added(int fd, bool lf);

#endif
