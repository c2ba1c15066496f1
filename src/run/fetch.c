/* SPDX-License-Identifier: ISC */
#include "run/fetch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "base/wait.h"
#include "run/confine.h"
#include "run/login.h"
#include "run/secret.h"
#include "run/way.h"

#define DOUBT_TIME 86400 /* seconds for which a login proves a password */
#define LOGIN_DELAY_DEFAULT 300 /* seconds, if the server says no number */

/* Milliseconds that no command will live to see. */
#define MDA_TIMEOUT_NONE (INT64_MAX / 2)

/* Messages: from so many on, the answer to UIDL takes longer than a round
 * trip, in which LIST can follow it. */
#define LIST_WAITS_FROM 10000

/* So often may the line break at a message before it has to wait for a session
 * without deletions. */
#define BREAKS_BORNE 3

void
fetch_report(struct fetch *fetch, const struct err *err)
{
	struct event event = {.type = EVENT_ERROR, .err = *err};

	event_send(fetch->parent, &event);
}

static bool
is_dry(const struct fetch *fetch)
{
	return fetch->options->verb == FETCH_DRY_RUN;
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
	    .look_only = is_dry(fetch),
	};

	fetch->deliver = deliver_open(&params, err);
	if (fetch->deliver == NULL)
		return err_prefix(err, "deliver");
	return 0;
}

/* mpop's users never had to say "tls off"; tell those whom that stops. */
static void
hint_at_tls_default(const struct account *account, struct err *err)
{
	char other[ERR_HINT_MAX];

	/* A certificate that is refused is no reason to do without. */
	if (account->tls_was_said || account->tls == CONF_OFF ||
	    err->class == ERR_NOHOST || err->class == ERR_CONFIG ||
	    strstr(err->text, "certificate") != NULL)
		return;
	strlcpy(other, err->hint, sizeof(other));
	err_hint(err,
	    "%s%saccount %s says nothing of tls, which is on by default; "
	    "\"tls off\" and \"auth user\" restore mpop's way, without "
	    "protection",
	    other, other[0] != '\0' ? "; " : "", account->name);
}

/* It is most of what a large mailbox costs, and mostly for nothing.  In a small
 * one it would be a round trip more when it is needed after all. */
static bool
list_may_wait(const struct fetch *fetch)
{
	uint64_t likely = seen_knows_sizes(fetch->seen)
	    ? seen_last_session(fetch->seen)->count
	    : seen_count(fetch->seen);

	return fetch->account->only_new == CONF_ON && likely >= LIST_WAITS_FROM;
}

static int
log_in(struct fetch *fetch, const char *secret, struct err *err)
{
	struct session *session = &fetch->session;

	if (session_open(session, fetch->account, &fetch->options->session,
		fetch->end, err) == -1) {
		hint_at_tls_default(fetch->account, err);
		return -1;
	}
	fetch->listing.list_waits = list_may_wait(fetch);
	fetch->listing.wants_sizes = fetch->account->keep == CONF_KEEP_OFF;
	if (login_queue(session, secret, err) == -1)
		return -1;
	if (login_may_queue_ahead(session) &&
	    listing_queue(&fetch->listing, session, err) == -1)
		return -1;
	if (login_finish(session, secret, err) == -1)
		return -1;
	if (client_queued(session->client) == 0 &&
	    listing_queue(&fetch->listing, session, err) == -1)
		return -1;
	return listing_read(&fetch->listing, session, fetch->seen, err);
}

/* Does the account log in without any? */
static bool
needs_secret(const struct account *account)
{
	const struct method *named = method_named(account->auth);

	return named == NULL || method_needs_secret(named);
}

/* A token that the server refuses may just be too old: the command that gave
 * it is asked once more. */
static int
log_in_renewed(struct fetch *fetch, char **secret, struct err *err)
{
	char *fresh = secret_renew(fetch->account, *secret);

	if (fresh == NULL)
		return -1;
	log_say(LOG_AT_VERBOSE, "%s; once more, with a new token", err->text);
	mem_free_secret(*secret);
	*secret = fresh;
	session_close(&fetch->session);
	return log_in(fetch, *secret, err);
}

