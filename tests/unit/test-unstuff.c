/* SPDX-License-Identifier: ISC */
#include <stdlib.h>

#include "base/buf.h"
#include "base/mem.h"
#include "pop3/unstuff.h"
#include "tap.h"

struct sample {
	const char *name;
	const char *wire;
	size_t wire_len;
	const char *message;
	size_t message_len;
	uint64_t octets;
};

#define SAMPLE(name, wire, message, octets)                                 \
	{                                                                   \
		name, wire, sizeof(wire) - 1, message, sizeof(message) - 1, \
		    octets                                                  \
	}

/* What stands behind a terminator must not be touched. */
#define REST "+OK .\r\n.\r\n"

static const struct sample samples[] = {
    SAMPLE("empty body", ".\r\n", "", 0),
    SAMPLE("one line", "a\r\n.\r\n", "a\n", 3),
    SAMPLE("empty line", "\r\n.\r\n", "\n", 2),
    SAMPLE("last line empty", "a\r\n\r\n.\r\n", "a\n\n", 5),
    SAMPLE("stuffed dot alone", "..\r\n.\r\n", ".\n", 3),
    SAMPLE("stuffed dots", "..a\r\n...\r\n.\r\n", ".a\n..\n", 8),
    SAMPLE("dot not stuffed", ".a\r\n.\r\n", "a\n", 3),
    SAMPLE("dots inside", "a.b.\r\n.\r\n", "a.b.\n", 6),
    SAMPLE("dot at line's end", "a.\r\n.\r\n", "a.\n", 4),
    SAMPLE("bare LF begins no line", "a\n.\r\nb\r\n.\r\n", "a\n.\nb\n", 8),
    SAMPLE("bare LF keeps its dots", "a\n..\r\n.\r\n", "a\n..\n", 6),
    SAMPLE("bare LF first", "\n.\r\n.\r\n", "\n.\n", 4),
    SAMPLE("bare CR begins no line", "a\r.\r\n.\r\n", "a\r.\n", 5),
    SAMPLE("bare CR first", "\r.\r\n.\r\n", "\r.\n", 4),
    SAMPLE("LF CR", "a\n\r\n.\r\n", "a\n\n", 4),
    SAMPLE("CR CR LF", "a\r\r\n.\r\n", "a\r\n", 4),
    SAMPLE("CR CR LF first", "\r\r\n.\r\n", "\r\n", 3),
    SAMPLE("CR CR CR LF", "\r\r\r\n.\r\n", "\r\r\n", 4),
    SAMPLE("dot LF", ".\n.\r\n.\r\n", "\n.\n", 4),
    SAMPLE("dot CR", ".\ra\r\n.\r\n", "\ra\n", 4),
    SAMPLE("dot CR CR LF", ".\r\r\n.\r\n", "\r\n", 3),
    SAMPLE("dot CR dot", ".\r.\r\n.\r\n", "\r.\n", 4),
    SAMPLE("dot dot CR", "..\r\r\n.\r\n", ".\r\n", 4),
    SAMPLE("NUL", "\0\r\n.\0\r\n\0.\r\n.\r\n", "\0\n\0\n\0.\n", 10),
    SAMPLE("eight bits", "\xff\xfe\r\n.\r\n", "\xff\xfe\n", 4),
    SAMPLE("blank before the dot", " .\r\n.\r\n", " .\n", 4),
    SAMPLE("blank behind the dot", ". \r\n.\r\n", " \n", 3),
};

#define N_SAMPLES (sizeof(samples) / sizeof(samples[0]))

struct run {
	struct unstuff unstuff;
	struct buf out;
	size_t used;
	bool sane;
};

/* One chunk in memory of its own size, so that sanitizers see each step. */
static void
feed(struct run *run, const char *data, size_t n)
{
	char *chunk = mem_alloc(n);
	size_t at = 0;
	int idle = 0;

	memcpy(chunk, data, n);
	while (at < n && run->unstuff.state != UNSTUFF_DONE) {
		const char *out;
		size_t produced, used;

		used =
		    unstuff(&run->unstuff, chunk + at, n - at, &out, &produced);
		buf_append(&run->out, out, produced);
		idle = used == 0 ? idle + 1 : 0;
		if (used > n - at || idle > 1) {
			run->sane = false;
			break;
		}
		at += used;
	}
	run->used += at;
	free(chunk);
}

