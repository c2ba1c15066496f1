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

/* A message that is not simply known. */
struct listing_message {
	uint32_t number;
	uint32_t seen;	 /* the state's index of what it may be, or NONE */
	uint64_t octets; /* as listed, or unknown */
	size_t id;	 /* offset in ids; an empty string: no id yet */
	bool doubtful;	 /* known by its id, but size or presence changed */
	bool unsettled;	 /* fetch it, but delete nothing on its account */
};

/* One per listed message, by rising number. */
struct listing_entry {
	uint32_t number;
	uint32_t message; /* index in messages, NONE: simply known */
	uint32_t seen;	  /* the state's index, NONE: unknown */
};

struct listing {
	uint64_t count; /* as STAT says */
	uint64_t octets;
	bool has_uidl;
	bool has_sizes;
	unsigned int nonsense; /* lines passed over */
	struct listing_entry *entries;
	size_t n;
	struct listing_message *messages;
	size_t n_messages;
	struct buf ids; /* ended by zero bytes; offset 0 is the empty one */
};

/* Queue STAT, UIDL and LIST; where the server does not pipeline they leave
 * one by one. */
int listing_queue(struct session *session, struct err *err);

/*
 * Read the replies to listing_queue and match them with the state.  Refused
 * UIDL or LIST leave has_uidl or has_sizes false.  ERR_PROTOCOL for a listing
 * without an end or sense.
 */
int listing_read(struct listing *listing, struct session *session,
    struct seen *seen, struct err *err);

/* The id of a message, "" if it has none yet. */
const char *listing_id(
    const struct listing *listing, const struct listing_message *message);

/* The index in messages of an entry, which gets one if it is simply known. */
uint32_t listing_attend(struct listing *listing, struct listing_entry *entry);

/* Give a message an id. */
void listing_set_id(struct listing *listing, struct listing_message *message,
    const struct buf *id);

/* It is the known message with this index after all; and the contrary. */
void listing_settle_known(
    struct listing *listing, struct listing_message *message, uint32_t seen);
void listing_settle_new(
    struct listing *listing, struct listing_message *message);

void listing_free(struct listing *listing);

#endif
