/* SPDX-License-Identifier: ISC */
/* What is to be had: a directory of files, or messages made up. */
#ifndef POPD_MAILBOX_H
#define POPD_MAILBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "options.h"
#include "stream.h"

/* A message in a session's listing. */
struct message {
	char *name; /* in the directory; NULL if made up */
	char *uid;  /* NULL: made from the number */
	size_t uid_len;
	size_t index;	/* of a message made up */
	int64_t size;	/* on the wire, before dots are doubled */
	int64_t stored; /* as a file, with its time: has it changed? */
	int64_t time;
	bool deleted; /* by DELE, or hidden from the start */
	bool hidden;
};

struct store; /* shared by all sessions */

/* One session's view; messages are numbered from 0 here. */
struct mailbox {
	struct store *store;
	struct message *list;
	size_t count;
};

/* Dies when the directory cannot be read. */
struct store *store_open(const struct options *o);

void store_close(struct store *s);

/* The mailbox as it is now, to be freed; NULL when it cannot be read. */
struct mailbox *mailbox_open(struct store *s);
void mailbox_free(struct mailbox *m);

void mailbox_put_uid(
    const struct mailbox *m, size_t index, struct stream *stream);

/*
 * Sends OK, then the message with its terminator; lines is -1 for all of its
 * body. False: it is gone, nothing was sent.
 */
bool mailbox_send(const struct mailbox *m, size_t index, int64_t lines,
    const char *ok, struct stream *stream);

/* Removes what is deleted. */
void mailbox_commit(struct mailbox *m);

#endif
