/* SPDX-License-Identifier: ISC */
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/wait.h"
#include "pop3/client.h"
#include "pop3/window.h"
#include "tap.h"

#define PATIENCE 20000 /* milliseconds: enough, and yet an end */

struct session {
	int peer;
	struct conn *conn;
	struct client *client;
	struct client_reply reply;
	struct err err;
	char sent[4096];
	size_t ran_on; /* octets, by a peer that runs on */
};

static void
begin_with(struct session *s, int64_t timeout)
{
	int fds[2];

	memset(s, 0, sizeof(*s));
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == -1)
		exit(1);
	s->peer = fds[1];
	s->conn = conn_open(fds[0], timeout, WAIT_FOREVER);
	s->client = client_open(s->conn);
}

static void
begin(struct session *s)
{
	begin_with(s, PATIENCE);
}

static void
end(struct session *s)
{
	client_close(s->client);
	conn_close(s->conn);
	if (s->peer != -1)
		close(s->peer);
}

/* What the peer says; short enough for the socket to hold it. */
static void
say(struct session *s, const char *text)
{
	size_t n = strlen(text);

	if (send(s->peer, text, n, MSG_NOSIGNAL) != (ssize_t)n)
		exit(1);
}

/* All that the client has sent since the last look. */
static const char *
sent(struct session *s)
{
	ssize_t n;

	conn_push(s->conn);
	n = recv(s->peer, s->sent, sizeof(s->sent) - 1, MSG_DONTWAIT);
	s->sent[n > 0 ? n : 0] = '\0';
	return s->sent;
}

static void
queue(struct session *s, enum client_command command, const char *args)
{
	if (client_queue(s->client, command, args, &s->err) == -1)
		exit(1);
}

static int
reply(struct session *s)
{
	return client_reply(s->client, &s->reply, &s->err);
}

static int
into_buf(void *context, const char *data, size_t n, struct err *err)
{
	(void)err;
	buf_append(context, data, n);
	return 0;
}

/* Full after the first piece. */
static int
into_full_disk(void *context, const char *data, size_t n, struct err *err)
{
	(void)data;
	(void)n;
	++*(int *)context;
	return err_set(err, ERR_IO, "disk full");
}

static bool
holds(const struct buf *buf, const char *text)
{
	return buf->len == strlen(text) &&
	    (buf->len == 0 || memcmp(buf->data, text, buf->len) == 0);
}

static void
trace_to_buf(void *context, enum log_level level, const char *text)
{
	(void)level;
	buf_puts(context, text);
	buf_puts(context, "\n");
}

static void
test_commands(void)
{
	struct session s;

	begin(&s);
	queue(&s, CMD_GREETING, NULL);
	say(&s, "+OK POP3 <1@h>\r\n");
	tap_ok(reply(&s) == 0 && s.reply.ok &&
		s.reply.command == CMD_GREETING && s.reply.text_len == 10 &&
		memcmp(s.reply.text, "POP3 <1@h>", 10) == 0,
	    "the greeting is a reply");
	tap_is(sent(&s), "", "to nothing that was sent");
	client_window(s.client, 100, UINT64_MAX);
	queue(&s, CMD_STLS, NULL);
	queue(&s, CMD_USER, "alice");
	queue(&s, CMD_PASS, " two words ");
	queue(&s, CMD_APOP, "alice c4c9334bac560ecc979e58001b3e22fb");
	queue(&s, CMD_UTF8, NULL);
	queue(&s, CMD_STAT, NULL);
	queue(&s, CMD_UIDL, NULL);
	queue(&s, CMD_LIST, "3");
	client_queue_message(s.client, CMD_TOP, 4, 0);
	client_queue_message(s.client, CMD_RETR, 2147483647, 100);
	client_queue_message(s.client, CMD_DELE, 5, 0);
	queue(&s, CMD_QUIT, NULL);
	tap_ok(client_queued(s.client) == 12, "twelve are queued");
	say(&s, "+OK\r\n");
	tap_ok(reply(&s) == 0 && s.reply.command == CMD_STLS, "one replied to");
	tap_is(sent(&s),
	    "STLS\r\nUSER alice\r\nPASS  two words \r\n"
	    "APOP alice c4c9334bac560ecc979e58001b3e22fb\r\nUTF8\r\nSTAT\r\n"
	    "UIDL\r\nLIST 3\r\nTOP 4 0\r\nRETR 2147483647\r\nDELE "
	    "5\r\nQUIT\r\n",
	    "all commands as they are on the wire");
	tap_ok(client_queued(s.client) == 11, "eleven are left");
	end(&s);
}

