/* SPDX-License-Identifier: ISC */
/* The proof that the server's answers are in step with what was asked. */
#ifndef RUN_PROOF_H
#define RUN_PROOF_H

#include "run/retrieval.h"

#define PROOF_MESSAGES 64      /* at most, from one proof to the next */
#define PROOF_OCTETS (1 << 20) /* the same in octets of listed sizes */

/* Is it asked for among the messages? */
bool proof_is_frequent(const struct retrieval *r);

/* Queue the questions of a proof; behind a RETR, only if one is due. */
void proof_ask(struct retrieval *r);
void proof_queue(struct retrieval *r);

/* Is the oldest command one of them? */
bool proof_is_next(const struct retrieval *r);

/* The reply to one of them.  If it fits and was the last one, what came before
 * is staged, and committed if due.  -1: out of step, or the place failed. */
int proof_take(
    struct retrieval *r, const struct client_reply *reply, struct err *err);

/*
 * The message that is held has not its listed size: take what is in flight, to
 * be asked for once more, and ask for proof by itself.  -1 when the session is
 * over.
 */
int proof_demand(struct retrieval *r, struct err *err);

/* Does a reply to RETR answer STAT instead? */
bool proof_answers_stat(
    const struct retrieval *r, const struct client_reply *reply);

/* What came instead of a reply, as err says, is it a word about step, too?
 * Always returns -1. */
int proof_no_reply(struct retrieval *r, struct err *err);

/* Fill err: the session is out of step, and over.  Always returns -1. */
int proof_out_of_step(struct retrieval *r, struct err *err);

/* It was indeed for those messages that the server had a no. */
void proof_settle_refusals(struct retrieval *r);

/* Take the replies that are still to come, and no message with them. */
int proof_drain(struct retrieval *r, struct err *err);

#endif
