/* SPDX-License-Identifier: ISC */
/*
 * The messages in one array, and an index of four bytes a message, made when
 * it is first needed: a server that lists what it listed last time, in the
 * same order, needs none.  Messages of the same id form a ring through next;
 * the index holds the last of the ring, whose next is the first.
 */
#include "state/journal.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/mem.h"

#define SLOTS_MIN 64
#define SLOT_FREE 0
#define PREFETCH 16
#define GUESSES 16
#define CLAIMS_MAX 64
#define LARGE_PAGE ((size_t)2 * 1024 * 1024)

#define TAKEN ((uint64_t)(SEEN_MATCHED | SEEN_UNDONE))

/*
 * A slot holds the message's index plus one in as many bits as n_slots has,
 * and above them bits of the key, so that hardly any other message has to be
 * looked at.
 */
static uint32_t
slot_mask(const struct seen *seen)
{
	return (uint32_t)(seen->n_slots - 1);
}

/* What stands in the slot of a key that was given up; no index comes so far,
 * since a quarter of the slots stays free. */
static uint32_t
slot_gone(const struct seen *seen)
{
	return slot_mask(seen);
}

static uint32_t
slot_index(const struct seen *seen, uint32_t slot)
{
	return (slot & slot_mask(seen)) - 1;
}

static bool
slot_is_ring(const struct seen *seen, uint32_t slot)
{
	return slot != SLOT_FREE && slot != slot_gone(seen);
}

static void
set_slot(const struct seen *seen, uint32_t *slot, uint32_t index)
{
	uint32_t mask = slot_mask(seen);

	*slot = ((uint32_t)seen->messages[index].key & ~mask) | (index + 1);
}

static size_t
first_slot(const struct seen *seen, uint64_t key)
{
	return (size_t)(key >> 32) & slot_mask(seen);
}

/* The slot of a key, or the one where it would go. */
static uint32_t *
find_slot(const struct seen *seen, uint64_t key)
{
	uint32_t mask = slot_mask(seen), *gone = NULL, *slot;
	size_t at = first_slot(seen, key);

	for (;; at = (at + 1) & mask) {
		slot = &seen->slots[at];
		if (*slot == SLOT_FREE)
			return gone != NULL ? gone : slot;
		if (*slot == slot_gone(seen))
			gone = gone != NULL ? gone : slot;
		else if (((*slot ^ (uint32_t)key) & ~mask) == 0 &&
		    seen->messages[slot_index(seen, *slot)].key == key)
			return slot;
	}
}

/* Put a message into the ring of its key: taken ones last, others first. */
static void
link_message(struct seen *seen, uint32_t index)
{
	struct seen_message *message = &seen->messages[index], *last;
	uint32_t *slot = find_slot(seen, message->key);

	message->next = index;
	if (!slot_is_ring(seen, *slot)) {
		set_slot(seen, slot, index);
		return;
	}
	last = &seen->messages[slot_index(seen, *slot)];
	message->next = last->next;
	last->next = index;
	if ((message->flags & TAKEN) != 0)
		set_slot(seen, slot, index);
}

static void
unlink_message(struct seen *seen, uint32_t index)
{
	struct seen_message *message = &seen->messages[index];
	uint32_t *slot = find_slot(seen, message->key);
	uint32_t before = slot_index(seen, *slot);

	if (message->next == index) {
		*slot = slot_gone(seen);
		return;
	}
	while (seen->messages[before].next != index)
		before = seen->messages[before].next;
	seen->messages[before].next = message->next;
	set_slot(seen, slot, before);
}

/* From the last message to the first, so that the oldest leads its ring. */
static void
make_index(struct seen *seen)
{
	seen->n_slots = SLOTS_MIN;
	while (seen->n_slots - seen->n_slots / 4 <= seen->cap + 1)
		seen->n_slots *= 2;
	free(seen->slots);
	seen->slots = mem_zero(seen->n_slots, sizeof(*seen->slots));
	seen->n_gone = 0;
	for (size_t i = seen->n_messages; i-- > 0;) {
		if (i >= PREFETCH)
			__builtin_prefetch(&seen->slots[first_slot(
			    seen, seen->messages[i - PREFETCH].key)]);
		link_message(seen, (uint32_t)i);
	}
}

