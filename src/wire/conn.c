/* SPDX-License-Identifier: ISC */
#include "wire/conn.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/wait.h"

#define IN_SIZE ((size_t)256 * 1024)
#define PENDING_MAX (CONN_LINE_MAX + 1) /* a line and its CR, no LF yet */
#define TLS_RECORD_MAX 16384
#define STOP_CHECK_INTERVAL 100 /* ms */

struct conn {
	int fd;
	struct tls *tls;

	int64_t timeout; /* 0: none */
	int64_t end;
	int64_t deadline;
	int64_t checked; /* when a request to stop was last looked for */
	size_t span;
	size_t span_left;
	uint64_t received;
	uint64_t received_before; /* at the last conn_expect */

	char *in; /* received bytes: in[start] up to in[stop] */
	size_t start;
	size_t stop;
	size_t scanned; /* so many of them hold no LF */
	struct buf out;

	short wants;	  /* what poll(2) is to wait for */
	bool send_failed; /* why is known, but input may still come */
	bool broken;
	struct err why;

	bool has_quickack;
	bool unacknowledged;
};

/* A server that sends in two small segments waits for the first one's
 * acknowledgement, which the system likes to delay. */
static bool
acknowledge(int fd)
{
#ifdef TCP_QUICKACK
	int on = 1;

	return setsockopt(fd, IPPROTO_TCP, TCP_QUICKACK, &on, sizeof(on)) == 0;
#else
	(void)fd;
	return false;
#endif
}

struct conn *
conn_open(int fd, int64_t timeout, int64_t end)
{
	struct conn *conn = mem_zero(1, sizeof(*conn));

	conn->fd = fd;
	conn->timeout = timeout;
	conn->end = end;
	conn->in = mem_alloc(IN_SIZE);
	conn->has_quickack = acknowledge(fd);
	conn_expect(conn, 0);
	return conn;
}

void
conn_close(struct conn *conn)
{
	if (conn == NULL)
		return;
	if (conn->tls != NULL)
		tls_close(conn->tls);
	close(conn->fd);
	buf_wipe(&conn->out);
	free(conn->in);
	free(conn);
}

const struct tls *
conn_tls(const struct conn *conn)
{
	return conn->tls;
}

/*
 * Deadlines
 */

static void
renew_deadline(struct conn *conn)
{
	conn->deadline =
	    conn->timeout > 0 ? wait_clock() + conn->timeout : WAIT_FOREVER;
	conn->span_left = conn->span;
}

void
conn_expect(struct conn *conn, size_t span)
{
	conn->span = span;
	conn->received_before = conn->received;
	renew_deadline(conn);
}

static void
note_received(struct conn *conn, size_t n)
{
	conn->received += n;
	conn->unacknowledged = true;
	if (conn->span == 0)
		return;
	if (n < conn->span_left)
		conn->span_left -= n;
	else
		renew_deadline(conn);
}

static int64_t
limit_of_wait(const struct conn *conn)
{
	return conn->deadline < conn->end ? conn->deadline : conn->end;
}

void
conn_limit(struct conn *conn, int64_t milliseconds)
{
	int64_t end = wait_clock() + milliseconds;

	if (end < conn->end)
		conn->end = end;
}

static int
too_late(const struct conn *conn, struct err *err)
{
	char time[64];

	if (wait_clock() >= conn->end)
		return err_set(
		    err, ERR_TEMPFAIL, "the time for the whole session is up");
	if (conn->timeout % 1000 != 0)
		snprintf(time, sizeof(time), "%lld milliseconds",
		    (long long)conn->timeout);
	else
		snprintf(time, sizeof(time), "%lld second%s",
		    (long long)(conn->timeout / 1000),
		    conn->timeout == 1000 ? "" : "s");
	if (conn->span > 0)
		return err_set(err, ERR_TEMPFAIL,
		    "less than %zu octets from the server in %s", conn->span,
		    time);
	if (conn->received > conn->received_before)
		return err_set(
		    err, ERR_TEMPFAIL, "no complete answer in %s", time);
	return err_set(err, ERR_TEMPFAIL, "no answer for %s", time);
}

/* While input never runs dry there is no wait, but stops and the end of the
 * session count all the same. */
