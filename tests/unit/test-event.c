/* SPDX-License-Identifier: ISC */
#include "run/event.h"

#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/wait.h"
#include "tap.h"

static int ends[2];

static void
receive(struct buf *received)
{
	char chunk[65536];
	ssize_t n = recv(ends[0], chunk, sizeof(chunk), MSG_DONTWAIT);

	if (n > 0)
		buf_append(received, chunk, (size_t)n);
}

static void
test_round_trip(void)
{
	struct event sent = {.type = EVENT_ERROR, .level = LOG_AT_VERBOSE};
	struct event got = {.type = EVENT_LOG};
	struct buf received = {0};

	sent.counts = (struct event_counts){1, UINT64_MAX, 3, 4, 5};
	strlcpy(sent.text, "text", sizeof(sent.text));
	err_set(&sent.err, ERR_TEMPFAIL, "what");
	err_hint(&sent.err, "do this");
	sent.err.quiet = true;
	tap_ok(event_send(ends[1], &sent), "sent");
	receive(&received);
	tap_ok(event_take(&received, &got) == 1, "taken");
	tap_ok(got.type == EVENT_ERROR && got.level == LOG_AT_VERBOSE &&
		got.err.class == ERR_TEMPFAIL && got.err.quiet,
	    "type, level, class");
	tap_ok(memcmp(&got.counts, &sent.counts, sizeof(got.counts)) == 0,
	    "counts");
	tap_is(got.text, "text", "text");
	tap_is(got.err.text, "what", "what happened");
	tap_is(got.err.hint, "do this", "hint");
	tap_ok(event_take(&received, &got) == 0, "no second one");
	buf_free(&received);
}

static void
test_pieces(void)
{
	struct event sent = {.type = EVENT_LOG}, got;
	struct buf whole = {0}, received = {0};
	int early = 0;

	memset(sent.text, 'x', sizeof(sent.text) - 1);
	event_send(ends[1], &sent);
	receive(&whole);
	for (size_t i = 0; i + 1 < whole.len; i++) {
		buf_append(&received, whole.data + i, 1);
		early += event_take(&received, &got) != 0;
	}
	buf_append(&received, whole.data + whole.len - 1, 1);
	tap_ok(early == 0, "an event in pieces is none until it is whole");
	tap_ok(event_take(&received, &got) == 1 &&
		strlen(got.text) == sizeof(got.text) - 1,
	    "then it is one");
	buf_free(&whole);
	buf_free(&received);
}

static void
test_nonsense(void)
{
	struct buf received = {0};
	struct event got;
	char junk[200];

	memset(junk, 0xff, sizeof(junk));
	buf_append(&received, junk, sizeof(junk));
	tap_ok(event_take(&received, &got) == -1, "nonsense is refused");
	buf_free(&received);
}

static void
test_secret(void)
{
	struct err err;
	char *secret;

	tap_ok(event_send_secret(ends[0], "sesame"), "a secret is sent");
	secret = event_receive_secret(ends[1], wait_clock() + 5000, &err);
	tap_is(secret, "sesame", "and received");
	mem_free_secret(secret);
	event_send_secret(ends[0], NULL);
	secret = event_receive_secret(ends[1], wait_clock() + 5000, &err);
	tap_ok(secret == NULL && err.class == ERR_NOPERM, "nobody to ask");
	secret = event_receive_secret(ends[1], wait_clock() + 20, &err);
	tap_ok(secret == NULL && err.class == ERR_TEMPFAIL, "no answer");
	close(ends[0]);
	tap_ok(event_receive_secret(ends[1], wait_clock() + 5000, &err) == NULL,
	    "nobody there");
}

int
main(void)
{
	wait_open();
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == -1)
		return 1;
	test_round_trip();
	test_pieces();
	test_nonsense();
	test_secret();
	return tap_done();
}
