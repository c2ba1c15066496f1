/* SPDX-License-Identifier: ISC */
#include "run/fetch.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "base/wait.h"
#include "run/agenda.h"
#include "run/connect.h"
#include "run/way.h"

/* Milliseconds that no command will live to see. */
#define MDA_TIMEOUT_NONE (INT64_MAX / 2)

void
fetch_report(struct fetch *fetch, const struct err *err)
{
	struct event event = {.type = EVENT_ERROR, .err = *err};

	event_send(fetch->parent, &event);
}

static int
open_place(struct fetch *fetch, struct err *err)
{
	const struct account *account = fetch->account;
	struct deliver_params params = {
	    .kind = account->delivery.kind,
	    .target = account->delivery.target,
	    .account = account->name,
	    .user = account->user,
	    .host = account->server,
	    .mda_timeout = account->mda_timeout != 0
		? (int64_t)account->mda_timeout * 1000
		: MDA_TIMEOUT_NONE,
	    .until = fetch->end,
	    .delivered = seen_delivered_to(fetch->seen, fetch->target),
	    .look_only = fetch_is_dry(fetch),
	};

	fetch->deliver = deliver_open(&params, err);
	if (fetch->deliver == NULL)
		return err_prefix(err, "deliver");
	return 0;
}

/* The server deletes by itself (RFC 2449, section 6.7), perhaps sooner than
 * the account wants to keep. */
static void
compare_expiry(const struct fetch *fetch)
{
	const struct account *account = fetch->account;
	long long days = fetch->session.capa.expire_days;
	bool is_time = account->keep == CONF_KEEP_TIME;
	char kept[64] = "on", when[64] = "as soon as they are fetched";

	if (days < 0 || account->keep == CONF_KEEP_OFF ||
	    (is_time && account->keep_seconds <= (uint64_t)days * 86400))
		return;
	if (is_time)
		text_of_duration(kept, sizeof(kept), account->keep_seconds);
	if (days > 0)
		snprintf(
		    when, sizeof(when), "%lld days after they have come", days);
	log_say(is_time ? LOG_AT_WARNING : LOG_AT_NOTICE,
	    "keep %s: the server says that it deletes messages by itself %s",
	    kept, when);
}

static void
choose_settings(struct fetch *fetch)
{
	const struct account *account = fetch->account;
	const struct seen_session *last = seen_last_session(fetch->seen);
	uint64_t keep =
	    account->keep == CONF_KEEP_TIME ? account->keep_seconds : 0;
	/* A run that died before its first good session left records. */
	time_t heard = last->time != 0 ? last->time : last->newest;
	bool is_long_ago = heard != 0 && (uint64_t)(fetch->now - heard) > keep;

	fetch->settings = (struct plan_settings){
	    .only_new = account->only_new == CONF_ON,
	    .delete_delivered = account->keep == CONF_KEEP_OFF,
	    .keep_seconds = keep,
	    .killsize = account->killsize,
	    .skipsize = account->skipsize,
	    .now = fetch->now,
	    .clock_is_odd = fetch->now < last->newest || is_long_ago,
	};
	if (keep > 0 && fetch->settings.clock_is_odd)
		log_say(LOG_AT_VERBOSE,
		    "keep: the clock and the state do not fit together; "
		    "nothing is deleted by age in this run");
}

static bool
something_is_due(struct fetch *fetch)
{
	const struct listing *listing = &fetch->listing;

	if (!plan_may_delete_known(&fetch->settings))
		return false;
	for (size_t i = 0; i < listing->n; i++)
		if (identify_is_due(fetch, &listing->entries[i]))
			return true;
	return false;
}

/* LIST is left out where all is known and as it was. */
static int
complete_listing(struct fetch *fetch, struct err *err)
{
	const struct listing *listing = &fetch->listing;

	if (listing->n_messages == 0 && !listing_is_short(listing) &&
	    !something_is_due(fetch))
		return 0;
	return listing_complete(
	    &fetch->listing, &fetch->session, fetch->seen, err);
}

/* What was done is safe whatever QUIT says: no more than a warning. */
static void
quit(struct fetch *fetch)
{
	struct err err;

	if (session_quit(&fetch->session, &err))
		return;
	if (fetch->counts.deleted > 0)
		log_say(LOG_AT_WARNING,
		    "%s; %llu deletions are not confirmed, the next run looks "
		    "again",
		    err.text, (unsigned long long)fetch->counts.deleted);
	else
		log_say(LOG_AT_VERBOSE, "%s", err.text);
}

