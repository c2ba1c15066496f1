/* SPDX-License-Identifier: ISC */
/* Bytes that grow.  A zeroed struct is an empty buffer. */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct buf {
	char *data; /* len bytes, then room up to cap; not terminated */
	size_t len;
	size_t cap;
};

/* The three in line: a state of a million records is made of words. */

/* For buf_room, where there is no room yet. */
char *buf_grow(struct buf *buf, size_t n);

/* Make room for n more bytes and return where they go; len is unchanged. */
static inline char *
buf_room(struct buf *buf, size_t n)
{
	return n <= buf->cap - buf->len ? buf->data + buf->len
					: buf_grow(buf, n);
}

/* Append n bytes; what the buffer may grow to is for the caller to bound. */
static inline void
buf_append(struct buf *buf, const void *data, size_t n)
{
	if (n == 0)
		return;
	memcpy(buf_room(buf, n), data, n);
	buf->len += n;
}

static inline void
buf_puts(struct buf *buf, const char *string)
{
	buf_append(buf, string, strlen(string));
}

void buf_printf(struct buf *buf, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* Append its decimal digits; printf takes many times as long. */
void buf_put_number(struct buf *buf, uint64_t number);

/* Forget the first n bytes. */
void buf_consume(struct buf *buf, size_t n);

/* The content as a string: terminates it in place, len is unchanged. */
char *buf_string(struct buf *buf);

/* Release the memory; the buffer is empty and usable again.  wipe clears it
 * first, for secrets. */
void buf_free(struct buf *buf);
void buf_wipe(struct buf *buf);

#endif
