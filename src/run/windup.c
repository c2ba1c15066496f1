/* SPDX-License-Identifier: ISC */
/* The end of a retrieval, when it is no good one. */
#include <stdlib.h>

#include "base/log.h"
#include "base/wait.h"
#include "run/batch.h"
#include "run/held.h"
#include "run/proof.h"
#include "run/retrieval.h"
#include "run/trouble.h"

#define DRAIN_TIME 5000 /* milliseconds to get back into step */
#define STOP_TIME 1000	/* the same after a request to stop */

/* Replies were forged: whatever was recorded since the session was last in
 * step may be another message's text.  Twice is better than lost. */
static void
undo_unproven(struct retrieval *r)
{
	size_t n = r->n_recorded - r->n_proven;

	for (size_t i = r->n_proven; i < r->n_recorded; i++)
		seen_undo(r->fetch->seen, r->recorded[i]);
	if (n > 0)
		log_say(LOG_AT_WARNING,
		    "%zu messages of this session cannot be trusted; they "
		    "will be fetched again",
		    n);
}

/* What was received whole is kept, unless only a proof could have told that it
 * is what was asked for. */
static void
keep_whole(struct retrieval *r, const struct err *why)
{
	struct err err;

	if (proof_is_frequent(r) && r->unmeasured)
		return;
	/* The line was lost behind it, and it has its listed size: no
	 * status line is needed to believe that it is whole. */
	if (why->class == ERR_TEMPFAIL && !held_is_suspect(r) &&
	    !retrieval_time_is_up(r) && held_stage(r, &err) == -1) {
		fetch_report(r->fetch, &err);
		return;
	}
	if (batch_commit(r, &err) == -1)
		fetch_report(r->fetch, &err);
}

/* One of them did it, and must not be in the way of the others again. */
static void
distrust_unproven(struct retrieval *r)
{
	for (size_t i = r->proven; i < r->next_reply; i++)
		trouble_broke(r, r->wanted[i]);
}

/* Whose attempt was it that had no end? */
static void
blame(struct retrieval *r, bool stopped)
{
	if (r->tried == LISTING_NONE)
		return;
	if (stopped)
		trouble_failed(r, r->tried, DELIVER_DEFERRED);
	else if (!r->place_failed)
		trouble_broke(r, r->tried);
}

static void
find_fault(struct retrieval *r, const struct err *why, bool stopped)
{
	if (r->forged && proof_is_frequent(r)) {
		distrust_unproven(r);
		return;
	}
	proof_settle_refusals(r);
	if (why->class == ERR_PROTOCOL && !stopped)
		held_distrust(r);
	if (!r->forged)
		blame(r, stopped);
}

void
retrieval_wind_up(struct retrieval *r, const struct err *why)
{
	struct err ignored;
	bool stopped = wait_stop_signal() != 0;

	if (stopped)
		wait_grace(STOP_TIME);
	if (r->forged)
		undo_unproven(r);
	else if (!stopped && !r->place_failed)
		keep_whole(r, why);
	find_fault(r, why, stopped);
	held_drop(r);
	conn_limit(r->fetch->session.conn, stopped ? STOP_TIME : DRAIN_TIME);
	if (client_in_step(retrieval_client(r)))
		proof_drain(r, &ignored);
}
