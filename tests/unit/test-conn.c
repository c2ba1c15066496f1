/* SPDX-License-Identifier: ISC */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>

#include "base/digest.h"
#include "base/wait.h"
#include "peer.h"
#include "tap.h"
#include "wire/conn.h"

#define PATIENCE 10000 /* ms; no test should need it */
#define SHORT 60       /* ms; where the end of a wait is tested */
#define MEBIBYTE (1024 * 1024)
#define HOST "mail.example.org"

static struct peer_cert cert;
static char cert_file[256];

/* A connection whose other end is ours too. */
struct pair {
	struct conn *conn;
	int far;
	struct err err;
};

static void
pair_open(struct pair *pair, int64_t timeout, int64_t end)
{
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == -1)
		err(1, "socketpair");
	pair->conn = conn_open(ends[0], timeout, end);
	pair->far = ends[1];
	pair->err = (struct err){0};
}

static void
pair_close(struct pair *pair)
{
	conn_close(pair->conn);
	if (pair->far != -1)
		close(pair->far);
}

static void
far_says(struct pair *pair, const char *text)
{
	if (write(pair->far, text, strlen(text)) == -1)
		err(1, "write");
}

static void
far_hangs_up(struct pair *pair)
{
	close(pair->far);
	pair->far = -1;
}

static bool
line_is(struct pair *pair, const char *expected)
{
	const char *line;
	size_t n;

	if (conn_line(pair->conn, &line, &n, &pair->err) == -1) {
		printf("# %s\n", pair->err.text);
		return false;
	}
	return n == strlen(expected) && memcmp(line, expected, n) == 0;
}

static bool
fails(struct pair *pair, enum err_class class, const char *text)
{
	const char *line;
	size_t n;

	if (conn_line(pair->conn, &line, &n, &pair->err) == 0)
		return false;
	printf("# %s\n", pair->err.text);
	return pair->err.class == class && strstr(pair->err.text, text) != NULL;
}

static void
test_lines(void)
{
	static const char text[] = "+OK one\r\ntwo\n\r\nth\rree\r\r\n";
	struct pair pair;
	char piece[2] = "";

	pair_open(&pair, PATIENCE, WAIT_FOREVER);
	far_says(&pair, text);
	tap_ok(line_is(&pair, "+OK one") && line_is(&pair, "two") &&
		line_is(&pair, "") && line_is(&pair, "th\rree\r"),
	    "lines that come at once");

	conn_expect(pair.conn, 0);
	for (const char *s = text; *s != '\0'; s++) {
		piece[0] = *s;
		far_says(&pair, piece);
		/* Looking makes it be received before the rest is here. */
		conn_has_input(pair.conn);
		if (s == text + 8)
			tap_ok(line_is(&pair, "+OK one"), "... octet by octet");
	}
	tap_ok(line_is(&pair, "two") && line_is(&pair, "") &&
		line_is(&pair, "th\rree\r"),
	    "... up to the last");
	tap_ok(!conn_has_input(pair.conn), "and nothing is left");
	far_says(&pair, "part");
	far_hangs_up(&pair);
	tap_ok(fails(&pair, ERR_TEMPFAIL, "closed the connection"),
	    "half a line is none");
	tap_ok(fails(&pair, ERR_TEMPFAIL, "closed the connection"),
	    "what is broken stays broken");
	pair_close(&pair);
}

/* A line whose two parts come one by one, for each way to part it. */
static void
test_split(void)
{
	static const char text[] = "one\r\ntwo\r\n";
	struct pair pair;
	char head[sizeof(text)];
	bool good = true;

	pair_open(&pair, PATIENCE, WAIT_FOREVER);
	for (size_t i = 0; i <= strlen(text); i++) {
		memcpy(head, text, i);
		head[i] = '\0';
		far_says(&pair, head);
		if (i >= 5)
			good = good && line_is(&pair, "one");
		conn_has_input(pair.conn);
		conn_expect(pair.conn, 0);
		far_says(&pair, text + i);
		if (i < 5)
			good = good && line_is(&pair, "one");
		good = good && line_is(&pair, "two");
	}
	tap_ok(good, "lines split anywhere");
	pair_close(&pair);
}

