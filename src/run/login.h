/* SPDX-License-Identifier: ISC */
/* Which method to log in with, and doing it. */
#ifndef RUN_LOGIN_H
#define RUN_LOGIN_H

#include <stdbool.h>

#include "base/err.h"
#include "run/session.h"

/*
 * Choose the method that the account names or that is safe here (secret may
 * be NULL if the method needs none), and queue what of it can be sent at
 * once.  ERR_UNAVAILABLE, before anything is sent, if there is none.  What
 * the caller queues behind it travels in the same flight.
 */
int login_queue(struct session *session, const char *secret, struct err *err);

/* May commands be queued behind the login, or is the server to be asked for
 * its capabilities again in between? */
bool login_may_queue_ahead(const struct session *session);

/*
 * Read the replies to login_queue, or do what can only be done step by step,
 * and ask CAPA once more where that may tell something new.  ERR_NOPERM:
 * login refused; then the session's token_refused says whether the secret is
 * a token, which a new one could replace.
 */
int login_finish(struct session *session, const char *secret, struct err *err);

#endif
