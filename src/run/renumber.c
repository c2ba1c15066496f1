/* SPDX-License-Identifier: ISC */
#include "run/renumber.h"

#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "run/headers.h"

/* Is it known, and not listed? */
static bool
is_gone(const struct fetch *fetch, uint32_t index)
{
	const struct seen_message *message = seen_at(fetch->seen, index);

	return (message->flags & (SEEN_MATCHED | SEEN_DELETED | SEEN_UNDONE)) ==
	    0 &&
	    !resume_is_unconfirmed(fetch, index);
}

/* It went just now. */
static bool
is_lost(const struct fetch *fetch, uint32_t index)
{
	return is_gone(fetch, index) &&
	    seen_at(fetch->seen, index)->missing == 0;
}

struct census {
	size_t listed;
	size_t lost;
	size_t gone; /* the lost ones among them */
};

static struct census
count_known(const struct fetch *fetch)
{
	struct census census = {0};

	for (uint32_t i = 0; i < seen_count(fetch->seen); i++) {
		const struct seen_message *message = seen_at(fetch->seen, i);

		census.listed += (message->flags & SEEN_MATCHED) != 0;
		census.lost += is_lost(fetch, i);
		census.gone += is_gone(fetch, i);
	}
	return census;
}

struct lost {
	uint64_t header;
	uint64_t octets;
	uint32_t index;
	bool needs_message_id; /* to be told from another of this header */
};

/* Which of the unknown messages may be lost ones. */
enum suspects {
	SUSPECT_ALL,	   /* most are lost: the server renumbered */
	SUSPECT_RETURNED,  /* nothing that is known is listed: it may have done
			      so while all were absent */
	SUSPECT_NAMELESS,  /* as some were called by their header so far */
	SUSPECT_SAME_SIZE, /* those that have the size of a lost one */
};

struct renumbering {
	enum suspects suspects;
	struct lost *lost; /* by rising header */
	size_t n;
	uint64_t *sizes;    /* of the lost ones, rising */
	bool some_headless; /* some cannot be recognised at all */
	size_t recognised;
	size_t unsettled;
};

static int
compare_sizes(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static int
compare_lost(const void *a, const void *b)
{
	const struct lost *x = a, *y = b;

	if (x->header != y->header)
		return x->header > y->header ? 1 : -1;
	return x->needs_message_id - y->needs_message_id;
}

/* Without a unique-id when it was fetched, and not listed as such: it may have
 * one now. */
static bool
lost_its_header_as_name(struct fetch *fetch, uint32_t index)
{
	const struct seen_message *message = seen_at(fetch->seen, index);
	struct buf id = {0};
	struct err ignored;
	bool is;

	if ((message->flags & (SEEN_MATCHED | SEEN_DELETED | SEEN_UNDONE)) != 0)
		return false;
	is = seen_read_id(fetch->seen, index, &id, &ignored) == 0 &&
	    seen_id_is_of_header(id.data);
	buf_free(&id);
	return is;
}

static bool
some_lost_their_header_as_name(struct fetch *fetch)
{
	if (!fetch->listing.has_uidl)
		return false;
	for (uint32_t i = 0; i < seen_count(fetch->seen); i++)
		if (lost_its_header_as_name(fetch, i))
			return true;
	return false;
}

static bool
may_be_another(
    struct fetch *fetch, const struct renumbering *renumbering, uint32_t index)
{
	switch (renumbering->suspects) {
	case SUSPECT_NAMELESS:
		return lost_its_header_as_name(fetch, index);
	case SUSPECT_SAME_SIZE:
		return is_lost(fetch, index);
	default:
		return is_gone(fetch, index);
	}
}

/* What left long ago, or is one of few, may have left for good. */
static bool
needs_message_id(const struct fetch *fetch,
    const struct renumbering *renumbering, uint32_t index)
{
	return renumbering->suspects == SUSPECT_SAME_SIZE ||
	    !is_lost(fetch, index);
}

static void
collect_lost(struct fetch *fetch, struct renumbering *renumbering)
{
	size_t count = seen_count(fetch->seen);

	renumbering->lost = mem_alloc((count + 1) * sizeof(struct lost));
	for (uint32_t i = 0; i < count; i++) {
		uint64_t header;

		if (!may_be_another(fetch, renumbering, i))
			continue;
		header = seen_header_hash(fetch->seen, i);
		if (header == 0)
			renumbering->some_headless |= is_lost(fetch, i);
		else
			renumbering->lost[renumbering->n++] = (struct lost){
			    header, seen_at(fetch->seen, i)->octets, i,
			    needs_message_id(fetch, renumbering, i)};
	}
	qsort(renumbering->lost, renumbering->n, sizeof(struct lost),
	    compare_lost);
	renumbering->sizes =
	    mem_alloc((renumbering->n + 1) * sizeof(*renumbering->sizes));
	for (size_t i = 0; i < renumbering->n; i++)
		renumbering->sizes[i] = renumbering->lost[i].octets;
	qsort(renumbering->sizes, renumbering->n, sizeof(*renumbering->sizes),
	    compare_sizes);
}

static bool
may_answer_for(const struct renumbering *renumbering, const struct lost *lost,
    const struct listing_message *message, const struct header *header)
{
	if (lost->needs_message_id && !header->has_message_id)
		return false;
	return renumbering->suspects != SUSPECT_SAME_SIZE ||
	    lost->octets == message->octets;
}

/* The first of those with this header. */
static const struct lost *
find_lost(const struct renumbering *renumbering, uint64_t header)
{
	size_t low = 0, high = renumbering->n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (renumbering->lost[middle].header < header)
			low = middle + 1;
		else
			high = middle;
	}
	return &renumbering->lost[low];
}

