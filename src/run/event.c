/* SPDX-License-Identifier: ISC */
#include "run/event.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "base/wait.h"

/* On the wire between two processes of the same program: host byte order,
 * then the three texts without their zero bytes. */
struct head {
	uint32_t size; /* of head and texts */
	uint16_t text;
	uint16_t err_text;
	uint16_t err_hint;
	uint8_t type;
	uint8_t level;
	uint8_t class;
	uint8_t quiet;
	uint16_t unused;
	struct event_counts counts;
};

#define SECRET_MAX 65536
#define SECRET_NONE UINT32_MAX

/* The socket is blocking on the worker's side: a parent that is slow to read
 * slows the worker down, nothing is dropped. */
static bool
send_all(int fd, const void *data, size_t n)
{
	const char *from = data;

	while (n > 0) {
		ssize_t done = send(fd, from, n, MSG_NOSIGNAL);

		if (done == -1 && errno == EINTR)
			continue;
		if (done == -1)
			return false;
		from += done;
		n -= (size_t)done;
	}
	return true;
}

bool
event_send(int fd, const struct event *event)
{
	char record[EVENT_SIZE_MAX], *to = record + sizeof(struct head);
	struct head head = {
	    .text = (uint16_t)strnlen(event->text, sizeof(event->text)),
	    .err_text =
		(uint16_t)strnlen(event->err.text, sizeof(event->err.text)),
	    .err_hint =
		(uint16_t)strnlen(event->err.hint, sizeof(event->err.hint)),
	    .type = (uint8_t)event->type,
	    .level = (uint8_t)event->level,
	    .class = (uint8_t)event->err.class,
	    .quiet = event->err.quiet,
	    .counts = event->counts,
	};

	memcpy(to, event->text, head.text);
	to += head.text;
	memcpy(to, event->err.text, head.err_text);
	to += head.err_text;
	memcpy(to, event->err.hint, head.err_hint);
	to += head.err_hint;
	head.size = (uint32_t)(to - record);
	memcpy(record, &head, sizeof(head));
	return send_all(fd, record, head.size);
}

static bool
is_sound(const struct head *head, const struct event *event)
{
	return head->type <= EVENT_END && head->level <= LOG_AT_DEBUG &&
	    head->class <= ERR_CONFIG && head->text < sizeof(event->text) &&
	    head->err_text < sizeof(event->err.text) &&
	    head->err_hint < sizeof(event->err.hint) &&
	    head->size ==
	    sizeof(*head) + head->text + head->err_text + head->err_hint;
}

static const char *
take_text(char *to, const char *from, size_t n)
{
	memcpy(to, from, n);
	to[n] = '\0';
	return from + n;
}

int
event_take(struct buf *received, struct event *event)
{
	struct head head;
	const char *from;

	if (received->len < sizeof(head))
		return 0;
	memcpy(&head, received->data, sizeof(head));
	if (!is_sound(&head, event))
		return -1;
	if (received->len < head.size)
		return 0;
	event->type = (enum event_type)head.type;
	event->level = (enum log_level)head.level;
	event->counts = head.counts;
	event->err.class = (enum err_class)head.class;
	event->err.quiet = head.quiet != 0;
	from = received->data + sizeof(head);
	from = take_text(event->text, from, head.text);
	from = take_text(event->err.text, from, head.err_text);
	take_text(event->err.hint, from, head.err_hint);
	buf_consume(received, head.size);
	return 1;
}

bool
event_send_secret(int fd, const char *secret)
{
	size_t n = secret != NULL ? strlen(secret) : 0;
	uint32_t size = secret != NULL ? (uint32_t)n : SECRET_NONE;

	if (n > SECRET_MAX)
		return false;
	return send_all(fd, &size, sizeof(size)) && send_all(fd, secret, n);
}

static int
receive_all(int fd, void *data, size_t n, int64_t until, struct err *err)
{
	char *to = data;

	while (n > 0) {
		int ready = wait_for_fd(fd, POLLIN, until, err);
		ssize_t done;

		if (ready == -1)
			return -1;
		if (ready == 0) {
			if (wait_clock() < until)
				continue;
			return err_set(err, ERR_TEMPFAIL, "no answer in time");
		}
		done = recv(fd, to, n, 0);
		if (done <= 0)
			return err_set(err, ERR_TEMPFAIL, "nobody answered");
		to += done;
		n -= (size_t)done;
	}
	return 0;
}

char *
event_receive_secret(int fd, int64_t until, struct err *err)
{
	uint32_t size;
	char *secret;

	if (receive_all(fd, &size, sizeof(size), until, err) == -1)
		return NULL;
	if (size > SECRET_MAX) {
		err_set(err, ERR_NOPERM,
		    "no password is known and there is no terminal to ask");
		return NULL;
	}
	secret = mem_zero(size + 1, 1);
	if (receive_all(fd, secret, size, until, err) == 0)
		return secret;
	mem_free_secret(secret);
	return NULL;
}
