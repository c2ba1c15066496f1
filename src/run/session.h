/* SPDX-License-Identifier: ISC */
/* From an account to a logged-in POP3 session, and out of it again. */
#ifndef RUN_SESSION_H
#define RUN_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "conf/conf.h"
#include "pop3/client.h"
#include "wire/conn.h"

struct session {
	const struct account *account;
	int family; /* AF_UNSPEC, AF_INET, AF_INET6 */
	struct conn *conn;
	struct client *client;
	struct capabilities capa;
	bool pipelining;
	int64_t end;	     /* the clock when the session must be over */
	bool without_capa;   /* the server dropped the line when asked */
	char timestamp[512]; /* of the greeting, for APOP; "" for none */
};

/*
 * What a no means: the server may say (RFC 2449 section 8, RFC 3206); else it
 * is usual.
 */
enum err_class session_class_of_no(enum resp_code code, enum err_class usual);

/*
 * Dial, secure, greet, ask CAPA: everything before a secret is needed.  On
 * failure err names the step, and the session must be closed all the same.
 */
int session_open(struct session *session, const struct account *account,
    int family, struct err *err);

/*
 * Queue the login with the method that the account names or that is safe
 * here; ERR_NOPERM or ERR_UNAVAILABLE, before anything is sent, if there is
 * none.  What the caller queues behind it travels in the same flight.
 */
int session_queue_login(
    struct session *session, const char *secret, struct err *err);

/* May commands be queued behind the login, or is the server to be asked for
 * its capabilities again in between? */
bool session_may_queue_ahead(const struct session *session);

/* Read the replies to session_queue_login, and ask CAPA once more where that
 * may tell something new.  ERR_NOPERM: login refused. */
int session_login(struct session *session, struct err *err);

/*
 * QUIT.  Returns true when the server confirmed it; false with err as a
 * warning when it said nothing or no, so that deletions are unconfirmed.
 */
bool session_quit(struct session *session, struct err *err);

/* Close the connection whatever state it is in; wipes nothing of others. */
void session_close(struct session *session);

#endif