/* Each lost message answers for one listed one. */
static uint32_t
take_lost(struct fetch *fetch, const struct renumbering *renumbering,
    const struct listing_message *message, const struct header *header)
{
	const struct lost *end = renumbering->lost + renumbering->n;

	for (const struct lost *at = find_lost(renumbering, header->hash);
	     at < end && at->header == header->hash; at++) {
		struct seen_message *known = seen_at(fetch->seen, at->index);

		if ((known->flags & SEEN_MATCHED) == 0 &&
		    may_answer_for(renumbering, at, message, header)) {
			known->flags |= SEEN_MATCHED;
			return at->index;
		}
	}
	return LISTING_NONE;
}

static bool
is_stranger(struct fetch *fetch, const struct listing_message *message)
{
	return *listing_seen(&fetch->listing, message) == LISTING_NONE;
}

static bool
is_suspect(struct fetch *fetch, const struct listing_message *message,
    const void *context)
{
	const struct renumbering *renumbering = context;

	if (!is_stranger(fetch, message))
		return false;
	return renumbering->suspects != SUSPECT_SAME_SIZE ||
	    bsearch(&message->octets, renumbering->sizes, renumbering->n,
		sizeof(*renumbering->sizes), compare_sizes) != NULL;
}

static void
recognise(struct fetch *fetch, struct listing_message *message,
    const struct header *header, void *context)
{
	struct renumbering *renumbering = context;
	uint32_t index = LISTING_NONE;

	if (header->hash != 0)
		index = take_lost(fetch, renumbering, message, header);
	if (index == LISTING_NONE) {
		if (renumbering->suspects == SUSPECT_ALL &&
		    (header->hash == 0 || renumbering->some_headless)) {
			message->unsettled = true;
			renumbering->unsettled++;
		}
		return;
	}
	renumbering->recognised++;
	message->unsettled = false;
	seen_update(fetch->seen, index, listing_id(&fetch->listing, message),
	    message->octets, header->hash);
	*listing_seen(&fetch->listing, message) = index;
}

static int
settle_suspects(struct fetch *fetch, enum suspects suspects, struct err *err)
{
	struct renumbering renumbering = {.suspects = suspects};
	const struct question question = {
	    .concerns = is_suspect,
	    .answer = recognise,
	    .context = &renumbering,
	};
	int status;

	collect_lost(fetch, &renumbering);
	status = headers_ask(fetch, &question, err);
	if (renumbering.recognised > 0)
		log_say(LOG_AT_WARNING,
		    "listing: the server gave its messages new unique-ids; "
		    "%zu were recognised by their headers",
		    renumbering.recognised);
	if (renumbering.unsettled > 0)
		log_say(LOG_AT_WARNING,
		    "listing: most of the known messages are gone, and "
		    "whether %zu others are the same cannot be told; they are "
		    "fetched, and not deleted in this session",
		    renumbering.unsettled);
	free(renumbering.lost);
	free(renumbering.sizes);
	return status;
}

static bool
has_strangers(struct fetch *fetch)
{
	for (size_t i = 0; i < fetch->listing.n_messages; i++)
		if (is_stranger(fetch, &fetch->listing.messages[i]))
			return true;
	return false;
}

int
renumber_settle(struct fetch *fetch, struct err *err)
{
	struct census known;

	if (!has_strangers(fetch))
		return 0;
	known = count_known(fetch);
	if (known.lost > known.listed)
		return settle_suspects(fetch, SUSPECT_ALL, err);
	if (some_lost_their_header_as_name(fetch))
		return settle_suspects(fetch, SUSPECT_NAMELESS, err);
	if (known.lost > 0 && headers_can_be_had(fetch))
		return settle_suspects(fetch, SUSPECT_SAME_SIZE, err);
	if (known.listed == 0 && known.gone > 0 && headers_can_be_had(fetch))
		return settle_suspects(fetch, SUSPECT_RETURNED, err);
	return 0;
}
