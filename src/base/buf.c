/* SPDX-License-Identifier: ISC */
#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define PRINTED_USUALLY 32 /* bytes: more are formatted twice */

char *
buf_grow(struct buf *buf, size_t n)
{
	size_t cap = buf->cap > 0 ? buf->cap : 64;

	while (cap < buf->len + n)
		cap *= 2;
	buf->data = mem_grow(buf->data, cap, 1);
	buf->cap = cap;
	return buf->data + buf->len;
}

void
buf_printf(struct buf *buf, const char *fmt, ...)
{
	size_t room = PRINTED_USUALLY;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(buf_room(buf, room), room, fmt, ap);
	va_end(ap);
	if (n < 0)
		return;
	if ((size_t)n >= room) {
		room = (size_t)n + 1;
		va_start(ap, fmt);
		vsnprintf(buf_room(buf, room), room, fmt, ap);
		va_end(ap);
	}
	buf->len += (size_t)n;
}

void
buf_put_number(struct buf *buf, uint64_t number)
{
	char digits[20];
	size_t at = sizeof(digits);

	do {
		digits[--at] = (char)('0' + number % 10);
		number /= 10;
	} while (number > 0);
	buf_append(buf, digits + at, sizeof(digits) - at);
}

void
buf_consume(struct buf *buf, size_t n)
{
	memmove(buf->data, buf->data + n, buf->len - n);
	buf->len -= n;
}

char *
buf_string(struct buf *buf)
{
	*buf_room(buf, 1) = '\0';
	return buf->data;
}

void
buf_free(struct buf *buf)
{
	free(buf->data);
	*buf = (struct buf){0};
}

void
buf_wipe(struct buf *buf)
{
	if (buf->data != NULL)
		explicit_bzero(buf->data, buf->cap);
	buf_free(buf);
}