void
table_drop_index(struct seen *seen)
{
	free(seen->slots);
	seen->slots = NULL;
}

/* Is there an index with room for one more? */
static bool
has_room(const struct seen *seen)
{
	return seen->slots != NULL &&
	    seen->n_messages + seen->n_gone + 1 <
	    seen->n_slots - seen->n_slots / 4;
}

/*
 * A large table comes in large pages: a fifth of the time to load it goes
 * into page faults otherwise.  All of its mapping or nothing: a part of one
 * cannot be moved when the table grows, and would be copied.
 */
static void
ask_for_large_pages(void *memory, size_t n)
{
#ifdef MADV_HUGEPAGE
	size_t before = (uintptr_t)memory % (size_t)sysconf(_SC_PAGESIZE);

	if (n >= LARGE_PAGE)
		madvise((char *)memory - before, before + n, MADV_HUGEPAGE);
#else
	(void)memory;
	(void)n;
#endif
}

void
table_reserve(struct seen *seen, size_t n)
{
	/* Memory that is never touched costs nothing. */
	seen->cap = n + 16;
	seen->messages =
	    mem_grow(seen->messages, seen->cap, sizeof(*seen->messages));
	ask_for_large_pages(
	    seen->messages, seen->cap * sizeof(*seen->messages));
}

struct seen_message *
table_add(struct seen *seen, uint64_t key, uint64_t flags)
{
	uint32_t index = (uint32_t)seen->n_messages;

	if (seen->n_messages == seen->cap)
		table_reserve(seen, 2 * seen->cap);
	seen->messages[seen->n_messages++] =
	    (struct seen_message){.key = key, .flags = flags & 0xffff};
	if (has_room(seen))
		link_message(seen, index);
	else if (seen->slots != NULL)
		make_index(seen);
	return &seen->messages[index];
}

/* The last of the ring with this key, whose next is the first. */
static bool
find_ring(struct seen *seen, uint64_t key, uint32_t *last)
{
	uint32_t slot;

	if (seen->slots == NULL)
		make_index(seen);
	slot = *find_slot(seen, key);
	*last = slot_index(seen, slot);
	return slot_is_ring(seen, slot);
}

void
table_expect(struct seen *seen, uint64_t key)
{
	if (seen->slots == NULL)
		make_index(seen);
	__builtin_prefetch(&seen->slots[first_slot(seen, key)]);
}

struct seen_message *
table_find(struct seen *seen, uint64_t key)
{
	uint32_t at, last;

	if (!find_ring(seen, key, &last))
		return NULL;
	at = last;
	do {
		at = seen->messages[at].next;
		if ((seen->messages[at].flags & SEEN_UNDONE) == 0)
			return &seen->messages[at];
	} while (at != last);
	return NULL;
}

size_t
seen_copies(struct seen *seen, const char *id)
{
	uint32_t at, last;
	size_t n = 0;

	if (!find_ring(seen, table_key(seen, id, strlen(id)), &last))
		return 0;
	at = last;
	do {
		at = seen->messages[at].next;
		n += (seen->messages[at].flags & SEEN_UNDONE) == 0;
	} while (at != last);
	return n;
}

void
table_rekey(struct seen *seen, uint32_t index, uint64_t key)
{
	struct seen_message *message = &seen->messages[index];

	if (message->key == key)
		return;
	if (seen->slots != NULL) {
		unlink_message(seen, index);
		seen->n_gone++;
	}
	message->key = key;
	if (has_room(seen))
		link_message(seen, index);
	else if (seen->slots != NULL)
		make_index(seen);
}

/* Most servers list in the order in which they did before.  One of several
 * with the same id is left to the index, once there is one. */
