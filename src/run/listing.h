/* SPDX-License-Identifier: ISC */
/*
 * What is on the server, joined by message number with what the state knows.
 * A known message takes eight bytes; more is kept only of those that need
 * attention: unknown ones, and known ones that look different now.
 */
#ifndef RUN_LISTING_H
#define RUN_LISTING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "run/session.h"
#include "state/seen.h"

#define LISTING_NONE UINT32_MAX
#define LISTING_OCTETS_UNKNOWN UINT64_MAX

/* Why a message that is known by its id needs a look at its header. */
enum listing_doubt {
	LISTING_SURE,
	LISTING_CHANGED, /* another size, back after an absence, or deleted
			    by poplar and listed all the same */
	LISTING_DUE,	 /* it is to be deleted, or known from the Maildir to
			    a state that was not lost */
};

/* A message that needs attention. */
struct listing_message {
	uint32_t number;
	enum listing_doubt doubt;
	uint64_t octets; /* as listed, or unknown */
	size_t id;	 /* offset in ids; 0, an empty string: no id yet */
	uint32_t seen;	 /* the state's index, NONE: unknown */
	bool unsettled;	 /* it cannot be told who it is: fetched if unknown, and
			    not deleted on that account */
};

/* One per listed message, by rising number. */
struct listing_entry {
	uint32_t number;
	uint32_t needs_attention : 1;
	uint32_t index : 31; /* in messages if it does, else in the state */
};

struct listing {
	uint64_t count; /* as STAT says */
	uint64_t octets;
	uint64_t octets_listed; /* by LIST, together */
	bool list_waits; /* until it turns out to be needed; for the caller to
			    set before listing_queue */
	int64_t wants_sizes; /* of messages, too, whose recorded one is unknown,
				if they were delivered by that time, -1: of
				none; for the caller to set as well */
	bool list_asked;
	bool has_uidl;
	bool has_sizes;
	size_t nonsense; /* lines passed over */
	size_t left_out; /* messages that STAT and LIST have, but not UIDL */
	struct listing_entry *entries;
	size_t n;
	struct listing_message *messages;
	size_t n_messages;
	struct buf ids; /* ended by zero bytes; offset 0 is the empty one */
};

/* Queue STAT, UIDL and LIST, unless that waits; where the server does not
 * pipeline they leave one by one. */
int listing_queue(
    struct listing *listing, struct session *session, struct err *err);

/*
 * Read the replies to listing_queue and match them with the state.  Refused
 * UIDL or LIST leave has_uidl or has_sizes false; but UIDL refused where the
 * state knows unique-ids is ERR_TEMPFAIL.  ERR_PROTOCOL for a listing without
 * an end or sense.  A LIST that waits is asked for as soon as STAT says that
 * something has changed since the last good session, unless the state knows no
 * size to compare.
 */
int listing_read(struct listing *listing, struct session *session,
    struct seen *seen, struct err *err);

/* Ask for a LIST that still waits, and read it. */
int listing_complete(struct listing *listing, struct session *session,
    struct seen *seen, struct err *err);

/* The id of a message, "" if it has none yet. */
const char *listing_id(
    const struct listing *listing, const struct listing_message *message);

/* The message of an entry, NULL if it is simply known. */
static inline struct listing_message *
listing_attended(
    const struct listing *listing, const struct listing_entry *entry)
{
	return entry->needs_attention ? &listing->messages[entry->index] : NULL;
}

/* The state's index of an entry, NONE if it is unknown. */
static inline uint32_t
listing_known(const struct listing *listing, const struct listing_entry *entry)
{
	return entry->needs_attention ? listing->messages[entry->index].seen
				      : entry->index;
}

/* The index in messages of an entry, which gets one if it is simply known. */
uint32_t listing_attend(struct listing *listing, struct listing_entry *entry);

/* Give a message an id. */
void listing_set_id(struct listing *listing, struct listing_message *message,
    const struct buf *id);

/* The state's index of a message, NONE if it is unknown; to read and set. */
uint32_t *listing_seen(
    struct listing *listing, const struct listing_message *message);

/* Does it list less than STAT counted, or nonsense? */
bool listing_is_short(const struct listing *listing);

void listing_free(struct listing *listing);

#endif
