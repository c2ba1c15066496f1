/* SPDX-License-Identifier: ISC */
/* One POP3 session of the mailbox mode: RFC 1939, 2449, 2595. */
#ifndef POPD_SESSION_H
#define POPD_SESSION_H

#include "server.h"

/* A handler; the connection's context is a struct pop3. */
void session_serve(struct connection *c);

#endif
