/* SPDX-License-Identifier: ISC */
/* One connection: lines in, buffered octets out, and its planned faults. */
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#ifdef __linux__
#include <linux/sockios.h>
#endif

#include "stream.h"
#include "text.h"

enum {
	IN_SIZE = 64 * 1024,
	OUT_SIZE = 256 * 1024,
	MARKS = 256,	    /* reads whose time is known */
	LINGER = 2000,	    /* ms to wait for the peer's FIN after ours */
	DRAIN_OUTPUT = 1000 /* ms to let output arrive before a RST */
};

/* Everything up to this octet had arrived at that time. */
struct mark {
	uint64_t upto;
	int64_t time;
};

struct stream {
	int in_fd, out_fd;
	struct tls *tls;
	struct shape shape;
	bool armed;	/* cut_after and stall_after count */
	bool eof;	/* nothing more to read */
	bool ended;	/* nothing more can be sent */
	int64_t sent;	/* octets since it was armed */
	int64_t tokens; /* thousandths of octets that the rate allows */
	int64_t topped; /* when tokens were last added */
	uint64_t seen;	/* octets read before in_start */
	size_t in_start, in_end, out_len;
	size_t mark_first, mark_count;
	struct mark marks[MARKS];
	char in[IN_SIZE], out[OUT_SIZE];
};

struct stream *
stream_new(int in, int out, const struct shape *shape)
{
	struct stream *s = text_alloc(1, sizeof(*s));

	s->in_fd = in;
	s->out_fd = out;
	s->shape = *shape;
	s->topped = text_now();
	return s;
}

struct shape *
stream_shape(struct stream *s)
{
	return &s->shape;
}

bool
stream_at_eof(const struct stream *s)
{
	return s->eof;
}

bool
stream_ended(const struct stream *s)
{
	return s->ended;
}

const char *
stream_tls_version(const struct stream *s)
{
	return s->tls == NULL ? NULL : tls_version(s->tls);
}

size_t
stream_tls_binding(
    const struct stream *s, void *data, size_t size, bool *exporter)
{
	return s->tls == NULL ? 0 : tls_binding(s->tls, data, size, exporter);
}

/* Remembers when the octets up to in_end came. */
static void
note_arrival(struct stream *s)
{
	uint64_t upto = s->seen + (s->in_end - s->in_start);
	size_t last;

	if (s->shape.latency == 0)
		return;
	if (s->mark_count < MARKS)
		s->mark_count++;
	last = (s->mark_first + s->mark_count - 1) % MARKS;
	s->marks[last] = (struct mark){upto, text_now()};
}

/* When the octet `offset` octets from here may be seen. */
static int64_t
visible_at(struct stream *s, size_t offset)
{
	uint64_t octet = s->seen + offset;

	while (s->mark_count > 0 && s->marks[s->mark_first].upto <= octet) {
		s->mark_first = (s->mark_first + 1) % MARKS;
		s->mark_count--;
	}
	if (s->mark_count == 0)
		return 0;
	return s->marks[s->mark_first].time + s->shape.latency;
}

static void
make_room(struct stream *s)
{
	size_t len = s->in_end - s->in_start;

	if (len > 0 && s->in_end < IN_SIZE)
		return;
	memmove(s->in, s->in + s->in_start, len);
	s->in_start = 0;
	s->in_end = len;
}