/* Far more than the buffer holds, so that it wraps at many places. */
static void
serve_lines(gnutls_session_t session, int fd)
{
	static char line[3002];

	(void)session;
	memset(line, 'x', sizeof(line));
	for (size_t i = 0; i < 3000; i++) {
		line[i] = '\r';
		line[i + 1] = '\n';
		if (send(fd, line, i + 2, MSG_NOSIGNAL) == -1)
			_exit(1);
		memset(line, 'x', sizeof(line));
	}
}

static void
test_many_lines(void)
{
	struct peer peer = peer_start(serve_lines);
	struct conn *conn = conn_open(peer.fd, PATIENCE, WAIT_FOREVER);
	struct err err;
	const char *line;
	size_t n, i;

	for (i = 0; i < 3000; i++)
		if (conn_line(conn, &line, &n, &err) == -1 || n != i ||
		    (n > 0 && (line[0] != 'x' || line[n - 1] != 'x')))
			break;
	tap_ok(i == 3000, "megabytes of lines, none torn");
	conn_close(conn);
	peer_end(&peer);
}

static void
far_says_many(struct pair *pair, size_t n)
{
	char x[1024];

	memset(x, 'x', sizeof(x));
	for (size_t part; n > 0; n -= part) {
		part = n < sizeof(x) ? n : sizeof(x);
		if (write(pair->far, x, part) != (ssize_t)part)
			err(1, "write");
		conn_has_input(pair->conn);
	}
}

static void
test_long_lines(void)
{
	struct pair pair;
	const char *line;
	size_t n = 0;

	pair_open(&pair, PATIENCE, WAIT_FOREVER);
	far_says_many(&pair, CONN_LINE_MAX);
	far_says(&pair, "\r\n");
	tap_ok(conn_line(pair.conn, &line, &n, &pair.err) == 0 &&
		n == CONN_LINE_MAX,
	    "the longest line");
	far_says_many(&pair, CONN_LINE_MAX + 1);
	far_says(&pair, "\r\n");
	tap_ok(fails(&pair, ERR_PROTOCOL, "more than 65536 octets"),
	    "one octet more is too many");
	pair_close(&pair);
	pair_open(&pair, PATIENCE, WAIT_FOREVER);
	far_says_many(&pair, CONN_LINE_MAX + 2);
	tap_ok(fails(&pair, ERR_PROTOCOL, "more than 65536 octets"),
	    "a line that never ends");
	pair_close(&pair);
}

static void
test_chunks(void)
{
	struct pair pair;
	char *data;
	size_t n;

	pair_open(&pair, PATIENCE, WAIT_FOREVER);
	far_says(&pair, "line\r\nbody");
	tap_ok(line_is(&pair, "line"), "a line before");
	tap_ok(conn_has_input(pair.conn), "there is more");
	tap_ok(conn_chunk(pair.conn, &data, &n, &pair.err) == 0 && n == 4 &&
		memcmp(data, "body", 4) == 0,
	    "the rest as a chunk");
	data[0] = 'B';
	conn_consume(pair.conn, 3);
	tap_ok(conn_chunk(pair.conn, &data, &n, &pair.err) == 0 && n == 1 &&
		data[0] == 'y',
	    "what was not consumed comes again");
	far_says(&pair, "\r\nnext\r\n");
	tap_ok(line_is(&pair, "y") && line_is(&pair, "next"),
	    "and may be read as a line");
	far_hangs_up(&pair);
	tap_ok(conn_chunk(pair.conn, &data, &n, &pair.err) == -1 &&
		pair.err.class == ERR_TEMPFAIL,
	    "no chunk at the end");
	pair_close(&pair);
}

static void
serve_dribble(gnutls_session_t session, int fd)
{
	struct pollfd never = {.fd = -1};

	(void)session;
	for (;;) {
		if (send(fd, "x", 1, MSG_NOSIGNAL) == -1)
			_exit(0);
		poll(&never, 1, 5);
	}
}

