/* SPDX-License-Identifier: ISC */
/* The text of a multi-line response: line ends, TOP's limit, dots. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "body.h"
#include "text.h"

enum {
	BLOCK = 64 * 1024
};

void
body_begin(struct body *b, struct stream *s, int64_t lines)
{
	*b = (struct body){
	    .stream = s,
	    .lines_left = lines,
	    .blank = true,
	    .place = PLACE_START,
	};
}

static enum place
place_after(enum place before, const char *data, size_t len)
{
	bool cr = len > 1 ? data[len - 2] == '\r' : before == PLACE_CR;

	if (data[len - 1] == '\n' && cr)
		return PLACE_START;
	return data[len - 1] == '\r' ? PLACE_CR : PLACE_MIDDLE;
}

/* The octets up to and with the next CRLF that a dot follows, or all. */
static size_t
run_length(const char *data, size_t len)
{
	const char *p = data, *end = data + len;

	/* Many times as fast as memmem, lines being longer than a dozen. */
	while ((p = memchr(p, '\n', (size_t)(end - p))) != NULL) {
		p++;
		if (p < end && *p == '.' && p - data > 1 && p[-2] == '\r')
			return (size_t)(p - data);
	}
	return len;
}

/* Sends octets, doubling dots at the start of a line. */
static void
put_stuffed(struct body *b, const char *data, size_t len)
{
	size_t n;

	while (len > 0) {
		if (b->place == PLACE_START && *data == '.' && !b->no_stuff)
			stream_put(b->stream, ".", 1);
		/* A CRLF may have begun in the octets before these. */
		n = b->place == PLACE_CR ? 1 : run_length(data, len);
		stream_put(b->stream, data, n);
		b->place = place_after(b->place, data, n);
		data += n;
		len -= n;
	}
}

/* How much of it is within TOP's limit. */
static size_t
top_length(struct body *b, const char *data, size_t len)
{
	const char *p = data, *end = data + len;

	if (b->lines_left < 0)
		return len;
	for (; p < end && !b->done; p++) {
		if (*p != '\n') {
			b->blank = b->blank && *p == '\r';
			continue;
		}
		if (b->in_body)
			b->lines_left--;
		b->in_body = b->in_body || b->blank;
		b->blank = true;
		b->done = b->in_body && b->lines_left == 0;
	}
	return (size_t)(p - data);
}

static void
put_limited(struct body *b, const char *data, size_t len)
{
	if (!b->done)
		put_stuffed(b, data, top_length(b, data, len));
}

/* Line by line, each LF as CRLF. */
static void
put_from_lf(struct body *b, const char *data, size_t len)
{
	const char *lf;
	size_t n;

	while ((lf = memchr(data, '\n', len)) != NULL) {
		n = (size_t)(lf - data);
		put_limited(b, data, n);
		if (n > 0 ? lf[-1] == '\r' : b->after_cr)
			put_limited(b, "\n", 1);
		else
			put_limited(b, "\r\n", 2);
		b->after_cr = false;
		data += n + 1;
		len -= n + 1;
	}
	put_limited(b, data, len);
	if (len > 0)
		b->after_cr = data[len - 1] == '\r';
}

void
body_data(struct body *b, const char *data, size_t len)
{
	if (b->lf)
		put_from_lf(b, data, len);
	else
		put_limited(b, data, len);
}

void
body_end(struct body *b)
{
	if (b->place != PLACE_START)
		stream_puts(b->stream, "\r\n");
	stream_puts(b->stream, ".\r\n");
}

bool
body_file(struct body *b, int fd)
{
	char block[BLOCK];
	ssize_t n;

	while (!b->done && (n = read(fd, block, sizeof(block))) != 0) {
		if (n < 0)
			return false;
		body_data(b, block, (size_t)n);
	}
	return true;
}

char *
body_stuffed(const char *data, size_t len, size_t *stuffed_len)
{
	char *stuffed = text_alloc(2, len + 1), *to = stuffed;
	size_t n;

	while (len > 0) {
		if (*data == '.')
			*to++ = '.';
		n = run_length(data, len);
		memcpy(to, data, n);
		to += n;
		data += n;
		len -= n;
	}
	*stuffed_len = (size_t)(to - stuffed);
	return stuffed;
}

/* The LFs without CR before them. */
static int64_t
count_bare_lf(bool after_cr, const char *data, size_t len)
{
	const char *p = data, *end = data + len;
	int64_t count = 0;

	while (p < end && (p = memchr(p, '\n', (size_t)(end - p))) != NULL) {
		if (p > data ? p[-1] != '\r' : !after_cr)
			count++;
		p++;
	}
	return count;
}

int64_t
body_added(int fd, bool lf)
{
	enum place place = PLACE_START;
	char block[BLOCK];
	int64_t added = 0;
	ssize_t n;

	if (!lf && lseek(fd, -2, SEEK_END) == -1)
		lseek(fd, 0, SEEK_SET);
	while ((n = read(fd, block, sizeof(block))) > 0) {
		if (lf)
			added +=
			    count_bare_lf(place == PLACE_CR, block, (size_t)n);
		place = place_after(place, block, (size_t)n);
		if (lf && block[n - 1] == '\n')
			place = PLACE_START;
	}
	if (n < 0)
		return -1;
	return added + (place == PLACE_START ? 0 : 2);
}
