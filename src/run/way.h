/* SPDX-License-Identifier: ISC */
/* The way to a server, as the account describes it. */
#ifndef RUN_WAY_H
#define RUN_WAY_H

#include "base/err.h"
#include "run/session.h"

/* Give the session its connection and client; err names the step. */
int way_connect(struct session *session, struct err *err);

/*
 * The way is no network but a unix socket or a command: a password needs no
 * further protection there.
 */
bool way_is_private(const struct account *account);

/* No more will be connected: wipe what only that needs, a proxy's password. */
void way_forget(const struct account *account);

/* After a failure: what a tunnel's command has to say about it. */
void way_explain(struct session *session, struct err *err);

/* TLS on the connection, with whom the account trusts. */
int way_start_tls(struct session *session, struct err *err);

#endif
