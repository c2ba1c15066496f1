/* SPDX-License-Identifier: ISC */
/* Bytes that grow.  A zeroed struct is an empty buffer. */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stddef.h>

struct buf {
	char *data; /* len bytes, then room up to cap; not terminated */
	size_t len;
	size_t cap;
};

/* Append n bytes; what the buffer may grow to is for the caller to bound. */
void buf_append(struct buf *buf, const void *data, size_t n);
void buf_puts(struct buf *buf, const char *string);
void buf_printf(struct buf *buf, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* Make room for n more bytes and return where they go; len is unchanged. */
char *buf_room(struct buf *buf, size_t n);

/* Forget the first n bytes. */
void buf_consume(struct buf *buf, size_t n);

/* The content as a string: terminates it in place, len is unchanged. */
char *buf_string(struct buf *buf);

/* Release the memory; the buffer is empty and usable again.  wipe clears it
 * first, for secrets. */
void buf_free(struct buf *buf);
void buf_wipe(struct buf *buf);

#endif