static struct seen_message *
guess(struct seen *seen, uint64_t key)
{
	size_t end = seen->expected + (size_t)GUESSES;

	for (size_t i = seen->expected; i < end && i < seen->n_messages; i++) {
		struct seen_message *message = &seen->messages[i];

		if (message->key != key || (message->flags & TAKEN) != 0 ||
		    (seen->slots != NULL && message->next != i))
			continue;
		message->flags |= SEEN_MATCHED;
		seen->expected = (uint32_t)i + 1;
		return message;
	}
	return NULL;
}

/*
 * Those of a ring that are taken are kept behind the others, so that a server
 * that lists one id a million times costs no more than a million steps.
 */
struct seen_message *
seen_match(struct seen *seen, const char *id, size_t n)
{
	uint64_t key = table_key(seen, id, n);
	struct seen_message *message = guess(seen, key);
	uint32_t *slot, first;

	if (message != NULL)
		return message;
	if (seen->slots == NULL)
		make_index(seen);
	slot = find_slot(seen, key);
	while (slot_is_ring(seen, *slot)) {
		first = seen->messages[slot_index(seen, *slot)].next;
		message = &seen->messages[first];
		if ((message->flags & SEEN_MATCHED) != 0)
			break;
		message->flags |= SEEN_MATCHED;
		set_slot(seen, slot, first);
		if ((message->flags & SEEN_UNDONE) == 0) {
			seen->expected = first + 1;
			return message;
		}
	}
	return NULL;
}

void
seen_release(struct seen *seen, uint32_t index)
{
	seen->messages[index].flags &= (uint16_t)~SEEN_MATCHED;
}

static bool
may_have_size(const struct seen_message *message, uint64_t octets)
{
	return message->octets == SEEN_OCTETS_UNKNOWN ||
	    octets >= SEEN_OCTETS_UNKNOWN || message->octets == octets;
}

/* How well a message fits: what speaks for it, from the least on. */
enum {
	FITS = 1,
	FITS_AS_LISTED = 2, /* in the last session */
	FITS_UNDELETED = 4,
	FITS_BY_SIZE = 8,
	FITS_BY_HEADER = 16,
	FITS_BEST = 31,
};

/* Servers that rewrite a header between sessions change the size with it.  But
 * what was deleted and is back in another size is not what was deleted.  0: it
 * does not fit. */
static int
fit(struct seen *seen, uint32_t index, uint64_t header, uint64_t octets)
{
	const struct seen_message *message = &seen->messages[index];
	bool was_deleted = (message->flags & SEEN_DELETED) != 0;
	bool same_size = may_have_size(message, octets);
	bool same_header;
	uint64_t recorded;

	if ((message->flags & TAKEN) != 0)
		return 0;
	recorded = seen_header_hash(seen, index);
	same_header = header != 0 && header == recorded;
	if (header != 0 && recorded != 0 && !same_header)
		return 0;
	if (same_size + same_header + !was_deleted < 2)
		return 0;
	return FITS + FITS_AS_LISTED * (message->missing == 0) +
	    FITS_UNDELETED * !was_deleted + FITS_BY_SIZE * same_size +
	    FITS_BY_HEADER * same_header;
}

struct seen_message *
seen_claim(
    struct seen *seen, const char *id, uint64_t header_hash, uint64_t octets)
{
	uint32_t at, last, best = 0;
	int best_fit = 0;

	if (!find_ring(seen, table_key(seen, id, strlen(id)), &last))
		return NULL;
	at = last;
	/* Each step may read the file: what is not found among so many is
	 * fetched again. */
	for (int i = 0; i < CLAIMS_MAX && best_fit < FITS_BEST; i++) {
		int how;

		at = seen->messages[at].next;
		how = fit(seen, at, header_hash, octets);
		if (how > best_fit) {
			best_fit = how;
			best = at;
		}
		if (at == last)
			break;
	}
	if (best_fit == 0)
		return NULL;
	seen->messages[best].flags |= SEEN_MATCHED;
	return &seen->messages[best];
}