static void
test_line_ends(void)
{
	static const char *const bad[] = {"a\r", "\na", "a\r\nDELE 1"};
	struct session s;

	begin(&s);
	for (size_t i = 0; i < 3; i++)
		tap_ok(client_queue(s.client, CMD_PASS, bad[i], &s.err) == -1 &&
			s.err.class == ERR_CONFIG &&
			strstr(s.err.text, "PASS") != NULL &&
			client_queued(s.client) == 0,
		    "a line end in an argument is refused, %zu", i);
	end(&s);
}

static void
test_reply(void)
{
	struct session s;

	begin(&s);
	client_queue_message(s.client, CMD_DELE, 3, 0);
	say(&s, "-ERR [SYS/TEMP] no\x1b[2J such \\\r\n");
	tap_ok(reply(&s) == 0 && !s.reply.ok && s.reply.number == 3 &&
		s.reply.command == CMD_DELE && s.reply.code == RESP_SYS_TEMP,
	    "a no is a reply");
	tap_is(s.reply.printable, "[SYS/TEMP] no\\x1b[2J such \\\\",
	    "its text is escaped");
	tap_ok(client_refused(&s.reply, ERR_UNAVAILABLE, &s.err) == -1 &&
		s.err.class == ERR_UNAVAILABLE,
	    "what was refused");
	tap_is(s.err.text,
	    "server says no to DELE 3: [SYS/TEMP] no\\x1b[2J such \\\\",
	    "is said");
	queue(&s, CMD_STAT, NULL);
	say(&s, "+ERR\r\n");
	tap_ok(reply(&s) == 0 && !s.reply.ok && s.reply.code == RESP_NONE,
	    "+ERR is a no");
	client_refused(&s.reply, ERR_UNAVAILABLE, &s.err);
	tap_is(s.err.text, "server says no to STAT without a reason",
	    "without a reason");
	queue(&s, CMD_GREETING, NULL);
	say(&s, "-ERR [IN-USE] go\r\n");
	reply(&s);
	client_refused(&s.reply, ERR_TEMPFAIL, &s.err);
	tap_is(s.err.text, "server says no to the connection: [IN-USE] go",
	    "a greeting that refuses");
	end(&s);
}

static void
test_no_reply(void)
{
	static const char *const bad[] = {"+OKAY\r\n", "* OK\r\n", "\r\n",
	    "+ \r\n", "+ok\r\n", "\x1b]0;x\x07\r\n", "-NO\r\n"};
	struct session s;

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		begin(&s);
		client_queue_message(s.client, CMD_RETR, 7, 0);
		say(&s, bad[i]);
		tap_ok(reply(&s) == -1 && s.err.class == ERR_PROTOCOL &&
			strstr(s.err.text, "RETR 7") != NULL &&
			strchr(s.err.text, '\x1b') == NULL && !s.reply.ok,
		    "no status line, %zu", i);
		end(&s);
	}
	begin(&s);
	tap_ok(reply(&s) == -1 && s.err.class == ERR_SOFTWARE,
	    "nothing was asked for");
	queue(&s, CMD_STAT, NULL);
	shutdown(s.peer, SHUT_WR);
	tap_ok(reply(&s) == -1 && s.err.class == ERR_TEMPFAIL,
	    "the end of the connection is no reply");
	end(&s);
}

/* As text longer than any buffer it goes into, in full bloom. */
static void
test_long_reply(void)
{
	struct buf line = {0};
	struct session s;

	begin(&s);
	buf_puts(&line, "-ERR ");
	for (int i = 0; i < 60000; i++)
		buf_puts(&line, "\x1b");
	buf_puts(&line, "\r\n");
	queue(&s, CMD_STAT, NULL);
	say(&s, buf_string(&line));
	tap_ok(reply(&s) == 0 && s.reply.text_len == 60000 &&
		strlen(s.reply.printable) < sizeof(s.reply.printable) &&
		client_refused(&s.reply, ERR_TEMPFAIL, &s.err) == -1,
	    "a long text is cut");
	buf_free(&line);
	end(&s);
}

static void
test_depth_one(void)
{
	struct session s;

	begin(&s);
	for (uint32_t i = 1; i <= 3; i++)
		client_queue_message(s.client, CMD_DELE, i, 0);
	say(&s, "+OK\r\n+OK\r\n+OK\r\n");
	reply(&s);
	tap_is(sent(&s), "DELE 1\r\n", "without a window: one command");
	reply(&s);
	tap_is(sent(&s), "DELE 2\r\n", "the next only after its reply");
	client_window(s.client, 0, 0);
	reply(&s);
	tap_is(sent(&s), "DELE 3\r\n", "one may always be in flight");
	end(&s);
}

