/* SPDX-License-Identifier: ISC */
/* Messages made up in memory, all of one size: for measuring. */
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "synthetic.h"
#include "text.h"

enum {
	BLOCK = 1024 * 1024
};

/* A piece of text as it is, and with dots doubled. */
struct piece {
	char *raw, *stuffed;
	size_t raw_len, stuffed_len;
};

/* Header, so many blocks, one tail. */
struct synthetic {
	struct piece block, tail;
	int64_t blocks;
};

/* All headers have one length, whatever the number. */
static int
make_header(char *header, size_t size, size_t index)
{
	return snprintf(header, size,
	    "Date: Thu, 01 Jan 2026 12:%02zu:%02zu +0000\r\n"
	    "From: Benchmark <bench@example.org>\r\n"
	    "To: Reader <reader@example.org>\r\n"
	    "Subject: Message number %010zu\r\n"
	    "Message-ID: <%010zu@bench.example.org>\r\n"
	    "\r\n",
	    index / 60 % 60, index % 60, index, index);
}

/* Line number n of the text, as a mail has them. */
static const char *
text_line(size_t n)
{
	static const char *const lines[] = {
	    "The quick brown fox jumps over the lazy dog, and then again.\r\n",
	    "\r\n",
	    ".a line that begins with a dot\r\n",
	    "Sphinx of black quartz, judge my vow; pack my box with jugs.\r\n",
	    "From the sender's point of view this line is an ordinary one.\r\n",
	    ">From here on it is quoted, or was it?\r\n",
	    ".\r\n",
	    "TG9yZW0gaXBzdW0gZG9sb3Igc2l0IGFtZXQsIGNvbnNlY3RldHVyIGFkaXBp\r\n",
	    "c2NpbmcgZWxpdCwgc2VkIGRvIGVpdXNtb2QgdGVtcG9yIGluY2lkaWR1bnQg\r\n",
	    "dXQgbGFib3JlIGV0IGRvbG9yZSBtYWduYSBhbGlxdWEuIFV0IGVuaW0gYWQg\r\n",
	};
	static const size_t count = sizeof(lines) / sizeof(lines[0]);

	/* Dots are rarer in mail than every tenth line. */
	if (n % count == 6 && n % (count * 8) != 6)
		return lines[0];
	return lines[n % count];
}

/* Text of exactly len octets (0, or 2 and more) that ends in CRLF. */
static struct piece
make_piece(size_t len)
{
	struct piece p = {.raw = text_alloc(len + 1, 1), .raw_len = len};
	size_t n, have = 0;

	for (size_t i = 0; have < len; i++) {
		n = strlen(text_line(i));
		n = n > len - have ? len - have : n;
		memcpy(p.raw + have, text_line(i), n);
		have += n;
	}
	if (len >= 2)
		memcpy(p.raw + len - 2, "\r\n", 2);
	if (len >= 3 && p.raw[len - 3] == '\r')
		p.raw[len - 3] = '!';
	p.stuffed = body_stuffed(p.raw, len, &p.stuffed_len);
	return p;
}

struct synthetic *
synthetic_new(int64_t size)
{
	struct synthetic *s = text_alloc(1, sizeof(*s));
	char header[512];
	int64_t rest;

	if (size < SYNTHETIC_LEAST)
		errx(2, "--synthetic: at least %d octets", SYNTHETIC_LEAST);
	rest = size - make_header(header, sizeof(header), 0);
	s->blocks = rest / BLOCK;
	rest %= BLOCK;
	if (rest == 1) { /* too short for a CRLF */
		s->blocks--;
		rest += BLOCK;
	}
	if (s->blocks > 0)
		s->block = make_piece(BLOCK);
	s->tail = make_piece((size_t)rest);
	return s;
}

void
synthetic_free(struct synthetic *s)
{
	if (s == NULL)
		return;
	free(s->block.raw);
	free(s->block.stuffed);
	free(s->tail.raw);
	free(s->tail.stuffed);
	free(s);
}

void
synthetic_send(const struct synthetic *s, size_t index, struct stream *stream)
{
	char header[512];
	int len = make_header(header, sizeof(header), index);

	stream_put(stream, header, (size_t)len);
	for (int64_t i = 0; i < s->blocks; i++)
		stream_put(stream, s->block.stuffed, s->block.stuffed_len);
	stream_put(stream, s->tail.stuffed, s->tail.stuffed_len);
}

void
synthetic_send_body(const struct synthetic *s, size_t index, struct body *b)
{
	char header[512];
	int len = make_header(header, sizeof(header), index);

	body_data(b, header, (size_t)len);
	for (int64_t i = 0; i < s->blocks && !b->done; i++)
		body_data(b, s->block.raw, s->block.raw_len);
	body_data(b, s->tail.raw, s->tail.raw_len);
}

void
synthetic_put_uid(size_t index, struct stream *stream)
{
	char uid[32];

	/* Spread like the hashes that real servers use. */
	snprintf(uid, sizeof(uid), "%08zx%08zx", index,
	    index * 2654435761U & 0xffffffffU);
	stream_puts(stream, uid);
}
