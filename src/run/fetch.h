/* SPDX-License-Identifier: ISC */
/* One account, whole: what its parts share, in the order of a run. */
#ifndef RUN_FETCH_H
#define RUN_FETCH_H

#include <stdbool.h>
#include <time.h>

#include "base/err.h"
#include "conf/conf.h"
#include "mail/deliver.h"
#include "run/event.h"
#include "run/listing.h"
#include "run/plan.h"
#include "run/session.h"
#include "state/seen.h"

enum fetch_verb {
	FETCH_ALL,     /* fetch, deliver, delete */
	FETCH_DRY_RUN, /* say what would be done */
};

struct fetch_options {
	enum fetch_verb verb;
	struct session_options session;
	bool show_progress; /* somebody looks at EVENT_PROGRESS */
};

/* What a Maildir still holds of messages that a lost state knew. */
struct resume_found {
	uint64_t tag;
	uint64_t wire_octets;
	char *path;
};

/* The plan: indexes into listing.messages in the order of retrieval, and
 * known messages whose time has come. */
struct fetch_due {
	uint32_t number;
	uint32_t seen; /* LISTING_NONE: deleted unread */
};

struct fetch_plan {
	uint32_t *wanted;
	size_t n_wanted;
	size_t n_untroubled; /* of the wanted: behind them come those that
				failed when they were tried last */
	uint64_t octets;     /* of the wanted, as far as known */
	struct fetch_due *due;
	size_t n_due;
};

struct fetch {
	const struct account *account;
	const struct fetch_options *options;
	int parent; /* where events go */
	time_t now;
	int64_t end;  /* the clock (wait_clock) when all must be over */
	char *target; /* "maildir PATH", as the state knows it */
	struct seen *seen;
	struct deliver *deliver;
	struct session session;
	struct listing listing;
	struct plan_settings settings;
	struct fetch_plan plan;
	struct event_counts counts;
	bool unkept; /* something that RETR has given out came to nothing */
	bool state_was_new;
	struct resume_found *found; /* by rising tag */
	size_t n_found;
	bool confirming;     /* what was recognised waits for its header */
	uint32_t recognised; /* index of the first of these in the state */
};

/*
 * The whole run of one account: events go to parent, the last one of all
 * EVENT_END is left to the caller.  Returns the class of the exit code;
 * failures of single messages and of the account were told as EVENT_ERROR.
 */
enum err_class fetch_account(const struct account *account,
    const struct fetch_options *options, int parent,
    struct event_counts *counts);

/* It is to change nothing. */
static inline bool
fetch_is_dry(const struct fetch *fetch)
{
	return fetch->options->verb == FETCH_DRY_RUN;
}

/* Tell the parent of a failure. */
void fetch_report(struct fetch *fetch, const struct err *err);

/* resume.c: open the state, settle what a crash left, import what others
 * knew.  Needs no connection. */
int resume_state(struct fetch *fetch, struct err *err);

/* resume.c: with a state that is new or may lack records: recognise what the
 * Maildir holds already, in the latter case to be confirmed by its header.
 * After the messages got their ids. */
int resume_recognise(struct fetch *fetch, struct err *err);

/* resume.c: does this message of the state still need its header to confirm
 * it?  And the end of that, before and behind the note of a good session. */
bool resume_is_unconfirmed(const struct fetch *fetch, uint32_t index);
void resume_confirmed(struct fetch *fetch);
void resume_leave_unconfirmed(struct fetch *fetch);
void resume_free(struct fetch *fetch);

/* identify.c: settle who is who (PRODUCT section 8) where the listing leaves
 * a doubt, by asking for headers. */
int identify_messages(struct fetch *fetch, struct err *err);

/* identify.c: is it known, and does the plan say that it is deleted now?  Of
 * what was rebuilt its header may yet forbid that. */
bool identify_is_due(struct fetch *fetch, const struct listing_entry *entry);

/* identify.c: call a message by its header, and find the known one that it can
 * be: one that was deleted must have had the same size.  NULL: none. */
struct seen_message *identify_header(
    struct fetch *fetch, struct listing_message *message, uint64_t header_hash);

/* identify.c: record the size that a known message has now, its header where
 * that is not known, and that it is no mere guess from the Maildir; unless
 * header_hash is 0: nobody has looked at it. */
void identify_renew(struct fetch *fetch, const struct listing_message *message,
    uint64_t header_hash);

/* identify.c: give a known message its id, from the state. */
int identify_name(
    struct fetch *fetch, struct listing_message *message, struct err *err);

/* agenda.c: what the plan needs to know of a listed message. */
struct plan_message fetch_describe(
    const struct fetch *fetch, const struct listing_entry *entry);

/* agenda.c: listing_attend, with the octets of the message: if LIST said the
 * recorded ones of a known one, they were not kept. */
uint32_t fetch_attend(struct fetch *fetch, struct listing_entry *entry);

/*
 * retrieve.c: carry out the plan.  Failures of single messages are reported
 * and counted.  -1 when the session is over, or the place failed: then all
 * that was received whole has been settled.
 */
int retrieve_messages(struct fetch *fetch, struct err *err);

#endif
