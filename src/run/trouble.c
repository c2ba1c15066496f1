/* SPDX-License-Identifier: ISC */
/*
 * Messages that fail.  One that has failed goes last in the next run, and one
 * that has failed too often through its own fault goes into the quarantine: a
 * Maildir beside the state, raw, while it stays on the server.
 */
#include "run/trouble.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"

static const char *
id_of(const struct retrieval *r, uint32_t message)
{
	const struct listing *listing = &r->fetch->listing;

	return listing_id(listing, &listing->messages[message]);
}

/* A state that cannot be written is no place to go on from. */
int
trouble_try(struct retrieval *r, uint32_t message, struct err *err)
{
	if (r->tried == message)
		return 0;
	r->tried = LISTING_NONE;
	if (seen_attempt(r->fetch->seen, id_of(r, message), err) == -1) {
		r->place_failed = true;
		return err_prefix(err, "state");
	}
	r->tried = message;
	return 0;
}

void
trouble_tried(struct retrieval *r)
{
	r->tried = LISTING_NONE;
}

/* A run that is killed later must not forget it. */
static void
note(struct retrieval *r, uint32_t message, bool line_broke)
{
	struct err err;

	r->tried = LISTING_NONE;
	seen_failed(r->fetch->seen, id_of(r, message), line_broke);
	if (seen_flush(r->fetch->seen, false, &err) == -1)
		log_say(LOG_AT_VERBOSE, "state: %s", err.text);
}

void
trouble_failed(struct retrieval *r, uint32_t message, int status)
{
	note(r, message, false);
	if (status != DELIVER_REFUSED)
		return;
	r->refused = mem_room(r->refused, r->n_refused, sizeof(*r->refused));
	r->refused[r->n_refused++] = message;
}

void
trouble_broke(struct retrieval *r, uint32_t message)
{
	note(r, message, true);
}

/* -- quarantine -- */

/* Moves those that had their chances to the front of refused; how many. */
static size_t
choose_hopeless(struct retrieval *r)
{
	uint64_t limit = r->fetch->account->quarantine_after;
	size_t n = 0;

	for (size_t i = 0; i < r->n_refused; i++) {
		const char *id = id_of(r, r->refused[i]);
		const struct seen_trouble *trouble;

		seen_blame(r->fetch->seen, id);
		trouble = seen_trouble(r->fetch->seen, id);
		if (limit != 0 && trouble != NULL && trouble->blamed >= limit)
			r->refused[n++] = r->refused[i];
	}
	return n;
}

/* They count as failed in this run already. */
static void
tell(const struct retrieval *r, const char *directory)
{
	for (size_t i = 0; i < r->n_wanted; i++) {
		uint32_t message = r->wanted[i];
		struct err err;

		if (seen_trouble(r->fetch->seen, id_of(r, message)) != NULL)
			continue;
		err_set(&err, ERR_TEMPFAIL,
		    "message %u: failed too often; it now lies in %s, stays "
		    "on the server, and is not tried again",
		    r->fetch->listing.messages[message].number, directory);
		fetch_report(r->fetch, &err);
	}
}

/* A quarantine that cannot be had is no reason to end the session. */
static struct deliver *
open_quarantine(struct fetch *fetch, const char *directory)
{
	const struct deliver_params params = {
	    .kind = DELIVER_MAILDIR,
	    .target = directory,
	    .account = fetch->account->name,
	    .user = fetch->account->user,
	    .host = fetch->account->host,
	};
	struct err err;
	struct deliver *deliver = deliver_open(&params, &err);

	if (deliver == NULL) {
		err_prefix(&err, "quarantine");
		fetch_report(fetch, &err);
	}
	return deliver;
}

/* Nor is one that fails, as long as the server is not concerned. */
static int
fetch_aside(struct retrieval *aside, struct err *err)
{
	struct client *client = retrieval_client(aside);

	if (retrieval_fetch(aside, err) == 0)
		return 0;
	retrieval_wind_up(aside, err);
	err_prefix(err, "quarantine");
	/* Replies to the retrieval that failed are nobody else's. */
	if (client_queued(client) > 0)
		client_give_up(client);
	if (!client_in_step(client))
		return -1;
	fetch_report(aside->fetch, err);
	return 0;
}

static int
set_aside(struct retrieval *r, size_t n, struct err *err)
{
	struct fetch *fetch = r->fetch;
	char *directory = mem_printf("%s.quarantine", seen_path(fetch->seen));
	char *target = mem_printf("maildir %s", directory);
	struct deliver *deliver = open_quarantine(fetch, directory);
	struct retrieval aside;
	int status = 0;

	if (deliver != NULL) {
		retrieval_begin(&aside, fetch, deliver, target);
		aside.is_quarantine = true;
		retrieval_be_cautious(&aside);
		aside.wanted = r->refused;
		aside.n_wanted = n;
		status = fetch_aside(&aside, err);
		tell(&aside, directory);
		retrieval_end(&aside);
	}
	deliver_close(deliver);
	free(target);
	free(directory);
	return status;
}

int
trouble_judge(struct retrieval *r, struct err *err)
{
	size_t n;

	/* Where nothing else went well either, the way is to blame. */
	if (r->fetch->counts.messages == 0 || r->n_refused == 0)
		return 0;
	n = choose_hopeless(r);
	return n > 0 ? set_aside(r, n, err) : 0;
}