static void
test_batches(void)
{
	static const char *const steps[] = {
	    "DELE 1\r\nDELE 2\r\nDELE 3\r\nDELE 4\r\n", "",
	    "DELE 5\r\nDELE 6\r\n", "", "DELE 7\r\nDELE 8\r\n", "",
	    "DELE 9\r\n", "", ""};
	struct session s;

	begin(&s);
	client_window(s.client, 4, UINT64_MAX);
	for (uint32_t i = 1; i <= 9; i++)
		client_queue_message(s.client, CMD_DELE, i, UINT64_MAX / 100);
	for (uint32_t i = 1; i <= 9; i++) {
		char name[64];

		say(&s, "+OK\r\n");
		snprintf(name, sizeof(name), "sent for reply %u", i);
		if (!tap_ok(reply(&s) == 0 && s.reply.number == i,
			"reply %u in a window of four", i))
			break;
		tap_is(sent(&s), steps[i - 1], name);
	}
	tap_ok(client_queued(s.client) == 0, "all are answered");
	end(&s);
}

static void
test_octets(void)
{
	struct session s;

	begin(&s);
	client_window(s.client, 100, 1000);
	for (uint32_t i = 1; i <= 4; i++)
		client_queue_message(s.client, CMD_RETR, i, 400);
	client_queue_message(s.client, CMD_RETR, 5, UINT64_MAX);
	client_queue_message(s.client, CMD_RETR, 6, UINT64_MAX);
	for (int i = 0; i < 6; i++)
		say(&s, "-ERR\r\n");
	reply(&s);
	tap_is(sent(&s), "RETR 1\r\nRETR 2\r\n", "as many as fit");
	reply(&s);
	tap_is(sent(&s), "RETR 3\r\n", "one went, one comes");
	reply(&s);
	tap_is(sent(&s), "RETR 4\r\n", "and again");
	reply(&s);
	tap_is(sent(&s), "", "nothing with one that is too large");
	reply(&s);
	tap_is(sent(&s), "RETR 5\r\n", "that goes alone");
	reply(&s);
	tap_is(sent(&s), "RETR 6\r\n", "as the next one does");
	for (uint32_t i = 11; i <= 16; i++)
		client_queue_message(s.client, CMD_RETR, i, 200);
	for (int i = 0; i < 6; i++)
		say(&s, "-ERR\r\n");
	reply(&s);
	tap_is(sent(&s),
	    "RETR 11\r\nRETR 12\r\nRETR 13\r\nRETR 14\r\nRETR 15\r\n",
	    "small ones, the window full");
	reply(&s);
	reply(&s);
	tap_is(sent(&s), "", "not refilled before half of it is free");
	reply(&s);
	tap_is(sent(&s), "RETR 16\r\n", "then it is");
	end(&s);
}

/* The octets of a window from 1,000 to 8,000 after a flight of which so many
 * were expected and so many came, in so many milliseconds, trip of them to its
 * first reply. */
static uint64_t
fitted_of(uint64_t octets, uint64_t brought, int64_t trip, int64_t milliseconds)
{
	struct window window;

	window_set(&window, 100, 1000, 8000);
	window_brought(&window, UINT64_MAX);
	window_sent(&window, 0, 2, octets, 7);
	window_replied(&window, 7 + trip);
	window_arrived(&window, 7 + trip);
	/* The end of the first is not that of the flight, nor does what is sent
	 * in the meantime count. */
	if (window.octets != 1000)
		return 0;
	window_brought(&window, brought - brought / 2);
	window_sent(&window, 1, 100, UINT64_MAX, 7 + trip);
	window_replied(&window, 7 + trip);
	window_brought(&window, brought / 2);
	window_arrived(&window, 7 + milliseconds);
	return window.octets;
}

static uint64_t
fitted(uint64_t octets, int64_t trip, int64_t milliseconds)
{
	return fitted_of(octets, octets, trip, milliseconds);
}