static void
test_deadlines(void)
{
	struct pair pair;
	struct peer peer;
	int64_t before = wait_clock();

	pair_open(&pair, SHORT, WAIT_FOREVER);
	tap_ok(fails(&pair, ERR_TEMPFAIL, "no answer for 60 milliseconds"),
	    "silence");
	tap_ok(wait_clock() - before >= SHORT, "... for the whole time");
	pair_close(&pair);

	pair_open(&pair, 0, wait_clock() + SHORT);
	tap_ok(fails(&pair, ERR_TEMPFAIL, "the whole session"),
	    "the end of the session, without a timeout");
	pair_close(&pair);

	pair_open(&pair, PATIENCE, WAIT_FOREVER);
	conn_limit(pair.conn, 2 * PATIENCE);
	conn_limit(pair.conn, SHORT);
	conn_limit(pair.conn, PATIENCE);
	tap_ok(fails(&pair, ERR_TEMPFAIL, "the whole session"),
	    "a limit is never made longer");
	tap_ok(wait_clock() - before < PATIENCE, "... nor overlooked");
	pair_close(&pair);

	peer = peer_start(serve_dribble);
	pair.conn = conn_open(peer.fd, SHORT, WAIT_FOREVER);
	pair.far = -1;
	tap_ok(fails(&pair, ERR_TEMPFAIL, "no complete answer in 60 milli"),
	    "a line that dribbles in");
	pair_close(&pair);
	peer_end(&peer);
}

/* Each time span octets have come in, the deadline moves. */
static void
test_span(void)
{
	struct peer peer = peer_start(serve_dribble);
	struct conn *conn = conn_open(peer.fd, 200, WAIT_FOREVER);
	int64_t before = wait_clock();
	struct err err;
	char *data;
	size_t n, total = 0;

	conn_expect(conn, 4);
	while (wait_clock() - before < 600 &&
	    conn_chunk(conn, &data, &n, &err) == 0) {
		conn_consume(conn, n);
		total += n;
	}
	tap_ok(wait_clock() - before >= 600 && total > 0,
	    "a body that moves on lives longer than one timeout");
	conn_expect(conn, 100000);
	while (conn_chunk(conn, &data, &n, &err) == 0)
		conn_consume(conn, n);
	tap_ok(strcmp(err.text,
		   "less than 100000 octets from the server in "
		   "200 milliseconds") == 0,
	    "one that is too slow does not: %s", err.text);
	conn_close(conn);
	peer_end(&peer);
}

static bool
send_all(gnutls_session_t session, int fd, const char *data, size_t n)
{
	ssize_t sent;

	for (; n > 0; data += sent, n -= (size_t)sent) {
		sent = session != NULL ? gnutls_record_send(session, data, n)
				       : send(fd, data, n, MSG_NOSIGNAL);
		if (sent <= 0)
			return false;
	}
	return true;
}

static ssize_t
take(gnutls_session_t session, int fd, char *data, size_t n)
{
	return session != NULL ? gnutls_record_recv(session, data, n)
			       : recv(fd, data, n, 0);
}

/* Writes all before it reads anything, then says how much it read. */
static void
serve_stubborn(gnutls_session_t session, int fd)
{
	static char data[MEBIBYTE];
	size_t total = 0;
	ssize_t n;

	memset(data, 'x', sizeof(data));
	if (!send_all(session, fd, data, sizeof(data)))
		_exit(1);
	while (total < sizeof(data)) {
		n = take(session, fd, data + total, sizeof(data) - total);
		if (n <= 0)
			_exit(2);
		total += (size_t)n;
	}
	for (size_t i = 0; i < sizeof(data); i++)
		if (data[i] != (char)('a' + i % 26))
			_exit(3);
	if (!send_all(session, fd, "+\r\n", 3))
		_exit(4);
}