static int
check_stop(struct conn *conn, struct err *err)
{
	int64_t now = wait_clock();

	if (now - conn->checked < STOP_CHECK_INTERVAL)
		return 0;
	conn->checked = now;
	if (now >= conn->end)
		return too_late(conn, err);
	return wait_for_fd(conn->fd, 0, now, err) == -1 ? -1 : 0;
}

static int
wait_until_ready(struct conn *conn, short events, struct err *err)
{
	int64_t until = limit_of_wait(conn);

	if (wait_clock() >= until)
		return too_late(conn, err);
	if ((events & POLLIN) != 0 && conn->tls != NULL &&
	    tls_pending(conn->tls))
		return check_stop(conn, err);
	if (conn->has_quickack && conn->unacknowledged)
		acknowledge(conn->fd);
	conn->unacknowledged = false;
	if (wait_for_fd(conn->fd, events, until, err) == -1)
		return -1;
	conn->checked = wait_clock();
	return 0;
}

/*
 * Transport: how many octets, 0 if it would have to wait, -1 on failure
 */

static int
lost(struct err *err)
{
	return err_set(
	    err, ERR_TEMPFAIL, "the connection was lost: %s", strerror(errno));
}

static int
closed(struct err *err)
{
	return err_set(err, ERR_TEMPFAIL, "the server closed the connection");
}

static ssize_t
tls_outcome(struct conn *conn, ssize_t r)
{
	if (r == TLS_WANT_READ)
		conn->wants |= POLLIN;
	if (r == TLS_WANT_WRITE)
		conn->wants |= POLLOUT;
	return r == TLS_WANT_READ || r == TLS_WANT_WRITE ? 0 : r;
}

static ssize_t
receive(struct conn *conn, char *data, size_t n, struct err *err)
{
	ssize_t r;

	if (conn->tls != NULL) {
		r = tls_read(conn->tls, data, n, err);
		return r == 0 ? closed(err) : tls_outcome(conn, r);
	}
	do
		r = recv(conn->fd, data, n, MSG_DONTWAIT);
	while (r == -1 && errno == EINTR);
	if (r == 0)
		return closed(err);
	if (r > 0)
		return r;
	conn->wants |= POLLIN;
	return errno == EAGAIN ? 0 : lost(err);
}