static void
test_fitting_window(void)
{
	struct window window;

	tap_ok(fitted(2000, 50, 200) == 4000, "eight round trips, 400 ms");
	tap_ok(fitted(2000, 10, 160) == 1000, "or 80");
	tap_ok(fitted(2000, 400, 500) == 2000 && fitted(3000, 400, 250) == 6000,
	    "but 500 ms at most");
	tap_ok(fitted(3001, 100, 10000) == 1000, "not below the least");
	tap_ok(
	    fitted(2001, 100, 1000) == 1000 && fitted(2002, 100, 1000) == 1001,
	    "the time divides octets that it does not divide");
	tap_ok(fitted(1000, 100, 1) == 8000, "not above the most");
	tap_ok(fitted(1000, 100, 0) == 8000, "faster than the clock can tell");
	tap_ok(fitted(8000, 0, 0) == 1000, "nearer than that");
	tap_ok(fitted(UINT64_MAX, 100, 1) == 8000, "a size without sense");
	tap_ok(fitted(0, 100, 1) == 1000, "nothing shows nothing");
	tap_ok(fitted_of(8000, 2000, 50, 200) == 4000 &&
		fitted_of(8000, 0, 50, 200) == 1000,
	    "what came counts, not what was expected");
	tap_ok(fitted_of(2000, 8000, 50, 200) == 4000,
	    "nor more than was expected");
	window_set(&window, 100, 1000, 8000);
	for (int64_t now = 0; now < 4; now++) {
		window_sent(&window, 1, 2, now == 1 ? 8000 : 2000, 1000 * now);
		window_replied(&window, 1000 * now);
		window_replied(&window, 1000 * now);
		window_brought(&window, UINT64_MAX);
		window_arrived(&window, 1000 * now + (now == 1 ? 100 : 500));
		tap_ok(window.octets == (now == 1 ? 8000 : 2000),
		    "up and down, whatever comes behind other replies, %d",
		    (int)now);
	}
}

/* A queue that grows while its begin is somewhere in the midst. */
static void
test_growth(void)
{
	struct session s;
	bool right = true;

	begin(&s);
	for (uint32_t i = 1; i <= 10; i++)
		client_queue_message(s.client, CMD_DELE, i, 0);
	for (uint32_t i = 1; i <= 100; i++) {
		if (i == 8)
			for (uint32_t j = 11; j <= 100; j++)
				client_queue_message(s.client, CMD_DELE, j, 0);
		say(&s, "+OK\r\n");
		right = reply(&s) == 0 && s.reply.number == i && right;
	}
	tap_ok(right && client_queued(s.client) == 0, "the queue grows");
	end(&s);
}

static void
test_drop(void)
{
	struct session s;

	begin(&s);
	client_window(s.client, 2, UINT64_MAX);
	for (uint32_t i = 1; i <= 40; i++)
		client_queue_message(s.client, CMD_DELE, i, 0);
	queue(&s, CMD_PASS, "secret");
	say(&s, "+OK\r\n+OK\r\n+OK\r\n");
	reply(&s);
	client_drop_unsent(s.client);
	tap_ok(client_queued(s.client) == 1, "what is in flight stays");
	queue(&s, CMD_QUIT, NULL);
	tap_ok(reply(&s) == 0 && s.reply.number == 2, "and is replied to");
	tap_ok(reply(&s) == 0 && s.reply.command == CMD_QUIT, "the next one");
	tap_is(sent(&s), "DELE 1\r\nDELE 2\r\nQUIT\r\n", "nothing else was");
	client_drop_unsent(s.client);
	end(&s);
	client_close(NULL);
}

static void
test_body(void)
{
	struct buf message = {0};
	struct client_body body = {.sink = into_buf, .context = &message};
	const char *line;
	struct session s;
	size_t n;

	begin(&s);
	client_window(s.client, 2, UINT64_MAX);
	client_queue_message(s.client, CMD_RETR, 1, 0);
	client_queue_message(s.client, CMD_TOP, 2, 0);
	say(&s, "+OK\r\na\n.\r\n..b\r\n\r\r\n\r\n.\r\n+OK\r\n.\r\n+OK\r\n");
	tap_ok(reply(&s) == 0 && s.reply.ok, "a message comes");
	tap_ok(client_next_line(s.client, &line, &n, &s.err) == -1 &&
		s.err.class == ERR_SOFTWARE,
	    "it is not read by lines");
	tap_ok(reply(&s) == -1 && s.err.class == ERR_SOFTWARE,
	    "nor is it a reply");
	tap_ok(client_body(s.client, &body, &s.err) == 0 && body.in_step,
	    "it is a body");
	tap_ok(holds(&message, "a\n.\n.b\n\r\n\n") && body.octets == 14,
	    "exactly so");
	message.len = 0;
	tap_ok(reply(&s) == 0 && s.reply.command == CMD_TOP &&
		client_body(s.client, &body, &s.err) == 0 && message.len == 0 &&
		body.octets == 0,
	    "an empty one");
	tap_ok(client_body(s.client, &body, &s.err) == -1 &&
		s.err.class == ERR_SOFTWARE && !body.in_step,
	    "there is no third");
	client_queue_message(s.client, CMD_RETR, 3, 0);
	tap_ok(reply(&s) == 0 && s.reply.number == 3, "in step all the time");
	buf_free(&message);
	end(&s);
}