static void
talk_to_stubborn(struct conn *conn, const char *name)
{
	char *data = malloc(MEBIBYTE), *chunk;
	size_t total = 0, n, cut;
	struct err err = {0};
	const char *line;

	for (size_t i = 0; i < MEBIBYTE; i++)
		data[i] = (char)('a' + i % 26);
	/* In two parts: the second joins what is half sent. */
	conn_send(conn, data, MEBIBYTE / 2);
	while (total < MEBIBYTE) {
		if (conn_chunk(conn, &chunk, &n, &err) == -1)
			break;
		if (total == 0)
			conn_send(conn, data + MEBIBYTE / 2, MEBIBYTE / 2);
		cut = n < MEBIBYTE - total ? n : MEBIBYTE - total;
		conn_consume(conn, cut);
		total += cut;
	}
	tap_ok(total == MEBIBYTE, "%s: all comes in while all goes out: %s",
	    name, err.text);
	tap_ok(conn_line(conn, &line, &n, &err) == 0 && n == 1,
	    "%s: and all has gone out: %s", name, err.text);
	free(data);
}

static void
test_both_ways(void)
{
	struct peer peer = peer_start(serve_stubborn);
	struct conn *conn = conn_open(peer.fd, PATIENCE, WAIT_FOREVER);

	talk_to_stubborn(conn, "plain");
	conn_close(conn);
	tap_ok(peer_end(&peer) == 0, "plain: nothing was torn");
}

static void
serve_reader(gnutls_session_t session, int fd)
{
	static char data[65536];
	size_t total = 0;
	ssize_t n;

	/* First more than the system buffers, so that who sends must read. */
	(void)session;
	memset(data, 'x', sizeof(data));
	if (!send_all(NULL, fd, data, sizeof(data)) ||
	    !send_all(NULL, fd, data, sizeof(data)) ||
	    !send_all(NULL, fd, data, sizeof(data)))
		_exit(1);
	while (total < MEBIBYTE) {
		n = recv(fd, data, sizeof(data), 0);
		if (n <= 0)
			_exit(2);
		total += (size_t)n;
	}
}