/*
 * A busy server may refuse a login in the words for a wrong password.  Where
 * the same account was let in not long ago, that is what is more likely.
 */
static void
doubt_refusal(const struct fetch *fetch, struct err *err)
{
	time_t last = seen_last_session(fetch->seen)->time;

	if (!fetch->session.is_doubtful || err->class != ERR_NOPERM ||
	    last == 0 || last > fetch->now || fetch->now - last > DOUBT_TIME)
		return;
	err->class = ERR_TEMPFAIL;
	err_hint(err,
	    "such a server says so when it is busy, too, and it let this user "
	    "in less than a day ago: wait, unless the password is another now");
}

/* "2026-11-26 03:05:00" */
static char *
describe_time(time_t when, char *dst, size_t size)
{
	struct tm tm;

	if (localtime_r(&when, &tm) == NULL ||
	    strftime(dst, size, "%Y-%m-%d %H:%M:%S", &tm) == 0)
		strlcpy(dst, "some day", size);
	return dst;
}

/* Too early for this server: the next runs are not to try again in vain. */
static void
note_login_delay(struct fetch *fetch, struct err *err)
{
	const struct session *session = &fetch->session;
	struct err flush_err;
	char when[32];

	if (session->refusal != RESP_LOGIN_DELAY ||
	    fetch->options->verb == FETCH_DRY_RUN)
		return;
	seen_login_delayed(fetch->seen,
	    session->capa.login_delay > 0 ? (uint64_t)session->capa.login_delay
					  : LOGIN_DELAY_DEFAULT);
	if (seen_flush(fetch->seen, false, &flush_err) == -1)
		log_say(LOG_AT_WARNING, "state: %s", flush_err.text);
	else if (seen_login_after(fetch->seen) != 0)
		err_hint(err, "until %s, runs off a terminal do not try again",
		    describe_time(
			seen_login_after(fetch->seen), when, sizeof(when)));
}

/* Who sits at a terminal may know better. */
static int
respect_login_delay(const struct fetch *fetch, struct err *err)
{
	time_t when = seen_login_after(fetch->seen);
	char text[32];

	if (when == 0 || fetch->options->session.in_hurry)
		return 0;
	err_set(err, ERR_TEMPFAIL,
	    "login: the server has refused one as too early; the next is due "
	    "at %s",
	    describe_time(when, text, sizeof(text)));
	err->quiet = true;
	return -1;
}