/* Byte by byte: the client waits for each, so none comes with another. */
static void *
dribble(void *context)
{
	struct session *s = context;
	const char *text =
	    "+OK\r\n.\r.\r\n..\r\n.a\r\r\n\n.\r\n.\r\n-ERR x\r\n";

	for (size_t i = 0; text[i] != '\0'; i++)
		if (send(s->peer, text + i, 1, MSG_NOSIGNAL) != 1)
			break;
	return NULL;
}

static void
test_dribbled_body(void)
{
	struct buf message = {0};
	struct client_body body = {.sink = into_buf, .context = &message};
	struct session s;
	pthread_t thread;

	begin(&s);
	client_queue_message(s.client, CMD_RETR, 1, 0);
	client_queue_message(s.client, CMD_RETR, 2, 0);
	pthread_create(&thread, NULL, dribble, &s);
	tap_ok(reply(&s) == 0 && client_body(s.client, &body, &s.err) == 0 &&
		holds(&message, "\r.\n.\na\r\n\n.\n") && body.octets == 15,
	    "a body that dribbles in");
	tap_ok(reply(&s) == 0 && !s.reply.ok, "and what follows it");
	pthread_join(thread, NULL);
	buf_free(&message);
	end(&s);
}

static void
test_sink_fails(void)
{
	struct client_body body = {.sink = into_full_disk};
	int calls = 0;
	struct session s;

	body.context = &calls;
	begin(&s);
	client_queue_message(s.client, CMD_RETR, 1, 0);
	queue(&s, CMD_STAT, NULL);
	say(&s, "+OK\r\na\r\nb\r");
	tap_ok(reply(&s) == 0, "a message that finds no room");
	say(&s, "\r\nc\r\n.\r\n+OK 1 2\r\n");
	tap_ok(client_body(s.client, &body, &s.err) == -1 && body.in_step &&
		s.err.class == ERR_IO,
	    "fails, but the session is in step");
	tap_ok(calls == 1, "the sink was not asked again");
	tap_ok(body.octets == 10, "all of it was received");
	tap_ok(reply(&s) == 0 && s.reply.command == CMD_STAT && s.reply.ok,
	    "the next reply is the next reply");
	client_queue_message(s.client, CMD_RETR, 2, 0);
	say(&s, "+OK\r\na\r\n");
	reply(&s);
	shutdown(s.peer, SHUT_WR);
	tap_ok(client_body(s.client, &body, &s.err) == -1 && !body.in_step &&
		s.err.class == ERR_IO,
	    "when the connection goes as well, the first failure counts");
	end(&s);
}

static void
test_body_fails(void)
{
	struct buf message = {0};
	struct client_body body = {.sink = into_buf, .context = &message};
	struct session s;

	begin(&s);
	client_queue_message(s.client, CMD_RETR, 1, 0);
	say(&s, "+OK\r\nhalf a mess");
	reply(&s);
	shutdown(s.peer, SHUT_WR);
	tap_ok(client_body(s.client, &body, &s.err) == -1 && !body.in_step &&
		s.err.class == ERR_TEMPFAIL,
	    "a message that is cut short is no message");
	end(&s);
	begin_with(&s, 50);
	client_queue_message(s.client, CMD_RETR, 1, 0);
	say(&s, "+OK\r\nhalf a message\r\n.");
	reply(&s);
	tap_ok(client_body(s.client, &body, &s.err) == -1 && !body.in_step &&
		s.err.class == ERR_TEMPFAIL,
	    "nor one that stops");
	end(&s);
	buf_free(&message);
}

static void
test_limit(void)
{
	struct buf message = {0};
	struct client_body body = {
	    .sink = into_buf, .context = &message, .limit = 10};
	struct session s;

	begin(&s);
	client_queue_message(s.client, CMD_RETR, 1, 0);
	say(&s, "+OK\r\n..2345678\r\n.\r\n");
	tap_ok(reply(&s) == 0 && client_body(s.client, &body, &s.err) == 0 &&
		body.octets == 10,
	    "a message as large as the limit");
	message.len = 0;
	client_queue_message(s.client, CMD_RETR, 2, 0);
	say(&s, "+OK\r\n123456789\r\n.\r\n");
	tap_ok(reply(&s) == 0 && client_body(s.client, &body, &s.err) == -1 &&
		!body.in_step && s.err.class == ERR_TEMPFAIL,
	    "one octet more");
	tap_is(s.err.text, "the message is larger than 10 octets", "is said");
	tap_ok(message.len <= 10, "and not given to the sink");
	buf_free(&message);
	end(&s);
}