/* What is queued goes out in each wait for input. */
static void
test_send(void)
{
	struct peer peer = peer_start(serve_reader);
	struct pair pair = {
	    .conn = conn_open(peer.fd, PATIENCE, WAIT_FOREVER), .far = -1};
	char *data = calloc(1, MEBIBYTE), *chunk, got[16];
	size_t n, total = 0;
	int small = 4096;

	setsockopt(peer.fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	conn_send(pair.conn, data, MEBIBYTE);
	while (conn_chunk(pair.conn, &chunk, &n, &pair.err) == 0) {
		conn_consume(pair.conn, n);
		total += n;
	}
	tap_ok(total > 0, "input comes from who writes before it reads");
	conn_close(pair.conn);
	tap_ok(peer_end(&peer) == 0, "and all output arrived");

	pair_open(&pair, PATIENCE, WAIT_FOREVER);
	conn_send(pair.conn, "QUIT\r\n", 6);
	tap_ok(recv(pair.far, got, sizeof(got), MSG_DONTWAIT) == -1,
	    "what is queued waits");
	conn_push(pair.conn);
	tap_ok(recv(pair.far, got, sizeof(got), MSG_DONTWAIT) == 6,
	    "until it is pushed");
	conn_send(pair.conn, "QUIT\r\n", 6);
	far_says(&pair, "-ERR bye\r\n");
	far_hangs_up(&pair);
	tap_ok(line_is(&pair, "-ERR bye"),
	    "last words are read although nothing can be sent");
	tap_ok(fails(&pair, ERR_TEMPFAIL, "the"), "then it is over");
	pair_close(&pair);

	pair_open(&pair, SHORT, WAIT_FOREVER);
	conn_send(pair.conn, data, MEBIBYTE);
	tap_ok(fails(&pair, ERR_TEMPFAIL, "no answer"),
	    "sending has a deadline: %s", pair.err.text);
	pair_close(&pair);
	free(data);
}

static struct tls_params
trusting(void)
{
	return (struct tls_params){
	    .host = HOST, .trust_file = cert_file, .certcheck = true};
}

static void
test_early_bytes(void)
{
	struct tls_params params = trusting();
	struct pair pair;

	for (int looked = 0; looked < 2; looked++) {
		pair_open(&pair, PATIENCE, WAIT_FOREVER);
		far_says(&pair, "+OK begin TLS\r\n");
		tap_ok(line_is(&pair, "+OK begin TLS"), "answer to STLS");
		far_says(&pair, "+OK injected\r\n");
		if (looked)
			conn_has_input(pair.conn);
		tap_ok(conn_start_tls(pair.conn, &params, &pair.err) == -1 &&
			pair.err.class == ERR_PROTOCOL &&
			strstr(pair.err.text,
			    "bytes arrived before the TLS handshake") != NULL,
		    "early bytes, %s: %s", looked ? "received" : "waiting",
		    pair.err.text);
		pair_close(&pair);
	}
	pair_open(&pair, PATIENCE, WAIT_FOREVER);
	far_says(&pair, "+OK hello\r\n");
	tap_ok(conn_start_tls(pair.conn, &params, &pair.err) == -1 &&
		strstr(pair.err.text, "plain text") != NULL,
	    "a greeting in the clear is no attack: %s", pair.err.text);
	pair_close(&pair);
}

/* As after STLS: one line in the clear, then TLS. */
static void
serve_starttls(gnutls_session_t session, int fd)
{
	char line[16];

	(void)session;
	if (!send_all(NULL, fd, "+OK\r\n", 5) ||
	    recv(fd, line, sizeof(line), 0) != 6 ||
	    !send_all(NULL, fd, "+OK\r\n", 5))
		_exit(1);
	serve_stubborn(peer_accept(fd, &cert, NULL), fd);
}

static void
test_starttls(void)
{
	struct tls_params params = trusting();
	struct peer peer = peer_start(serve_starttls);
	struct pair pair = {
	    .conn = conn_open(peer.fd, PATIENCE, WAIT_FOREVER), .far = -1};

	tap_ok(line_is(&pair, "+OK"), "greeting");
	conn_send(pair.conn, "STLS\r\n", 6);
	tap_ok(conn_start_tls(pair.conn, &params, &pair.err) == -1 &&
		pair.err.class == ERR_SOFTWARE,
	    "not while something is queued");
	tap_ok(line_is(&pair, "+OK"), "answer to STLS");
	tap_ok(conn_tls(pair.conn) == NULL, "no TLS yet");
	if (tap_ok(conn_start_tls(pair.conn, &params, &pair.err) == 0,
		"handshake: %s", pair.err.text)) {
		tap_ok(conn_tls(pair.conn) != NULL, "TLS now");
		talk_to_stubborn(pair.conn, "TLS");
	}
	pair_close(&pair);
	tap_ok(peer_end(&peer) == 0, "TLS: nothing was torn");
}

static void
serve_line_and_bye(gnutls_session_t session, int fd)
{
	send_all(session, fd, "+OK\r\n", 5);
	gnutls_bye(session, GNUTLS_SHUT_WR);
}

static void
serve_line_and_cut(gnutls_session_t session, int fd)
{
	send_all(session, fd, "+OK\r\n", 5);
}

static void
serve_tls_silence(gnutls_session_t session, int fd)
{
	char byte;

	send_all(session, fd, "+OK\r\n", 5);
	take(session, fd, &byte, 1);
}

static void
tls_end(peer_serve *serve, int64_t timeout, const char *text)
{
	struct tls_params params = trusting();
	struct peer peer = peer_start_tls(&cert, NULL, serve);
	struct pair pair = {
	    .conn = conn_open(peer.fd, PATIENCE, WAIT_FOREVER), .far = -1};

	if (tap_ok(conn_start_tls(pair.conn, &params, &pair.err) == 0,
		"implicit TLS: %s", pair.err.text)) {
		tap_ok(line_is(&pair, "+OK"), "greeting");
		tap_ok(!conn_has_input(pair.conn), "nothing behind it");
		conn_limit(pair.conn, timeout);
		tap_ok(fails(&pair, ERR_TEMPFAIL, text), "end: %s", text);
	}
	pair_close(&pair);
	peer_end(&peer);
}

static void
test_silent_handshake(void)
{
	struct tls_params params = trusting();
	struct pair pair;

	pair_open(&pair, SHORT, WAIT_FOREVER);
	tap_ok(conn_start_tls(pair.conn, &params, &pair.err) == -1 &&
		pair.err.class == ERR_TEMPFAIL,
	    "a handshake has a deadline: %s", pair.err.text);
	pair_close(&pair);
}

/* The descriptor is closed, once: another one in its place stays open. */
static void
test_close(void)
{
	struct pair pair;
	int fd;

	pair_open(&pair, PATIENCE, WAIT_FOREVER);
	conn_close(pair.conn);
	tap_ok(read(pair.far, &fd, sizeof(fd)) == 0, "closed");
	fd = dup(pair.far);
	conn_close(NULL);
	tap_ok(fcntl(fd, F_GETFD) != -1, "only once");
	close(fd);
	close(pair.far);
}

/* A key update and a line in one go: the first wakes nobody, and nothing
 * comes after the second that would. */
static void
serve_key_update(gnutls_session_t session, int fd)
{
	char line[16];

	if (take(session, fd, line, sizeof(line)) != 6)
		_exit(1);
	gnutls_session_key_update(session, 0);
	send_all(session, fd, "+OK\r\n", 5);
	take(session, fd, line, sizeof(line));
}

static void
test_key_update(void)
{
	struct tls_params params = trusting();
	struct peer peer = peer_start_tls(&cert, NULL, serve_key_update);
	struct pair pair = {
	    .conn = conn_open(peer.fd, PATIENCE, WAIT_FOREVER), .far = -1};
	int64_t before = wait_clock();
	int waiting = 0;

	if (conn_start_tls(pair.conn, &params, &pair.err) == 0) {
		while (conn_has_input(pair.conn))
			;
		conn_send(pair.conn, "NOOP\r\n", 6);
		conn_push(pair.conn);
		while (waiting < 40 && wait_clock() - before < PATIENCE)
			ioctl(peer.fd, FIONREAD, &waiting);
	}
	before = wait_clock();
	tap_ok(line_is(&pair, "+OK") && wait_clock() - before < PATIENCE,
	    "a line behind a key update is seen at once");
	pair_close(&pair);
	peer_end(&peer);
}

/* While there is input there is no wait in which this would be seen. */
static void
test_stop(void)
{
	struct pair pair;

	pair_open(&pair, PATIENCE, WAIT_FOREVER);
	conn_limit(pair.conn, 0);
	far_says(&pair, "+OK\r\n");
	tap_ok(fails(&pair, ERR_TEMPFAIL, "the whole session"),
	    "input does not outlive the session");
	pair_close(&pair);

	pair_open(&pair, PATIENCE, WAIT_FOREVER);
	far_says(&pair, "+OK\r\n");
	wait_open();
	raise(SIGTERM);
	tap_ok(fails(&pair, ERR_TEMPFAIL, "SIGTERM"), "nor a request to stop");
	pair_close(&pair);
}

int
main(void)
{
	digest_start_library();
	signal(SIGPIPE, SIG_IGN);
	cert =
	    peer_make(&(struct peer_spec){.cn = HOST, .dns = HOST, .to = 10});
	peer_write_cert(cert_file, sizeof(cert_file), &cert);

	test_lines();
	test_split();
	test_many_lines();
	test_long_lines();
	test_chunks();
	test_deadlines();
	test_span();
	test_both_ways();
	test_send();
	test_early_bytes();
	test_starttls();
	tls_end(serve_line_and_bye, PATIENCE, "closed the connection");
	tls_end(serve_line_and_cut, PATIENCE, "without close_notify");
	tls_end(serve_tls_silence, SHORT, "the whole session");
	test_silent_handshake();
	test_close();
	test_key_update();
	test_stop(); /* last: it asks to stop */

	unlink(cert_file);
	peer_cert_free(&cert);
	return tap_done();
}
