/* SPDX-License-Identifier: ISC */
/* The connection of an account, from its secret to its listing. */
#ifndef RUN_CONNECT_H
#define RUN_CONNECT_H

#include "run/fetch.h"

/* ERR_TEMPFAIL (quiet), before the time from which the server bears the next
 * login; not at a terminal, where somebody may know better. */
int connect_respect_delay(const struct fetch *fetch, struct err *err);

/* Get the secret, connect, log in and read the listing; on the way the process
 * gives up what it does not need any more.  A token that the server refuses is
 * renewed once. */
int connect_account(struct fetch *fetch, struct err *err);

#endif