static void
test_listing(void)
{
	static const char *const lines[] = {
	    "1 a", ".2 b", "", "3  \xff c ", "."};
	struct session s;
	const char *line;
	size_t n;
	bool right = true;

	begin(&s);
	queue(&s, CMD_UIDL, NULL);
	queue(&s, CMD_LIST, NULL);
	queue(&s, CMD_LIST, "1");
	client_queue_message(s.client, CMD_UIDL, 1, 0);
	say(&s,
	    "+OK\r\n1 a\r\n..2 b\r\n\r\n3  \xff c \r\n..\r\n.\r\n+OK\r\n.\r\n"
	    "+OK 1 2\r\n+OK 1 a\r\n");
	tap_ok(reply(&s) == 0 && s.reply.ok, "a listing comes");
	for (int i = 0; i < 5; i++)
		right = client_next_line(s.client, &line, &n, &s.err) == 1 &&
		    n == strlen(lines[i]) && memcmp(line, lines[i], n) == 0 &&
		    right;
	tap_ok(right, "line by line");
	tap_ok(reply(&s) == -1 && s.err.class == ERR_SOFTWARE,
	    "it is not over yet");
	tap_ok(
	    client_next_line(s.client, &line, &n, &s.err) == 0, "then it is");
	tap_ok(client_next_line(s.client, &line, &n, &s.err) == -1 &&
		s.err.class == ERR_SOFTWARE,
	    "for good");
	tap_ok(reply(&s) == 0 &&
		client_next_line(s.client, &line, &n, &s.err) == 0,
	    "an empty one");
	tap_ok(reply(&s) == 0 && s.reply.ok && s.reply.text_len == 3 &&
		reply(&s) == 0 && s.reply.ok && s.reply.number == 1,
	    "about one message it is a reply");
	end(&s);
}

static void
test_capa(void)
{
	struct capabilities capa;
	struct session s;

	begin(&s);
	say(&s,
	    "+OK\r\nTOP\r\nuidl\r\nSASL PLAIN\r\nIMPLEMENTATION of\r\n"
	    "X-NEW thing\r\n.\r\n");
	tap_ok(client_capa(s.client, &capa, &s.err) == 0 && capa.known &&
		capa.top && capa.uidl && !capa.stls &&
		strcmp(capa.sasl, "PLAIN") == 0 &&
		strcmp(capa.implementation, "of") == 0,
	    "capabilities");
	tap_is(sent(&s), "CAPA\r\n", "asked for");
	say(&s, "-ERR what?\r\n");
	tap_ok(client_capa(s.client, &capa, &s.err) == 0 && !capa.known &&
		!capa.top && capa.expire_days == -1,
	    "a server that has none");
	say(&s, "+OK\r\nTOP\r\n");
	shutdown(s.peer, SHUT_WR);
	tap_ok(client_capa(s.client, &capa, &s.err) == -1 && !capa.known &&
		s.err.class == ERR_TEMPFAIL,
	    "one that goes in the midst of it");
	end(&s);
	begin(&s);
	queue(&s, CMD_STAT, NULL);
	tap_ok(client_capa(s.client, &capa, &s.err) == -1 &&
		s.err.class == ERR_SOFTWARE,
	    "not out of turn");
	end(&s);
}

/* A status line and then lines without an end, until nobody listens. */
static void *
run_on(void *context)
{
	struct session *s = context;
	char lines[5000];

	for (size_t i = 0; i < sizeof(lines); i++)
		lines[i] = "1 abcdef\r\n"[i % 10];
	send(s->peer, "+OK\r\n", 5, MSG_NOSIGNAL);
	while (send(s->peer, lines, sizeof(lines), MSG_NOSIGNAL) > 0)
		s->ran_on += sizeof(lines);
	return NULL;
}

static void
test_endless_capa(void)
{
	struct capabilities capa;
	struct session s;
	pthread_t thread;
	bool failed;

	begin(&s);
	pthread_create(&thread, NULL, run_on, &s);
	failed = client_capa(s.client, &capa, &s.err) == -1;
	tap_ok(failed && s.err.class == ERR_PROTOCOL && !capa.known,
	    "an answer to CAPA without an end");
	shutdown(s.peer, SHUT_RDWR);
	pthread_join(thread, NULL);
	tap_ok(s.ran_on < 4 * 1024 * 1024, "is left soon");
	end(&s);
}

#define DRIP_TIMEOUT 400
#define DRIPS 80

/* Enough for a listing in each timeout, for twice the timeout in all. */
static void *
drip(void *context)
{
	struct session *s = context;
	struct pollfd peer = {.fd = s->peer, .events = 0};
	char lines[5000];

	for (size_t i = 0; i < sizeof(lines); i++)
		lines[i] = "1 abcdef\r\n"[i % 10];
	send(s->peer, "+OK\r\n", 5, MSG_NOSIGNAL);
	for (int i = 0; i < DRIPS; i++) {
		if (send(s->peer, lines, sizeof(lines), MSG_NOSIGNAL) == -1 ||
		    poll(&peer, 1, 2 * DRIP_TIMEOUT / DRIPS) > 0)
			return NULL;
	}
	send(s->peer, ".\r\n", 3, MSG_NOSIGNAL);
	return NULL;
}