static bool
ends_as(struct run *run, const struct sample *s)
{
	bool same = run->sane && run->unstuff.state == UNSTUFF_DONE &&
	    run->used == s->wire_len && run->unstuff.octets == s->octets &&
	    run->out.len == s->message_len &&
	    (s->message_len == 0 ||
		memcmp(run->out.data, s->message, s->message_len) == 0);

	buf_free(&run->out);
	return same;
}

static void
begin(struct run *run)
{
	*run = (struct run){.sane = true};
	unstuff_init(&run->unstuff);
}

/* Chunks of a fixed size, the rest of the session behind the terminator. */
static bool
in_chunks(const struct sample *s, size_t size)
{
	struct buf wire = {0};
	struct run run;

	begin(&run);
	buf_append(&wire, s->wire, s->wire_len);
	buf_puts(&wire, REST);
	for (size_t at = 0; at < wire.len; at += size)
		feed(&run, wire.data + at,
		    wire.len - at < size ? wire.len - at : size);
	buf_free(&wire);
	return ends_as(&run, s);
}

/* Each way to cut the body in up to three. */
static bool
in_pieces(const struct sample *s)
{
	for (size_t i = 0; i <= s->wire_len; i++)
		for (size_t j = i; j <= s->wire_len; j++) {
			struct run run;

			begin(&run);
			feed(&run, s->wire, i);
			feed(&run, s->wire + i, j - i);
			feed(&run, s->wire + j, s->wire_len - j);
			if (!ends_as(&run, s))
				return false;
		}
	return true;
}

/* Nothing but the terminator ends a body. */
static bool
prefix_is_open(const struct sample *s)
{
	for (size_t n = 0; n < s->wire_len; n++) {
		struct run run;
		bool done;

		begin(&run);
		feed(&run, s->wire, n);
		done = run.unstuff.state == UNSTUFF_DONE;
		buf_free(&run.out);
		if (done || run.used != n)
			return false;
	}
	return true;
}

/* A body larger than any chunk, with all kinds of lines. */
static void
test_large(void)
{
	struct buf wire = {0}, message = {0};
	struct sample s = {.name = "large"};

	for (int i = 0; i < 3000; i++) {
		static const char *const words[] = {
		    ".", "text", "", "a\rb\nc", "\r"};
		const char *word = words[i % 5];

		/* The first dot of a line is the stuffed one. */
		if (word[0] == '.' && i % 97 > 0)
			buf_puts(&wire, ".");
		for (int n = i % 97; n > 0; n--) {
			buf_puts(&wire, word);
			buf_puts(&message, word);
		}
		buf_puts(&wire, "\r\n");
		buf_puts(&message, "\n");
		s.octets++;
	}
	s.octets += message.len;
	buf_puts(&wire, ".\r\n");
	s.wire = wire.data;
	s.wire_len = wire.len;
	s.message = message.data;
	s.message_len = message.len;
	for (size_t size = 1; size <= 70; size++)
		if (!tap_ok(in_chunks(&s, size), "large, chunks of %zu", size))
			break;
	for (size_t size = 4095; size <= 4097; size++)
		tap_ok(in_chunks(&s, size), "large, chunks of %zu", size);
	tap_ok(in_chunks(&s, 1 << 20), "large, at once");
	buf_free(&wire);
	buf_free(&message);
}

int
main(void)
{
	for (size_t i = 0; i < N_SAMPLES; i++) {
		const struct sample *s = &samples[i];
		bool right = true;

		for (size_t n = 1; n <= s->wire_len + sizeof(REST); n++)
			right = right && in_chunks(s, n);
		tap_ok(right, "%s: every chunk size", s->name);
		tap_ok(in_pieces(s), "%s: every split", s->name);
		tap_ok(prefix_is_open(s), "%s: not ended early", s->name);
	}
	test_large();
	return tap_done();
}