static ssize_t
transmit(struct conn *conn, const char *data, size_t n, struct err *err)
{
	ssize_t r;

	if (conn->tls != NULL) {
		if (n > TLS_RECORD_MAX)
			n = TLS_RECORD_MAX;
		return tls_outcome(conn, tls_write(conn->tls, data, n, err));
	}
	do
		r = send(conn->fd, data, n, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (r == -1 && errno == EINTR);
	if (r >= 0)
		return r;
	conn->wants |= POLLOUT;
	return errno == EAGAIN ? 0 : lost(err);
}

/*
 * Buffers
 */

/* Send as much of the queue as goes without waiting.  Passwords pass here. */
static void
drain(struct conn *conn)
{
	size_t sent = 0;
	ssize_t r = 1;

	while (sent < conn->out.len && r > 0) {
		r = transmit(conn, conn->out.data + sent, conn->out.len - sent,
		    &conn->why);
		if (r > 0)
			sent += (size_t)r;
	}
	if (r == -1) {
		conn->send_failed = true;
		sent = conn->out.len;
	}
	if (sent == 0)
		return;
	buf_consume(&conn->out, sent);
	explicit_bzero(conn->out.data + conn->out.len, sent);
}

static size_t
room(struct conn *conn)
{
	if (conn->start == conn->stop) {
		conn->start = 0;
		conn->stop = 0;
	} else if (conn->start > 0 && IN_SIZE - conn->stop < PENDING_MAX) {
		memmove(
		    conn->in, conn->in + conn->start, conn->stop - conn->start);
		conn->stop -= conn->start;
		conn->start = 0;
	}
	return IN_SIZE - conn->stop;
}

/* Receive what is there, as far as it fits.  A failure behind good bytes
 * waits until they are used up. */
static size_t
fill(struct conn *conn)
{
	size_t total = 0, left = room(conn);
	ssize_t r = 1;

	while (r > 0 && left > 0 && !conn->broken) {
		r = receive(conn, conn->in + conn->stop, left, &conn->why);
		if (r == -1)
			conn->broken = true;
		if (r <= 0)
			break;
		conn->stop += (size_t)r;
		total += (size_t)r;
		left -= (size_t)r;
		/* A socket gives all it has at once, TLS a record. */
		if (conn->tls == NULL)
			break;
	}
	if (total > 0)
		note_received(conn, total);
	return total;
}

static int
report_broken(const struct conn *conn, struct err *err)
{
	*err = conn->why;
	return -1;
}

/* Wait until more input is here, sending what is queued in the meantime. */
static int
get_more(struct conn *conn, struct err *err)
{
	if (conn->broken)
		return report_broken(conn, err);
	if (check_stop(conn, err) == -1)
		return -1;
	for (;;) {
		conn->wants = POLLIN;
		if (!conn->send_failed)
			drain(conn);
		if (fill(conn) > 0)
			return 0;
		if (conn->broken || conn->send_failed)
			return report_broken(conn, err);
		if (wait_until_ready(conn, conn->wants, err) == -1)
			return -1;
	}
}

void
conn_send(struct conn *conn, const void *data, size_t n)
{
	struct buf larger = {0};

	/* A buffer that just grows leaves copies of a secret behind. */
	if (conn->out.len + n > conn->out.cap) {
		buf_room(&larger, conn->out.len + n);
		buf_append(&larger, conn->out.data, conn->out.len);
		buf_wipe(&conn->out);
		conn->out = larger;
	}
	buf_append(&conn->out, data, n);
}

void
conn_push(struct conn *conn)
{
	if (!conn->send_failed)
		drain(conn);
}

int
conn_line(struct conn *conn, const char **line, size_t *n, struct err *err)
{
	char *lf = NULL;
	size_t len;

	for (;;) {
		len = conn->stop - conn->start;
		lf = memchr(conn->in + conn->start + conn->scanned, '\n',
		    len - conn->scanned);
		if (lf != NULL)
			break;
		conn->scanned = len;
		if (len > PENDING_MAX)
			goto too_long;
		if (get_more(conn, err) == -1)
			return -1;
	}
	*line = conn->in + conn->start;
	len = (size_t)(lf - *line);
	conn_consume(conn, len + 1);
	if (len > 0 && lf[-1] == '\r')
		len--;
	if (len > CONN_LINE_MAX)
		goto too_long;
	*n = len;
	return 0;
too_long:
	return err_set(err, ERR_PROTOCOL,
	    "the server sent a line of more than %d octets", CONN_LINE_MAX);
}

int
conn_chunk(struct conn *conn, char **data, size_t *n, struct err *err)
{
	if (conn->start == conn->stop && get_more(conn, err) == -1)
		return -1;
	*data = conn->in + conn->start;
	*n = conn->stop - conn->start;
	return 0;
}

void
conn_consume(struct conn *conn, size_t n)
{
	conn->start += n;
	conn->scanned = 0;
}

bool
conn_has_input(struct conn *conn)
{
	return conn->start < conn->stop || fill(conn) > 0;
}

/*
 * RFC 2595, section 4: what came in the clear behind the answer to STLS was
 * not said by the server that TLS is about to prove.  Before any plain text
 * there is nothing to protect, and the handshake itself knows better.
 */
static int
refuse_early_input(struct conn *conn, struct err *err)
{
	char byte;
	ssize_t r;

	if (conn->received == 0)
		return 0;
	r = recv(conn->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
	if (conn->start < conn->stop || r > 0)
		return err_set(err, ERR_PROTOCOL,
		    "bytes arrived before the TLS handshake: somebody may be "
		    "tampering with the connection");
	if (r == 0)
		return closed(err);
	return errno == EAGAIN ? 0 : lost(err);
}

int
conn_start_tls(
    struct conn *conn, const struct tls_params *params, struct err *err)
{
	if (conn->tls != NULL || conn->out.len > 0)
		return err_set(err, ERR_SOFTWARE,
		    "TLS is to start in the middle of something");
	if (refuse_early_input(conn, err) == -1)
		return -1;
	conn_expect(conn, 0);
	conn->tls = tls_open(conn->fd, params, limit_of_wait(conn), err);
	return conn->tls != NULL ? 0 : -1;
}
