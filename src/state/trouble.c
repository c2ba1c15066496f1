/* SPDX-License-Identifier: ISC */
/* Messages that failed and are not delivered yet. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "state/journal.h"

#define SECONDS_PER_DAY 86400
#define STALE_AFTER (30 * SECONDS_PER_DAY)

static int
compare(const struct trouble *a, const struct trouble *b)
{
	return (a->key > b->key) - (a->key < b->key);
}

/* RB_GENERATE_STATIC wants a macro that glibc has no header for. */
RB_GENERATE_INTERNAL(
    troubles, trouble, entry, compare, __attribute__((unused)) static)

static struct trouble *
find(struct seen *seen, uint64_t key)
{
	struct trouble wanted = {.key = key};

	return RB_FIND(troubles, &seen->troubles, &wanted);
}

struct trouble *
trouble_note(struct seen *seen, const struct journal_field *id)
{
	uint64_t key = table_key(seen, id->text, id->n);
	struct trouble *trouble = find(seen, key);

	if (trouble != NULL)
		return trouble;
	trouble = mem_zero(1, sizeof(*trouble));
	trouble->key = key;
	trouble->id = mem_alloc(id->n + 1);
	memcpy(trouble->id, id->text, id->n);
	trouble->id[id->n] = '\0';
	RB_INSERT(troubles, &seen->troubles, trouble);
	seen->n_troubles++;
	return trouble;
}

static void
drop(struct seen *seen, struct trouble *trouble)
{
	RB_REMOVE(troubles, &seen->troubles, trouble);
	seen->n_troubles--;
	free(trouble->id);
	free(trouble);
}

void
trouble_over(struct seen *seen, uint64_t key)
{
	struct trouble *trouble;

	if (seen->n_troubles == 0)
		return;
	trouble = find(seen, key);
	if (trouble != NULL)
		drop(seen, trouble);
}

void
trouble_forget_stale(struct seen *seen)
{
	struct trouble *trouble, *next;

	RB_FOREACH_SAFE(trouble, troubles, &seen->troubles, next)
	if (trouble->last < seen->now - STALE_AFTER)
		drop(seen, trouble);
}

void
trouble_free_all(struct seen *seen)
{
	struct trouble *trouble, *next;

	RB_FOREACH_SAFE(trouble, troubles, &seen->troubles, next)
	drop(seen, trouble);
}

static void
put(const struct seen *seen, struct buf *out, const struct trouble *trouble)
{
	size_t start = out->len;

	buf_puts(out, "failed");
	journal_put(out, trouble->id, strlen(trouble->id));
	journal_put_number(out, (uint64_t)trouble->known.first);
	journal_put_number(out, trouble->known.breaks);
	journal_seal(out, start, seen->mine);
	start = out->len;
	buf_puts(out, "blamed");
	journal_put(out, trouble->id, strlen(trouble->id));
	journal_put_number(out, (uint64_t)trouble->last);
	journal_put_number(out, trouble->known.blamed);
	journal_seal(out, start, seen->mine);
}

void
trouble_put_all(struct seen *seen, struct buf *out)
{
	struct trouble *trouble;

	RB_FOREACH(trouble, troubles, &seen->troubles)
	put(seen, out, trouble);
}

const struct seen_trouble *
seen_trouble(struct seen *seen, const char *id)
{
	const struct trouble *trouble;

	if (seen->n_troubles == 0 || id[0] == '\0')
		return NULL;
	trouble = find(seen, table_key(seen, id, strlen(id)));
	return trouble != NULL ? &trouble->known : NULL;
}

bool
seen_has_troubles(const struct seen *seen)
{
	return seen->n_troubles > 0;
}

/* The first failure stays what it was; a break of the line adds up. */
void
seen_failed(struct seen *seen, const char *id, bool line_broke)
{
	const struct seen_trouble *known = seen_trouble(seen, id);
	unsigned int breaks = known != NULL && line_broke ? known->breaks : 0;

	if (id[0] != '\0')
		journal_record_failed(seen, id, breaks + line_broke);
}

void
seen_blame(struct seen *seen, const char *id)
{
	const struct seen_trouble *known = seen_trouble(seen, id);

	if (known != NULL && seen->now - known->first >= SECONDS_PER_DAY)
		journal_record_blamed(seen, id, known->blamed + 1);
}
