/* SPDX-License-Identifier: ISC */
/* From an account to a logged-in POP3 session, and out of it again. */
#ifndef RUN_SESSION_H
#define RUN_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "conf/conf.h"
#include "pop3/client.h"
#include "run/method.h"
#include "wire/conn.h"
#include "wire/tunnel.h"

struct session_options {
	int family;	/* AF_UNSPEC, AF_INET, AF_INET6 */
	bool look_only; /* remember no key */
	bool in_hurry;	/* somebody waits: no second try */
};

struct session {
	const struct account *account;
	const struct session_options *options;
	struct tunnel *tunnel; /* NULL without */
	struct conn *conn;
	struct client *client;
	struct capabilities capa;
	bool pipelining;
	int64_t end;	     /* the clock when the session must be over */
	bool without_capa;   /* the server dropped the line when asked */
	char timestamp[512]; /* of the greeting, for APOP; "" for none */
	const struct method *method; /* of the login */
	bool token_refused; /* the login failed, and a new token may help */

	/* Of the last no that session_judge has seen. */
	enum resp_code refusal;
	const struct advice *advice; /* NULL: none */
	bool is_doubtful;	     /* a busy server may say so, too */
};

/*
 * What a no means: the server may say (RFC 2449 section 8, RFC 3206); else it
 * is usual.
 */
enum err_class session_class_of_no(enum resp_code code, enum err_class usual);

/*
 * The class of a reply that says no: what its code gives, else what is known
 * of such replies of this server, else the usual one.  Notes what is known.
 */
enum err_class session_judge(struct session *session,
    const struct client_reply *reply, enum err_class usual);

/* To the text of that no the hint that is known; false: none is. */
bool session_advise(const struct session *session, struct err *err);

/* Both, with the text of client_refused between them, but the same hint not
 * twice in a row.  Always returns -1. */
int session_refused(struct session *session, const struct client_reply *reply,
    enum err_class usual, struct err *err);

/*
 * Dial, secure, greet, ask CAPA: everything before a secret is needed.  On
 * failure err names the step, and the session must be closed all the same.
 * end is the clock (wait_clock) when the session must be over.
 */
int session_open(struct session *session, const struct account *account,
    const struct session_options *options, int64_t end, struct err *err);

/* Ask CAPA, unless the server is known to drop the line for it; what was
 * known before is forgotten. */
int session_ask_capabilities(struct session *session, struct err *err);

/* Decide about pipelining, by what the account and the server say. */
void session_choose_window(struct session *session);

/*
 * QUIT.  Returns true when the server confirmed it; false with err as a
 * warning when it said nothing or no, so that deletions are unconfirmed.
 */
bool session_quit(struct session *session, struct err *err);

/* Close the connection whatever state it is in; wipes nothing of others. */
void session_close(struct session *session);

#endif
