/* SPDX-License-Identifier: ISC */
/* Deletions: asked for last of all, as they take effect only at QUIT. */
#ifndef RUN_DELETION_H
#define RUN_DELETION_H

#include "run/retrieval.h"

/* Message number is to go; seen is its index in the state, LISTING_NONE for
 * one that is deleted unread. */
void deletion_add(struct retrieval *r, uint32_t number, uint32_t seen);

/* Queue a DELE for each; what they rest on is made durable before, and -1 says
 * that it could not be. */
int deletion_queue(struct retrieval *r, struct err *err);

/* The reply to the next one: counted and noted in the state, or complained
 * of. */
void deletion_take(struct retrieval *r, const struct client_reply *reply);

#endif