static void
test_deadlines(void)
{
	struct capabilities capa;
	struct session s;
	pthread_t thread;
	const char *line;
	size_t n, lines = 0;
	int more;

	begin_with(&s, DRIP_TIMEOUT);
	pthread_create(&thread, NULL, drip, &s);
	more = client_capa(s.client, &capa, &s.err);
	tap_ok(more == -1 && s.err.class == ERR_TEMPFAIL,
	    "CAPA has one deadline for all of its answer");
	shutdown(s.peer, SHUT_RDWR);
	pthread_join(thread, NULL);
	end(&s);
	begin_with(&s, DRIP_TIMEOUT);
	queue(&s, CMD_UIDL, NULL);
	pthread_create(&thread, NULL, drip, &s);
	more = reply(&s) == 0;
	while (more == 1) {
		more = client_next_line(s.client, &line, &n, &s.err);
		lines += more == 1;
	}
	tap_ok(more == 0 && lines == DRIPS * 500,
	    "a listing may take as long as it brings enough");
	pthread_join(thread, NULL);
	end(&s);
}

static void
test_unasked(void)
{
	struct session s;

	begin(&s);
	tap_ok(!client_unasked_input(s.client), "nothing has come");
	say(&s, "+OK hello\r\n");
	tap_ok(client_unasked_input(s.client), "nobody asked for this");
	queue(&s, CMD_GREETING, NULL);
	reply(&s);
	tap_ok(!client_unasked_input(s.client), "it is used up");
	client_window(s.client, 2, UINT64_MAX);
	queue(&s, CMD_STAT, NULL);
	queue(&s, CMD_UIDL, NULL);
	say(&s, "+OK 0 0\r\n+OK\r\n.\r\n");
	reply(&s);
	tap_ok(!client_unasked_input(s.client), "one in flight was asked for");
	reply(&s);
	tap_ok(!client_unasked_input(s.client), "so were the lines");
	end(&s);
}

static void
test_trace(void)
{
	struct buf trace = {0}, message = {0};
	struct client_body body = {.sink = into_buf, .context = &message};
	struct session s;

	log_open(LOG_AT_DEBUG, trace_to_buf, &trace);
	log_mask("hunter22", 8);
	begin(&s);
	client_window(s.client, 100, UINT64_MAX);
	queue(&s, CMD_GREETING, NULL);
	queue(&s, CMD_USER, "al\\ice");
	queue(&s, CMD_PASS, "two words");
	queue(&s, CMD_APOP, "al ice 0123456789abcdef");
	queue(&s, CMD_USER, "hunter22");
	client_queue_message(s.client, CMD_RETR, 3, 0);
	queue(&s, CMD_STAT, NULL);
	say(&s,
	    "+OK ready\r\n+OK\r\n-ERR bad hunter22 aHVudGVyMjI=\r\n"
	    "+ERR \x9b\r\n-ERR\r\n+OK 3 octets\r\na\r\n.\r\nhunter22\r\n");
	for (int i = 0; i < 3; i++)
		reply(&s);
	tap_is(s.reply.printable, "bad **** ****", "secrets are masked");
	for (int i = 0; i < 3; i++)
		reply(&s);
	client_body(s.client, &body, &s.err);
	tap_ok(reply(&s) == -1 && strstr(s.err.text, "****") != NULL &&
		strstr(s.err.text, "hunter") == NULL,
	    "in errors too");
	tap_is(buf_string(&trace),
	    "> USER al\\\\ice\n> PASS ****\n> APOP al ice ****\n"
	    "> USER ****\n> RETR 3\n> STAT\n< +OK ready\n< +OK\n"
	    "< -ERR bad **** ****\n< +ERR \\x9b\n< -ERR\n< +OK 3 octets\n"
	    "< (3 octets)\n< ****\n",
	    "the trace");
	log_open(LOG_AT_WARNING, NULL, NULL);
	log_forget();
	buf_free(&trace);
	buf_free(&message);
	end(&s);
}