static int
connect_account(struct fetch *fetch, struct err *err)
{
	char *secret = NULL;
	int status;

	if (needs_secret(fetch->account)) {
		secret = secret_get(fetch->account, fetch->parent, err);
		if (secret == NULL)
			return err_prefix(err, "login");
	}
	/* A command that renews a token may have to write it down. */
	if (!secret_is_renewable(fetch->account))
		confine_writes(fetch);
	status = log_in(fetch, secret, err);
	if (status == -1 && fetch->session.token_refused)
		status = log_in_renewed(fetch, &secret, err);
	mem_free_secret(secret);
	way_forget(fetch->account);
	confine_all(fetch);
	if (status == -1) {
		doubt_refusal(fetch, err);
		note_login_delay(fetch, err);
	}
	return status;
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

struct plan_message
fetch_describe(const struct fetch *fetch, const struct listing_entry *entry)
{
	const struct listing_message *attended =
	    listing_attended(&fetch->listing, entry);
	struct plan_message message = {.octets = PLAN_OCTETS_UNKNOWN};
	uint32_t known = listing_known(&fetch->listing, entry);

	if (attended != NULL)
		message.octets = attended->octets;
	if (known != LISTING_NONE) {
		const struct seen_message *seen = seen_at(fetch->seen, known);

		message.known = true;
		message.may_delete =
		    (seen->flags & (SEEN_MARKED | SEEN_REBUILT)) == 0;
		message.delivered = seen->time;
		if (message.octets == PLAN_OCTETS_UNKNOWN &&
		    seen->octets != SEEN_OCTETS_UNKNOWN)
			message.octets = seen->octets;
	}
	return message;
}

static bool
fits_into_session(const struct fetch *fetch, uint64_t octets)
{
	const struct account *account = fetch->account;
	const struct fetch_plan *plan = &fetch->plan;

	if (account->max_messages != 0 &&
	    plan->n_wanted >= account->max_messages)
		return false;
	/* The first one always fits, or it would never be fetched. */
	return account->max_bytes == CONF_SIZE_OFF || plan->n_wanted == 0 ||
	    plan->octets + octets <= account->max_bytes;
}

static void
say_plan(const struct fetch *fetch, const struct listing_entry *entry,
    enum plan_action action, const char *why)
{
	struct event event = {.type = EVENT_RESULT};
	const struct listing_message *attended =
	    listing_attended(&fetch->listing, entry);
	struct plan_message message = fetch_describe(fetch, entry);
	char size[16] = "?";
	const char *id = "";

	if (message.octets != PLAN_OCTETS_UNKNOWN)
		text_of_size(size, sizeof(size), message.octets);
	if (attended != NULL)
		id = listing_id(&fetch->listing, attended);
	snprintf(event.text, sizeof(event.text), "%s %u %s (%s)%s%.1000s",
	    plan_action_word(action), entry->number, size, why,
	    id[0] != '\0' ? " " : "", id);
	event.text[log_masked(event.text, strlen(event.text))] = '\0';
	event_send(fetch->parent, &event);
}

uint32_t
fetch_attend(struct fetch *fetch, struct listing_entry *entry)
{
	uint32_t index = listing_attend(&fetch->listing, entry);

	fetch->listing.messages[index].octets =
	    fetch_describe(fetch, entry).octets;
	return index;
}

static int
want(struct fetch *fetch, struct listing_entry *entry, struct err *err)
{
	struct fetch_plan *plan = &fetch->plan;
	uint32_t index = fetch_attend(fetch, entry);

	plan->wanted =
	    mem_room(plan->wanted, plan->n_wanted, sizeof(*plan->wanted));
	plan->wanted[plan->n_wanted++] = index;
	return identify_name(fetch, &fetch->listing.messages[index], err);
}

/* How it failed when it was tried last, NULL if it did not. */
static const struct seen_trouble *
trouble_of(const struct fetch *fetch, const struct listing_entry *entry)
{
	const struct listing *listing = &fetch->listing;

	if (listing_known(listing, entry) != LISTING_NONE)
		return NULL;
	return seen_trouble(
	    fetch->seen, listing_id(listing, listing_attended(listing, entry)));
}

/* Deletions act at QUIT: a message that never lets the session come to that
 * would keep them off for ever. */
static bool
endangers_deletions(
    const struct fetch *fetch, const struct listing_entry *entry)
{
	const struct seen_trouble *trouble = trouble_of(fetch, entry);
	const struct fetch_plan *plan = &fetch->plan;

	return trouble != NULL && trouble->breaks >= BREAKS_BORNE &&
	    (plan->n_due > 0 ||
		(plan_delete_after_delivery(&fetch->settings) &&
		    plan->n_untroubled > 0));
}

static void
leave_for_later(struct fetch *fetch, uint32_t number, const char *why)
{
	struct err err;

	fetch->counts.failed++;
	err_set(&err, ERR_TEMPFAIL, "message %u: left for a later run: %s",
	    number, why);
	fetch_report(fetch, &err);
}

static int
plan_entry(struct fetch *fetch, struct listing_entry *entry, struct err *err)
{
	struct fetch_plan *plan = &fetch->plan;
	struct plan_message message = fetch_describe(fetch, entry);
	uint64_t octets =
	    message.octets != PLAN_OCTETS_UNKNOWN ? message.octets : 0;
	const char *why;
	enum plan_action action = plan_decide(&fetch->settings, &message, &why);

	if (action == PLAN_FETCH && endangers_deletions(fetch, entry)) {
		action = PLAN_SKIP;
		why = "the connection breaks at it, and others are to be "
		      "deleted";
		if (!is_dry(fetch))
			leave_for_later(fetch, entry->number, why);
	} else if (action == PLAN_FETCH && !fits_into_session(fetch, octets)) {
		action = PLAN_SKIP;
		why = "over max_messages or max_bytes, the next run's";
	}
	if (is_dry(fetch))
		say_plan(fetch, entry, action, why);
	if (action == PLAN_DELETE) {
		plan->due =
		    mem_room(plan->due, plan->n_due, sizeof(*plan->due));
		plan->due[plan->n_due++] = (struct fetch_due){
		    entry->number, listing_known(&fetch->listing, entry)};
	}
	if (action != PLAN_FETCH)
		return 0;
	plan->octets += octets;
	return want(fetch, entry, err);
}

/* All entries that failed before, or all that did not. */
static int
plan_entries(struct fetch *fetch, bool failed, struct err *err)
{
	struct listing *listing = &fetch->listing;

	for (size_t i = 0; i < listing->n; i++) {
		size_t at =
		    fetch->account->newest_first ? listing->n - 1 - i : i;
		struct listing_entry *entry = &listing->entries[at];

		if ((trouble_of(fetch, entry) != NULL) == failed &&
		    plan_entry(fetch, entry, err) == -1)
			return -1;
	}
	return 0;
}

struct troubled {
	uint64_t turn;
	uint32_t message;
};

static int
compare_turns(const void *a, const void *b)
{
	const struct troubled *x = a, *y = b;

	return (x->turn > y->turn) - (x->turn < y->turn);
}

/* The one that failed last comes last: whatever ends the session at it, the
 * others have their turns. */
static void
order_troubled(struct fetch *fetch)
{
	uint32_t *wanted = fetch->plan.wanted + fetch->plan.n_untroubled;
	size_t n = fetch->plan.n_wanted - fetch->plan.n_untroubled;
	struct troubled *troubled = mem_alloc((n + 1) * sizeof(*troubled));

	for (size_t i = 0; i < n; i++) {
		const struct seen_trouble *known = seen_trouble(fetch->seen,
		    listing_id(
			&fetch->listing, &fetch->listing.messages[wanted[i]]));

		troubled[i] = (struct troubled){
		    known != NULL ? known->turn : 0, wanted[i]};
	}
	qsort(troubled, n, sizeof(*troubled), compare_turns);
	for (size_t i = 0; i < n; i++)
		wanted[i] = troubled[i].message;
	free(troubled);
}

static int
plan_troubled(struct fetch *fetch, struct err *err)
{
	if (!seen_has_troubles(fetch->seen))
		return 0;
	if (plan_entries(fetch, true, err) == -1)
		return -1;
	order_troubled(fetch);
	return 0;
}

static int
make_plan(struct fetch *fetch, struct err *err)
{
	struct event event = {.type = EVENT_PLAN};

	if (seen_settle_attempt(fetch->seen, err) == -1)
		return err_prefix(err, "state");
	if (plan_entries(fetch, false, err) == -1)
		return -1;
	fetch->plan.n_untroubled = fetch->plan.n_wanted;
	if (plan_troubled(fetch, err) == -1)
		return -1;
	event.counts.messages = fetch->plan.n_wanted;
	event.counts.octets = fetch->plan.octets;
	event.counts.deleted = fetch->plan.n_due;
	if (plan_delete_after_delivery(&fetch->settings))
		event.counts.deleted += fetch->plan.n_wanted;
	event.counts.listed = fetch->listing.n;
	fetch->counts.listed = fetch->listing.n;
	event_send(fetch->parent, &event);
	return 0;
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
		log_say(LOG_AT_VERBOSE,
		    "no QUIT: with EXPIRE 0 the server would delete all that "
		    "it has given out, and not all of that was kept");
	else
		quit(fetch);
}

static int
carry_out(struct fetch *fetch, struct err *err)
{
	struct err flush_err;
	int status = 0;

	if (!is_dry(fetch)) {
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
	    respect_login_delay(fetch, err) == -1 ||
	    open_place(fetch, err) == -1 || connect_account(fetch, err) == -1)
		return -1;
	compare_expiry(fetch);
	choose_settings(fetch);
	if (complete_listing(fetch, err) == -1 ||
	    identify_messages(fetch, err) == -1 || make_plan(fetch, err) == -1)
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
