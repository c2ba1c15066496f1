/* SPDX-License-Identifier: ISC */
/* A server that gave its messages new unique-ids. */
#ifndef RUN_RENUMBER_H
#define RUN_RENUMBER_H

#include "run/fetch.h"

/* Behind all else that tells who is who: among the unknown messages, find by
 * their headers those that are known and not listed, and say so.  What may be
 * one and cannot be told is marked as unsettled. */
int renumber_settle(struct fetch *fetch, struct err *err);

#endif
