/* SPDX-License-Identifier: ISC */
/*
 * What a worker tells its parent: bounded records of valid, printable UTF-8.
 * The parent trusts their form, never a server's byte.
 */
#ifndef RUN_EVENT_H
#define RUN_EVENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/log.h"

enum event_type {
	EVENT_LOG,	/* level, text */
	EVENT_RESULT,	/* text: a line for standard output */
	EVENT_PLAN,	/* counts.messages, counts.octets: to be fetched */
	EVENT_PROGRESS, /* counts: so far */
	EVENT_ERROR,	/* err: of one message, or of the account */
	EVENT_PROMPT,	/* text: ask for a secret, event_answer brings it */
	EVENT_END,	/* err.class, counts: the last one of a worker */
};

struct event_counts {
	uint64_t messages; /* delivered */
	uint64_t octets;
	uint64_t deleted;
	uint64_t failed;
	uint64_t listed; /* on the server */
};

struct event {
	enum event_type type;
	enum log_level level;
	struct event_counts counts;
	char text[2048];
	struct err err;
};

#define EVENT_SIZE_MAX 8192

/* Write one to the parent; false when the parent is gone. */
bool event_send(int fd, const struct event *event);

/*
 * Take the oldest event off the bytes that were received.  Returns 1, 0 if
 * there is no whole one yet, -1 if the bytes are no event.
 */
int event_take(struct buf *received, struct event *event);

/*
 * A secret as the answer to EVENT_PROMPT, NULL for "there is nobody to ask".
 * event_receive_secret waits until the clock stands at until; the caller
 * frees the string with mem_free_secret; NULL with err on failure.
 */
bool event_send_secret(int fd, const char *secret);
char *event_receive_secret(int fd, int64_t until, struct err *err);

#endif
