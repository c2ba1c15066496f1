/* SPDX-License-Identifier: ISC */
/*
 * A server that does not double the dots of a message lets its sender forge
 * the end of it, and even replies behind that, so that each later message
 * would pass for its successor.  One that leaves a reply out, or says one too
 * many, does the same by itself.  Four things catch it.  A message is staged
 * only when a status line stands behind it.  In a pipeline a proof is asked
 * for among the messages, and a batch committed only when that was given;
 * without one, where anything was odd, before the last batch and all
 * deletions.  A message that has not its listed size stops the pipeline until
 * there is proof, unless that has shown that sizes lie here.  And one that
 * begins with a status line must have its listed size.
 *
 * The proof is a row of questions, each of them STAT or NOOP by the toss of a
 * coin.  Their answers are told apart by what only STAT's have: the count.
 * Who wrote the answers beforehand, into a message, has to guess every toss;
 * nor do the answers to one row fit the next.  The last question is STAT in
 * any case: then no row that is answered too early or too late can fit,
 * whatever the coins said.  The octets of STAT prove nothing: some servers
 * count anew what they have given out.
 *
 * Without pipelining each question is a round trip, and few of them do: with
 * one command in flight, an answer that was written beforehand must also come
 * just then.  One that is here before its question, or together with another,
 * is unasked input.
 */
#include "run/proof.h"

#include <stdlib.h>

#include "run/batch.h"
#include "run/deletion.h"
#include "run/held.h"
#include "run/receive.h"
#include "run/trouble.h"

/* Tosses in a row; each message that stands alone between two of them takes
 * guessing both. */
#define TOSSES 16
#define TOSSES_ALONE 8
#define TOSSES_IN_TURN 3 /* without pipelining */

bool
proof_is_frequent(const struct retrieval *r)
{
	return retrieval_is_pipelined(r) || r->cautious;
}

/* With one command in flight, and that never refused, nothing but the message
 * that is held can be wrong. */
int
proof_out_of_step(struct retrieval *r, struct err *err)
{
	r->forged = r->forged || r->n_not_given > 0 || proof_is_frequent(r);
	client_give_up(retrieval_client(r));
	return err_set(err, ERR_PROTOCOL,
	    "retrieval: the server's answers do not fit what was asked; "
	    "perhaps it does not double the dots of a message");
}

void
proof_settle_refusals(struct retrieval *r)
{
	for (size_t i = 0; i < r->n_not_given; i++)
		trouble_failed(r, r->not_given[i], DELIVER_DEFERRED);
	r->n_not_given = 0;
}

/* Does it say what only STAT says?  NOOP may be refused: not all servers know
 * it. */
static bool
has_count(const struct retrieval *r, const struct client_reply *reply,
    uint64_t *octets)
{
	uint64_t count;

	return reply->ok &&
	    parse_stat(reply->text, reply->text_len, &count, octets) &&
	    count == r->fetch->listing.count;
}

/* Where one message is all there is, its number and size may be the same.  Some
 * servers count octets anew when they give out unique-ids, as their LIST
 * shows. */
bool
proof_answers_stat(const struct retrieval *r, const struct client_reply *reply)
{
	const struct listing *listing = &r->fetch->listing;
	uint64_t octets;

	return listing->count > 1 &&
	    listing->octets != LISTING_OCTETS_UNKNOWN &&
	    has_count(r, reply, &octets) &&
	    (octets == listing->octets || octets == listing->octets_listed);
}

bool
proof_is_next(const struct retrieval *r)
{
	enum client_command next = client_next(retrieval_client(r));

	return next == CMD_STAT || next == CMD_NOOP;
}

static int
refute(struct retrieval *r, struct err *err)
{
	r->forged = true;
	return proof_out_of_step(r, err);
}

/* A word of a message where an answer was due.  Where sizes tell, it may be the
 * server's slip, and what came before it is whole. */
int
proof_no_reply(struct retrieval *r, struct err *err)
{
	if (err->class == ERR_PROTOCOL &&
	    (proof_is_next(r) || (proof_is_frequent(r) && r->unmeasured)))
		r->forged = true;
	return err_prefix(err, "retrieval");
}

