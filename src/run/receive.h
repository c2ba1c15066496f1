/* SPDX-License-Identifier: ISC */
/* One message as it streams in. */
#ifndef RUN_RECEIVE_H
#define RUN_RECEIVE_H

#include "run/retrieval.h"

/* The reply to the next RETR, and the message behind it, which is held then.
 * What is wrong with one message is reported; -1 when the session or the place
 * is lost. */
int receive_message(
    struct retrieval *r, const struct client_reply *reply, struct err *err);

/* Octets that the message may bring, whatever its listing says: an endless one
 * must end. */
uint64_t receive_limit(const struct retrieval *r, uint32_t index);

#endif
