/* SPDX-License-Identifier: ISC */
/* The AUTH command (RFC 5034): a SASL mechanism's talk with the server. */
#ifndef POP3_AUTH_H
#define POP3_AUTH_H

#include <stdbool.h>

#include "base/err.h"
#include "pop3/client.h"
#include "pop3/sasl.h"

struct auth_outcome {
	struct client_reply reply; /* the server's yes or no */
	bool secret_sent; /* something that a secret can be got from, or tried
			     by, has gone out */
};

/*
 * Log in, while nothing else is queued.  The first response travels with the
 * command only if announced (the server lists the mechanism, so that it knows
 * RFC 5034), the mechanism allows it, and the line stays within 255 octets.
 * Responses that hold a secret are masked in what is logged from then on.
 * Returns 0 when the server has said yes or no; -1 if the exchange made no
 * sense (ERR_PROTOCOL) or the connection failed: the session is over then.
 */
int auth_exchange(struct client *client, struct sasl *sasl, bool announced,
    struct auth_outcome *outcome, struct err *err);

/* Fill err: "server says no to AUTH PLAIN: ..." and the reason that the
 * mechanism has got to know.  Always returns -1. */
int auth_refused(const struct sasl *sasl, const struct client_reply *reply,
    enum err_class class, struct err *err);

#endif