/* All is answered as it should be: what came before is what was asked. */
int
proof_take(
    struct retrieval *r, const struct client_reply *reply, struct err *err)
{
	bool was_unmeasured = r->unmeasured;
	uint64_t octets;

	if (has_count(r, reply, &octets) != (reply->command == CMD_STAT))
		return refute(r, err);
	if (proof_is_next(r))
		return 0;
	if (client_unasked_input(retrieval_client(r)))
		return refute(r, err);
	r->sizes_lie = r->sizes_lie || held_is_suspect(r);
	r->inexact = false;
	r->unmeasured = false;
	proof_settle_refusals(r);
	r->proven = r->next_reply;
	if (held_stage(r, err) == -1)
		return -1;
	/* Should the line break, only this proof speaks for them. */
	if ((was_unmeasured ? batch_commit(r, err)
			    : batch_commit_if_due(r, err)) == -1)
		return -1;
	r->n_proven = r->n_recorded;
	return 0;
}

static int
discard(void *context, const char *data, size_t n, struct err *err)
{
	(void)context;
	(void)data;
	(void)n;
	(void)err;
	return 0;
}

int
proof_drain(struct retrieval *r, struct err *err)
{
	struct client *client = retrieval_client(r);
	struct client_body body = {.sink = discard};
	struct client_reply reply;
	size_t next = r->next_reply;

	client_drop_unsent(client);
	while (client_queued(client) > 0) {
		if (client_reply(client, &reply, err) == -1)
			return -1;
		if (reply.command == CMD_RETR)
			body.limit = receive_limit(r, r->wanted[next++]);
		if (reply.command == CMD_DELE)
			deletion_take(r, &reply);
		else if (reply.ok && reply.command == CMD_RETR &&
		    client_body(client, &body, err) == -1)
			return -1;
	}
	return 0;
}

/* By itself, with nothing else in flight. */
static int
take_proof_alone(struct retrieval *r, struct err *err)
{
	struct client *client = retrieval_client(r);
	struct client_reply reply;

	for (proof_ask(r); client_queued(client) > 0;) {
		if (client_unasked_input(client))
			return refute(r, err);
		if (client_reply(client, &reply, err) == -1)
			return proof_no_reply(r, err);
		if (proof_take(r, &reply, err) == -1)
			return -1;
	}
	return 0;
}

/*
 * A message has not its listed size.  Do sizes lie here, or is that another
 * one, or not its end?  What is in flight is asked for once more when that is
 * clear.
 */
int
proof_demand(struct retrieval *r, struct err *err)
{
	/* What came before it, one by one, is not in doubt. */
	if (!retrieval_is_pipelined(r) && r->n_not_given == 0)
		r->n_proven = r->n_recorded;
	if (proof_drain(r, err) == -1) {
		held_distrust(r);
		return err_prefix(err, "retrieval");
	}
	if (r->next > r->drained)
		r->drained = r->next;
	r->next = r->next_reply;
	if (take_proof_alone(r, err) == 0)
		return 0;
	if (!r->forged || !proof_is_frequent(r))
		held_distrust(r);
	return -1;
}

static size_t
count_tosses(const struct retrieval *r)
{
	if (!retrieval_is_pipelined(r))
		return TOSSES_IN_TURN;
	return r->unproven > 1 ? TOSSES : TOSSES_ALONE;
}

void
proof_ask(struct retrieval *r)
{
	size_t n = count_tosses(r);
	uint32_t coins = arc4random();
	struct err never;

	for (size_t i = 0; i < n; i++)
		client_queue(retrieval_client(r),
		    (coins >> i & 1) != 0 ? CMD_STAT : CMD_NOOP, NULL, &never);
	client_queue(retrieval_client(r), CMD_STAT, NULL, &never);
	r->asked_for_proof = true;
	r->unproven = 0;
	r->unproven_octets = 0;
}

/* In one flight with the messages it costs nothing.  The first message is asked
 * for by itself: it tells whether sizes lie. */
void
proof_queue(struct retrieval *r)
{
	if (!proof_is_frequent(r))
		return;
	if (r->asked_for_proof && r->next < r->n_wanted &&
	    r->unproven < r->proof_messages &&
	    r->unproven_octets < PROOF_OCTETS)
		return;
	proof_ask(r);
}