/* Everything listed was seen and made sense, and all was done. */
static void
note_session(struct fetch *fetch)
{
	const struct listing *listing = &fetch->listing;

	if (!listing_is_short(listing)) {
		seen_session_done(fetch->seen, listing->count, listing->octets);
		return;
	}
	log_say(LOG_AT_VERBOSE,
	    "listing: STAT counts %llu messages, and %zu are listed; what is "
	    "missing is not taken for gone",
	    (unsigned long long)listing->count, listing->n);
}

static void
end_well(struct fetch *fetch)
{
	resume_confirmed(fetch);
	note_session(fetch);
	resume_leave_unconfirmed(fetch);
}

/* With EXPIRE 0 a server deletes at QUIT whatever RETR has given out (RFC 2449,
 * section 6.7), also what has arrived nowhere. */
static bool
quit_would_lose(const struct fetch *fetch, int status)
{
	return fetch->session.capa.expire_days == 0 &&
	    (status == -1 || fetch->unkept);
}

static void
end_session(struct fetch *fetch, int status)
{
	if (!client_in_step(fetch->session.client) ||
	    client_queued(fetch->session.client) > 0)
		return;
	if (quit_would_lose(fetch, status))
		log_say(
		    fetch->counts.deleted > 0 ? LOG_AT_WARNING : LOG_AT_VERBOSE,
		    "no QUIT: with EXPIRE 0 the server would delete all that "
		    "it has given out, and not all of that was kept; "
		    "deletions wait for a later run");
	else
		quit(fetch);
}

static int
carry_out(struct fetch *fetch, struct err *err)
{
	struct err flush_err;
	int status = 0;

	if (!fetch_is_dry(fetch)) {
		status = retrieve_messages(fetch, err);
		if (status == 0)
			end_well(fetch);
		if (seen_flush(fetch->seen, false, &flush_err) == -1 &&
		    status == 0) {
			*err = flush_err;
			status = err_prefix(err, "state");
		}
	}
	end_session(fetch, status);
	return status;
}

static int
run(struct fetch *fetch, struct err *err)
{
	if (resume_state(fetch, err) == -1 ||
	    connect_respect_delay(fetch, err) == -1 ||
	    open_place(fetch, err) == -1 || connect_account(fetch, err) == -1)
		return -1;
	compare_expiry(fetch);
	choose_settings(fetch);
	if (complete_listing(fetch, err) == -1 ||
	    identify_messages(fetch, err) == -1 ||
	    agenda_make(fetch, err) == -1)
		return -1;
	return carry_out(fetch, err);
}

static void
clean_up(struct fetch *fetch)
{
	session_close(&fetch->session);
	deliver_close(fetch->deliver);
	seen_close(fetch->seen);
	listing_free(&fetch->listing);
	resume_free(fetch);
	free(fetch->plan.wanted);
	free(fetch->plan.due);
	free(fetch->target);
	log_forget();
}

static int64_t
end_of_session(const struct account *account)
{
	if (account->session_timeout == 0)
		return WAIT_FOREVER;
	return wait_clock() + (int64_t)account->session_timeout * 1000;
}

enum err_class
fetch_account(const struct account *account,
    const struct fetch_options *options, int parent,
    struct event_counts *counts)
{
	struct fetch fetch = {
	    .account = account,
	    .options = options,
	    .parent = parent,
	    .now = time(NULL),
	    .end = end_of_session(account),
	};
	enum err_class class = ERR_NONE;
	struct err err = {.class = ERR_SOFTWARE};

	fetch.target =
	    mem_printf("%s %s", deliver_kind_word(account->delivery.kind),
		account->delivery.target);
	if (run(&fetch, &err) == -1) {
		way_explain(&fetch.session, &err);
		fetch_report(&fetch, &err);
		class = err.class;
	} else if (fetch.listing.nonsense > 0) {
		class = ERR_PROTOCOL;
	} else if (fetch.counts.failed > 0 || fetch.listing.left_out > 0) {
		class = ERR_TEMPFAIL;
	}
	*counts = fetch.counts;
	clean_up(&fetch);
	return class;
}
