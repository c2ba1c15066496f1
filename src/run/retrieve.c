/* SPDX-License-Identifier: ISC */
/* Retrieval in a window: the order of commands and replies. */
#include <stdlib.h>

#include "base/mem.h"
#include "base/wait.h"
#include "run/batch.h"
#include "run/deletion.h"
#include "run/held.h"
#include "run/proof.h"
#include "run/receive.h"
#include "run/retrieval.h"
#include "run/trouble.h"

#define QUEUE_MAX 4096 /* commands ahead; the window is smaller */

void
retrieval_complain(struct retrieval *r, uint32_t number, struct err *err)
{
	err_prefix(err, "message %u", number);
	r->fetch->counts.failed++;
	fetch_report(r->fetch, err);
}

bool
retrieval_time_is_up(const struct retrieval *r)
{
	return r->fetch->end != WAIT_FOREVER && wait_clock() >= r->fetch->end;
}

static void
top_up(struct retrieval *r)
{
	while (r->next < r->n_wanted &&
	    client_queued(retrieval_client(r)) < QUEUE_MAX) {
		const struct listing_message *message =
		    retrieval_message(r, r->wanted[r->next++]);
		uint64_t octets = message->octets != LISTING_OCTETS_UNKNOWN
		    ? message->octets
		    : 0;

		client_queue_message(
		    retrieval_client(r), CMD_RETR, message->number, octets);
		r->unproven++;
		/* A size without sense must not overflow. */
		r->unproven_octets +=
		    octets < PROOF_OCTETS ? octets : PROOF_OCTETS;
		proof_queue(r);
	}
}

/* Waiting for the answer to a RETR is a part of the attempt. */
static int
try_next(struct retrieval *r, struct err *err)
{
	if (client_next(retrieval_client(r)) != CMD_RETR)
		return 0;
	return trouble_try(r, r->wanted[r->next_reply], err);
}

/* A status line proves that the message before it ended where it seemed to. */
static int
take_reply(struct retrieval *r, struct err *err)
{
	struct client_reply reply;

	if (wait_check(err) == -1)
		return -1;
	if (retrieval_time_is_up(r))
		return err_set(err, ERR_TEMPFAIL,
		    "retrieval: the time for the whole session is up");
	if (try_next(r, err) == -1)
		return -1;
	if (client_unasked_input(retrieval_client(r)))
		return proof_out_of_step(r, err);
	if (client_reply(retrieval_client(r), &reply, err) == -1)
		return proof_no_reply(r, err);
	if (reply.command == CMD_STAT || reply.command == CMD_NOOP)
		return proof_take(r, &reply, err);
	if (held_stage(r, err) == -1)
		return -1;
	if (!proof_is_frequent(r) && batch_commit_if_due(r, err) == -1)
		return -1;
	if (reply.command == CMD_DELE)
		deletion_take(r, &reply);
	if (reply.command == CMD_RETR)
		return receive_message(r, &reply, err);
	return 0;
}

static int
take_replies(struct retrieval *r, struct err *err)
{
	for (top_up(r); client_queued(retrieval_client(r)) > 0; top_up(r))
		if (take_reply(r, err) == -1)
			return -1;
	return 0;
}

/* Behind the last message there is no status line; nor may there be more. */
static int
prove_end(struct retrieval *r, struct err *err)
{
	if (r->inexact || r->n_not_given > 0) {
		proof_ask(r);
		if (take_replies(r, err) == -1)
			return -1;
	} else if (client_unasked_input(retrieval_client(r))) {
		return proof_out_of_step(r, err);
	}
	return held_stage(r, err);
}

void
retrieval_be_cautious(struct retrieval *r)
{
	r->cautious = true;
	r->proof_messages = 1;
}

int
retrieval_fetch(struct retrieval *r, struct err *err)
{
	if (take_replies(r, err) == -1 || prove_end(r, err) == -1 ||
	    batch_commit(r, err) == -1)
		return -1;
	held_renew_known(r);
	r->n_proven = r->n_recorded;
	r->proven = r->next_reply;
	return 0;
}

/* Messages that failed before come last, so that they stop no others, and
 * each is proven by itself. */
static int
retrieve(struct retrieval *r, struct err *err)
{
	r->n_wanted = r->fetch->plan.n_untroubled;
	if (retrieval_fetch(r, err) == -1)
		return -1;
	r->n_wanted = r->fetch->plan.n_wanted;
	retrieval_be_cautious(r);
	if (r->next < r->n_wanted && retrieval_fetch(r, err) == -1)
		return -1;
	if (trouble_judge(r, err) == -1 || deletion_queue(r, err) == -1)
		return -1;
	return take_replies(r, err);
}

void
retrieval_begin(struct retrieval *r, struct fetch *fetch,
    struct deliver *deliver, const char *target)
{
	const struct account *account = fetch->account;

	*r = (struct retrieval){
	    .fetch = fetch,
	    .deliver = deliver,
	    .target = target,
	    .msg = msg_new(),
	    .batch_max = deliver_batch_max(deliver),
	    .size_cap = account->skipsize < account->killsize
		? account->skipsize
		: account->killsize,
	    .tried = LISTING_NONE,
	};
	r->proof_messages =
	    r->batch_max > PROOF_MESSAGES ? PROOF_MESSAGES : r->batch_max;
	r->batch = mem_alloc(r->batch_max * sizeof(*r->batch));
}

void
retrieval_end(struct retrieval *r)
{
	batch_clear(r);
	free(r->batch);
	free(r->recorded);
	free(r->known);
	free(r->refused);
	free(r->not_given);
	free(r->due);
	msg_free(r->msg);
}

int
retrieve_messages(struct fetch *fetch, struct err *err)
{
	struct retrieval r;
	int status;

	retrieval_begin(&r, fetch, fetch->deliver, fetch->target);
	r.wanted = fetch->plan.wanted;
	for (size_t i = 0; i < fetch->plan.n_due; i++)
		deletion_add(
		    &r, fetch->plan.due[i].number, fetch->plan.due[i].seen);
	status = retrieve(&r, err);
	if (status == -1)
		retrieval_wind_up(&r, err);
	seen_attempts_over(fetch->seen);
	retrieval_end(&r);
	return status;
}
