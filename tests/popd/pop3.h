/* SPDX-License-Identifier: ISC */
/* The mailbox mode: what all sessions share. */
#ifndef POPD_POP3_H
#define POPD_POP3_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "options.h"

struct pop3; /* the service: store, locks, counters */

/* Serves until there is a reason to end; false after a failure. */
bool pop3_run(const struct options *o);

struct mailbox;

/* A fresh view for a session, NULL when it cannot be read. */
struct mailbox *pop3_open_mailbox(struct pop3 *p);

/*
 * With --lock only one session may hold a user: false when another one does.
 * Without it, always true.
 */
bool pop3_hold(struct pop3 *p, const char *user);
void pop3_release(struct pop3 *p, const char *user);

/* The configured answer to a command line, or NULL; counts its use. */
const struct answer *pop3_answer(struct pop3 *p, const char *line);

/* Does a key ("RETR", "RETR 3") mean this command line? */
bool pop3_means(const char *key, const char *line);

#endif
