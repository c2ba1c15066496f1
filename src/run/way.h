/* SPDX-License-Identifier: ISC */
/* The way to a server, as the account describes it. */
#ifndef RUN_WAY_H
#define RUN_WAY_H

#include "base/err.h"
#include "run/session.h"

/* Give the session its connection and client; err names the step. */
int way_connect(struct session *session, struct err *err);

/* TLS on the connection, with whom the account trusts. */
int way_start_tls(struct session *session, struct err *err);

#endif
