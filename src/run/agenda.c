/* SPDX-License-Identifier: ISC */
#include "run/agenda.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"

/* So often may the line break at a message before it has to wait for a session
 * without deletions. */
#define BREAKS_BORNE 3

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

/* It is known, and did not show whether it still is that message. */
static bool
cannot_be_told(const struct fetch *fetch, const struct listing_entry *entry)
{
	const struct listing_message *attended =
	    listing_attended(&fetch->listing, entry);

	return attended != NULL && attended->unsettled &&
	    attended->seen != LISTING_NONE;
}

/* Why what is planned has to wait for a later run, NULL if it has not. */
static const char *
reason_to_wait(const struct fetch *fetch, const struct listing_entry *entry,
    enum plan_action action)
{
	if (action == PLAN_DELETE && cannot_be_told(fetch, entry))
		return "the server does not show that it still is what was "
		       "delivered";
	if (action == PLAN_FETCH && endangers_deletions(fetch, entry))
		return "the connection breaks at it, and others are to be "
		       "deleted";
	return NULL;
}

static int
plan_entry(struct fetch *fetch, struct listing_entry *entry, struct err *err)
{
	struct fetch_plan *plan = &fetch->plan;
	struct plan_message message = fetch_describe(fetch, entry);
	uint64_t octets =
	    message.octets != PLAN_OCTETS_UNKNOWN ? message.octets : 0;
	const char *why, *later;
	enum plan_action action = plan_decide(&fetch->settings, &message, &why);

	later = reason_to_wait(fetch, entry, action);
	if (later != NULL) {
		action = PLAN_SKIP;
		why = later;
		if (!fetch_is_dry(fetch))
			leave_for_later(fetch, entry->number, why);
	} else if (action == PLAN_FETCH && !fits_into_session(fetch, octets)) {
		action = PLAN_SKIP;
		why = "over max_messages or max_bytes, the next run's";
	}
	if (fetch_is_dry(fetch))
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

int
agenda_make(struct fetch *fetch, struct err *err)
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