static void
test_traced_listing(void)
{
	struct buf trace = {0};
	struct capabilities capa;
	struct session s;
	size_t lines = 0;

	begin(&s);
	say(&s, "+OK\r\nTOP\r\nIMPLEMENTATION a TOP secret\r\n");
	for (int i = 0; i < 40; i++)
		say(&s, "X \x1b\r\n");
	say(&s, ".\r\n");
	log_open(LOG_AT_DEBUG, trace_to_buf, &trace);
	log_mask("TOP", 3);
	tap_ok(client_capa(s.client, &capa, &s.err) == 0 && capa.top,
	    "a password that is a capability");
	tap_is(
	    capa.implementation, "a *** secret", "is masked where it is shown");
	for (size_t i = 0; i < trace.len; i++)
		lines += trace.data[i] == '\n';
	tap_ok(lines == 2 + 20 + 1 &&
		strstr(buf_string(&trace), "\\x1b\n< ...\n") != NULL,
	    "not all lines of a listing are traced");
	tap_ok(strchr(trace.data, '\x1b') == NULL, "and none is raw");
	log_open(LOG_AT_WARNING, NULL, NULL);
	log_forget();
	buf_free(&trace);
	end(&s);
}

#define MESSAGES 300
#define WINDOW 10

struct server {
	int peer;
	size_t batches;
	size_t most;   /* commands in one */
	size_t fewest; /* of any but the first and the last */
	uint32_t served;
};

/* Message number i: a large one now and then, lines that begin with dots. */
static void
write_message(uint32_t number, const char *dot, const char *lf, struct buf *to)
{
	uint32_t lines = number % 50 == 0 ? 20000 : number % 7;

	for (uint32_t i = 0; i < lines; i++)
		buf_printf(
		    to, "%s%u of %u%s", i % 3 == 0 ? dot : "", i, number, lf);
}

static bool
serve(struct server *server, const char *commands)
{
	struct buf out = {0};
	size_t n = 0, at = 0;

	for (; sscanf(commands, "RETR %u", &server->served) == 1; n++) {
		buf_puts(&out, "+OK\r\n");
		write_message(server->served, "..", "\r\n", &out);
		buf_puts(&out, ".\r\n");
		commands = strchr(commands, '\n') + 1;
	}
	server->most = n > server->most ? n : server->most;
	if (server->batches++ > 0 && server->served < MESSAGES &&
	    n < server->fewest)
		server->fewest = n;
	while (at < out.len) {
		ssize_t r = send(
		    server->peer, out.data + at, out.len - at, MSG_NOSIGNAL);

		if (r == -1)
			break;
		at += (size_t)r;
	}
	buf_free(&out);
	return n > 0 && commands[0] == '\0';
}

static void *
run_server(void *context)
{
	struct server *server = context;
	char commands[4096];
	ssize_t n;

	while (server->served < MESSAGES) {
		n = recv(server->peer, commands, sizeof(commands) - 1, 0);
		if (n <= 0)
			break;
		commands[n] = '\0';
		if (!serve(server, commands))
			break;
	}
	return NULL;
}

static void
test_pipeline(void)
{
	struct server server = {.fewest = SIZE_MAX};
	struct buf message = {0}, expected = {0};
	struct client_body body = {.sink = into_buf, .context = &message};
	struct session s;
	pthread_t thread;
	uint32_t i;

	begin(&s);
	client_window(s.client, WINDOW, UINT64_MAX);
	server.peer = s.peer;
	pthread_create(&thread, NULL, run_server, &server);
	for (i = 1; i <= MESSAGES; i++)
		client_queue_message(s.client, CMD_RETR, i, 0);
	for (i = 1; i <= MESSAGES; i++) {
		message.len = expected.len = 0;
		write_message(i, ".", "\n", &expected);
		if (reply(&s) == -1 || s.reply.number != i ||
		    client_body(s.client, &body, &s.err) == -1 ||
		    !holds(&message, buf_string(&expected)))
			break;
	}
	tap_ok(i == MESSAGES + 1, "%d messages through a window of %d",
	    MESSAGES, WINDOW);
	shutdown(s.peer, SHUT_RDWR);
	pthread_join(thread, NULL);
	tap_ok(server.most == WINDOW, "full at most: %zu", server.most);
	tap_ok(server.fewest >= WINDOW / 2, "half full at least: %zu",
	    server.fewest);
	buf_free(&message);
	buf_free(&expected);
	end(&s);
}

int
main(void)
{
	test_commands();
	test_line_ends();
	test_reply();
	test_no_reply();
	test_long_reply();
	test_depth_one();
	test_batches();
	test_octets();
	test_fitting_window();
	test_growth();
	test_drop();
	test_body();
	test_dribbled_body();
	test_sink_fails();
	test_body_fails();
	test_limit();
	test_listing();
	test_capa();
	test_endless_capa();
	test_deadlines();
	test_unasked();
	test_trace();
	test_traced_listing();
	test_pipeline();
	return tap_done();
}