/* One read of what is there. */
static void
take_input(struct stream *s)
{
	ssize_t n;

	make_room(s);
	if (s->tls != NULL)
		n = tls_read(s->tls, s->in + s->in_end, IN_SIZE - s->in_end);
	else
		n = read(s->in_fd, s->in + s->in_end, IN_SIZE - s->in_end);
	if (n > 0) {
		s->in_end += (size_t)n;
		note_arrival(s);
		return;
	}
	if (s->tls != NULL && n == TLS_AGAIN)
		return;
	if (s->tls == NULL && n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	s->eof = true;
}

/*
 * Takes input, and waits for room to write if asked to, until the deadline.
 * True: there is room.
 */
static bool
turn(struct stream *s, bool writing, int64_t deadline)
{
	bool reading = !s->eof && s->in_end - s->in_start < IN_SIZE;
	struct pollfd p[2] = {
	    {.fd = reading ? s->in_fd : -1, .events = POLLIN},
	    {.fd = writing ? s->out_fd : -1, .events = POLLOUT},
	};

	if (reading && s->tls != NULL && tls_pending(s->tls)) {
		take_input(s);
		deadline = 0;
		p[0].fd = -1;
	}
	if (poll(p, 2, text_until(deadline)) <= 0)
		return false;
	if (p[0].revents != 0)
		take_input(s);
	return p[1].revents != 0;
}

/* The octets that a limit still lets through. */
static size_t
up_to(size_t len, int64_t limit)
{
	if (limit < 0)
		limit = 0;
	return (uint64_t)limit < len ? (size_t)limit : len;
}

/* The planned end, when so many octets were sent; true: it was time. */
static bool
fate(struct stream *s)
{
	if (!s->armed)
		return false;
	if (s->shape.stall_after >= 0 && s->sent >= s->shape.stall_after) {
		stream_await_hangup(s, -1);
		stream_end(s, END_FIN);
	} else if (s->shape.cut_after >= 0 && s->sent >= s->shape.cut_after) {
		stream_end(s, s->shape.cut_how);
	}
	return s->ended;
}

/* How many octets may leave now; waits while the rate forbids one. */
static size_t
portion(struct stream *s, size_t len)
{
	const struct shape *h = &s->shape;
	int64_t now, most = h->rate * 50 < 1000 ? 1000 : h->rate * 50;

	if (s->armed && h->cut_after >= 0)
		len = up_to(len, h->cut_after - s->sent);
	if (s->armed && h->stall_after >= 0)
		len = up_to(len, h->stall_after - s->sent);
	if (h->chunk > 0)
		len = up_to(len, h->chunk);
	if (h->drip > 0)
		len = up_to(len, 1);
	while (h->rate > 0) {
		now = text_now();
		s->tokens += (now - s->topped) * h->rate;
		s->tokens = s->tokens > most ? most : s->tokens;
		s->topped = now;
		if (s->tokens >= 1000)
			return up_to(len, s->tokens / 1000);
		turn(s, false, now + (1000 - s->tokens) / h->rate + 1);
	}
	return len;
}

/* Writes some of it; -1 when the connection is no more. */
static ssize_t
write_some(struct stream *s, const char *data, size_t len)
{
	int64_t patience = s->shape.patience;
	int64_t deadline = patience == 0 ? -1 : text_now() + patience;
	ssize_t n;

	for (;;) {
		if (s->tls != NULL) {
			n = tls_write(s->tls, data, len);
			if (n != TLS_AGAIN)
				return n;
		} else {
			n = write(s->out_fd, data, len);
			if (n >= 0 || (errno != EAGAIN && errno != EINTR))
				return n;
		}
		while (!turn(s, true, deadline))
			if (deadline >= 0 && text_now() >= deadline)
				return -1;
	}
}

static void
idle(struct stream *s, int64_t ms)
{
	int64_t deadline = text_now() + ms;

	while (text_now() < deadline)
		turn(s, false, deadline);
}

static bool
send_all(struct stream *s, const char *data, size_t len)
{
	ssize_t n;

	while (len > 0 && !s->ended && !fate(s)) {
		if ((n = write_some(s, data, portion(s, len))) < 0) {
			s->ended = true;
			break;
		}
		data += n;
		len -= (size_t)n;
		s->sent += n;
		s->tokens -= n * 1000;
		if (s->shape.drip > 0 && len > 0)
			idle(s, s->shape.drip);
	}
	return !s->ended && !(s->sent > 0 && fate(s));
}

bool
stream_flush(struct stream *s)
{
	size_t len = s->out_len;

	s->out_len = 0;
	return send_all(s, s->out, len);
}

void
stream_put(struct stream *s, const void *data, size_t len)
{
	if (len > OUT_SIZE - s->out_len)
		stream_flush(s);
	if (s->ended)
		return;
	if (len >= OUT_SIZE) {
		send_all(s, data, len);
		return;
	}
	memcpy(s->out + s->out_len, data, len);
	s->out_len += len;
}

void
stream_puts(struct stream *s, const char *text)
{
	stream_put(s, text, strlen(text));
}

void
stream_put_number(struct stream *s, int64_t number)
{
	uint64_t n = number < 0 ? -(uint64_t)number : (uint64_t)number;
	char digits[24], *p = digits + sizeof(digits);

	do
		*--p = (char)('0' + n % 10);
	while ((n /= 10) > 0);
	if (number < 0)
		*--p = '-';
	stream_put(s, p, (size_t)(digits + sizeof(digits) - p));
}

void
stream_arm(struct stream *s, bool armed)
{
	stream_flush(s);
	s->armed = armed;
	s->sent = 0;
}

static void
consume(struct stream *s, size_t len)
{
	s->in_start += len;
	s->seen += len;
}

/* A line that may be seen now; else -1, and *when one may be. */
static ssize_t
next_line(struct stream *s, int64_t *when)
{
	const char *start = s->in + s->in_start, *lf;
	int64_t visible;

	lf = memchr(start, '\n', s->in_end - s->in_start);
	if (lf == NULL)
		return -1;
	if (s->shape.latency > 0) {
		visible = visible_at(s, (size_t)(lf - start));
		if (visible > text_now()) {
			*when = visible;
			return -1;
		}
	}
	return lf - start;
}

enum line_result
stream_line(
    struct stream *s, char *line, size_t size, size_t *len, int64_t wait)
{
	int64_t deadline = wait < 0 ? -1 : text_now() + wait, when;
	ssize_t n;

	for (;;) {
		when = -1;
		if ((n = next_line(s, &when)) >= 0)
			break;
		if (s->out_len > 0) {
			/* Input may come in while output goes out. */
			stream_flush(s);
			continue;
		}
		if (s->ended || (when < 0 && s->eof))
			return LINE_EOF;
		if (when < 0 && s->in_end - s->in_start == IN_SIZE)
			return LINE_TOO_LONG;
		if (deadline >= 0 && text_now() >= deadline)
			return LINE_TIMEOUT;
		turn(s, false, when < 0 ? deadline : when);
	}
	if ((size_t)n >= size)
		return LINE_TOO_LONG;
	memcpy(line, s->in + s->in_start, (size_t)n);
	line[n] = '\0';
	*len = (size_t)n;
	consume(s, (size_t)n + 1);
	return LINE_OK;
}

enum line_result
stream_octets(struct stream *s, char *octets, size_t n, int64_t wait)
{
	int64_t deadline = text_now() + wait;

	while (s->in_end - s->in_start < n) {
		if (s->out_len > 0) {
			stream_flush(s);
			continue;
		}
		if (s->ended || s->eof)
			return LINE_EOF;
		if (s->in_end - s->in_start == IN_SIZE)
			return LINE_TOO_LONG;
		if (text_now() >= deadline)
			return LINE_TIMEOUT;
		turn(s, false, deadline);
	}
	memcpy(octets, s->in + s->in_start, n);
	consume(s, n);
	return LINE_OK;
}

void
stream_pause(struct stream *s, int64_t ms)
{
	stream_flush(s);
	idle(s, ms);
}

size_t
stream_unread(struct stream *s, const char **data)
{
	*data = s->in + s->in_start;
	return s->in_end - s->in_start;
}

void
stream_discard(struct stream *s)
{
	consume(s, s->in_end - s->in_start);
}

/*
 * Where poll cannot tell that the peer has closed while there is input to
 * read, the input is read after all.
 */
bool
stream_await_hangup(struct stream *s, int64_t wait)
{
#ifdef POLLRDHUP
	struct pollfd p = {.fd = s->in_fd, .events = POLLRDHUP};
	int64_t deadline = wait < 0 ? -1 : text_now() + wait;

	return s->eof || poll(&p, 1, text_until(deadline)) > 0;
#else
	return stream_drain(s, wait);
#endif
}

bool
stream_drain(struct stream *s, int64_t wait)
{
	int64_t deadline = wait < 0 ? -1 : text_now() + wait;

	for (;;) {
		stream_discard(s);
		if (s->eof)
			return true;
		if (deadline >= 0 && text_now() >= deadline)
			return false;
		turn(s, false, deadline);
	}
}

bool
stream_start_tls(
    struct stream *s, struct tls_server *server, int64_t wait, const char **why)
{
	if (!stream_flush(s)) {
		*why = "connection closed";
		return false;
	}
	s->tls =
	    tls_accept(server, s->in_fd, s->out_fd, text_now() + wait, why);
	return s->tls != NULL;
}

void
stream_close_notify(struct stream *s)
{
	stream_flush(s);
	if (s->tls != NULL && !s->ended)
		tls_bye(s->tls, s->out_fd, text_now() + LINGER);
}

/* What was sent shall arrive before the RST that would overtake it. */
static void
await_delivery(struct stream *s)
{
#ifdef SIOCOUTQ
	int64_t deadline = text_now() + DRAIN_OUTPUT;
	int left = 0;

	while (text_now() < deadline && ioctl(s->out_fd, SIOCOUTQ, &left) == 0)
		if (left == 0 || poll(NULL, 0, 1) < 0)
			break;
#else
	(void)s;
#endif
}

static void
reset(struct stream *s)
{
	struct linger none = {.l_onoff = 1};

	await_delivery(s);
	setsockopt(s->out_fd, SOL_SOCKET, SO_LINGER, &none, sizeof(none));
	s->eof = true;
}

void
stream_end(struct stream *s, enum ending how)
{
	if (s->ended)
		return;
	if (how == END_SOFT && s->tls != NULL)
		tls_bye(s->tls, s->out_fd, text_now() + LINGER);
	s->ended = true;
	s->out_len = 0;
	if (how == END_RESET || (how == END_HARD && s->tls == NULL)) {
		reset(s);
		return;
	}
	/* A close with unread input would be a RST: let the peer close. */
	shutdown(s->out_fd, SHUT_WR);
	if (s->out_fd != s->in_fd)
		close(s->out_fd);
	stream_drain(s, LINGER);
}

void
stream_free(struct stream *s)
{
	if (stream_flush(s))
		stream_end(s, END_SOFT);
	tls_free(s->tls);
	close(s->in_fd);
	free(s);
}
