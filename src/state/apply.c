/* SPDX-License-Identifier: ISC */
/* What the records of the journal mean. */
#include "state/journal.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"

/* What stands behind the word is taken field by field. */
typedef void apply_record(
    struct seen *seen, struct journal_cursor *fields, uint64_t offset);

static time_t
take_time(struct seen *seen, struct journal_cursor *fields)
{
	time_t when = (time_t)(journal_take_number(fields, 0) & INT64_MAX);

	if (when > seen->session.newest)
		seen->session.newest = when;
	return when;
}

static uint32_t
short_time(time_t when)
{
	return when > UINT32_MAX ? UINT32_MAX : (uint32_t)when;
}

static void
take_octets(struct seen *seen, struct seen_message *message,
    struct journal_cursor *fields)
{
	uint64_t octets = journal_take_number(fields, SEEN_OCTETS_UNKNOWN);

	message->octets = SEEN_OCTETS_UNKNOWN;
	if (octets >= SEEN_OCTETS_UNKNOWN)
		return;
	message->octets = octets & SEEN_OCTETS_UNKNOWN;
	seen->knows_sizes = true;
}

static uint64_t
take_key(const struct seen *seen, struct journal_cursor *fields)
{
	struct journal_field id = journal_take(fields);

	return table_key(seen, id.text, id.n);
}

/*
 * A message is called by its number, counted from 1 among those of its owner,
 * and its id.  The number alone tells those of the same id apart; where
 * garbage has made it wrong any of them must do.
 */
static struct seen_message *
find_message(struct seen *seen, struct journal_cursor *fields)
{
	uint64_t number = journal_take_number(fields, 0);
	uint64_t key = take_key(seen, fields);

	if (number > 0 && number <= seen->n_messages &&
	    seen->messages[number - 1].key == key)
		return &seen->messages[number - 1];
	return table_find(seen, key);
}

static struct seen_message *
add_id(struct seen *seen, struct journal_cursor *fields, uint64_t offset,
    unsigned int flags)
{
	struct seen_message *message =
	    table_add(seen, take_key(seen, fields), flags);

	message->offset = offset & ((UINT64_C(1) << 48) - 1);
	trouble_over(seen, message->key);
	return message;
}

static void
add_message(struct seen *seen, struct journal_cursor *fields, uint64_t offset,
    unsigned int flags)
{
	struct seen_message *message = add_id(seen, fields, offset, flags);

	take_octets(seen, message, fields);
	message->time = short_time(take_time(seen, fields));
}

/* The last field, "-" for none.  Compaction leaves no place to any message. */
static bool
has_place(const struct journal_cursor *fields)
{
	return fields->end - fields->at >= 2 &&
	    memcmp(fields->end - 2, " -", 2) != 0;
}

/* After a compaction, which gives it no time then, all come behind newer
 * records, and none in a batch. */
static void
note_odd_time(struct seen *seen, struct seen_message *message, time_t newest)
{
	if (message->time != 0 &&
	    (seen->where == NULL || message->time >= newest))
		return;
	message->time = JOURNAL_NEVER;
	message->flags |= JOURNAL_TIME_ODD;
	seen->has_odd_time = true;
}

/* It belongs to the batch that is open.  Where none is, garbage took the place
 * of its line. */
static void
add_received(struct seen *seen, struct journal_cursor *fields, uint64_t offset,
    unsigned int flags)
{
	uint32_t index = (uint32_t)seen->n_messages;
	time_t newest = seen->session.newest;

	/* In a run it stands for a listed one. */
	add_message(
	    seen, fields, offset, flags | (seen->loaded ? SEEN_MATCHED : 0));
	note_odd_time(seen, &seen->messages[index], newest);
	if (seen->where != NULL || (!seen->loaded && has_place(fields)))
		buf_append(&seen->pending, &index, sizeof(index));
}

static void
apply_got(struct seen *seen, struct journal_cursor *fields, uint64_t offset)
{
	add_received(seen, fields, offset, 0);
}

static void
apply_quarantined(
    struct seen *seen, struct journal_cursor *fields, uint64_t offset)
{
	add_received(seen, fields, offset, SEEN_MARKED | SEEN_QUARANTINED);
}

/* "ID TIME" of a failure, the first of which is remembered. */
static struct trouble *
take_trouble(struct seen *seen, struct journal_cursor *fields)
{
	struct journal_field id = journal_take(fields);
	struct trouble *trouble = trouble_note(seen, &id);

	trouble->last = take_time(seen, fields);
	if (trouble->known.first == 0)
		trouble->known.first = trouble->last;
	return trouble;
}

static unsigned int
take_count(struct journal_cursor *fields)
{
	return (unsigned int)(journal_take_number(fields, 0) & UINT16_MAX);
}

static void
apply_failed(struct seen *seen, struct journal_cursor *fields, uint64_t offset)
{
	struct trouble *trouble = take_trouble(seen, fields);

	(void)offset;
	trouble->known.turn = ++seen->last_turn;
	trouble->known.breaks = take_count(fields);
}

static void
apply_blamed(struct seen *seen, struct journal_cursor *fields, uint64_t offset)
{
	(void)offset;
	take_trouble(seen, fields)->known.blamed = take_count(fields);
}

static void
apply_imported(
    struct seen *seen, struct journal_cursor *fields, uint64_t offset)
{
	add_message(seen, fields, offset, SEEN_IMPORTED);
}

/* Of each nothing but its id is known, and that is where it stands. */
static void
apply_imported_ids(
    struct seen *seen, struct journal_cursor *fields, uint64_t offset)
{
	const char *line = fields->at - sizeof(JOURNAL_IMPORTED_IDS);
	uint32_t when = short_time(take_time(seen, fields));

	while (fields->at < fields->end) {
		struct seen_message *message =
		    add_id(seen, fields, offset + (uint64_t)(fields->at - line),
			SEEN_IMPORTED | JOURNAL_ID_ONLY);

		message->octets = SEEN_OCTETS_UNKNOWN;
		message->time = when;
	}
}

static void
apply_marked(struct seen *seen, struct journal_cursor *fields, uint64_t offset)
{
	add_message(seen, fields, offset, SEEN_MARKED);
}

static void
apply_rebuilt(struct seen *seen, struct journal_cursor *fields, uint64_t offset)
{
	add_message(seen, fields, offset, SEEN_REBUILT);
}

/* It was published: the line that says so, or one that is written only when
 * that has been done, and so stands for a published line that is garbage. */
static void
close_batch(struct seen *seen)
{
	if (seen->where != NULL) {
		free(seen->settled);
		seen->settled = seen->where;
	}
	seen->where = NULL;
	seen->pending.len = 0;
}

static char *
copy_field(const struct journal_field *field)
{
	char *copy = mem_alloc(field->n + 1);

	memcpy(copy, field->text, field->n);
	copy[field->n] = '\0';
	return copy;
}

static void
note_target(struct seen *seen, const struct journal_field *field, time_t when)
{
	for (size_t i = 0; i < seen->n_targets; i++) {
		if (journal_field_is(field, seen->targets[i].name)) {
			seen->targets[i].time = when;
			return;
		}
	}
	seen->targets = mem_grow(
	    seen->targets, seen->n_targets + 1, sizeof(*seen->targets));
	seen->targets[seen->n_targets].name = copy_field(field);
	seen->targets[seen->n_targets++].time = when;
}

static void
apply_batch(struct seen *seen, struct journal_cursor *fields, uint64_t offset)
{
	time_t when = take_time(seen, fields);
	struct journal_field target = journal_take(fields);
	struct journal_field where = journal_take(fields);
	ptrdiff_t n;

	(void)offset;
	close_batch(seen);
	note_target(seen, &target, when);
	seen->where = copy_field(&where);
	n = text_percent_decode(seen->where, where.n);
	if (n < 0 || journal_field_is(&where, "-"))
		n = 0;
	seen->where[n] = '\0';
}

static void
apply_published(
    struct seen *seen, struct journal_cursor *fields, uint64_t offset)
{
	(void)fields;
	(void)offset;
	close_batch(seen);
	seen->n_unsettled = 0;
}

static void
apply_undo(struct seen *seen, struct journal_cursor *fields, uint64_t offset)
{
	struct seen_message *message = find_message(seen, fields);

	(void)offset;
	if (message != NULL)
		message->flags |= SEEN_UNDONE;
}

static void
apply_dele(struct seen *seen, struct journal_cursor *fields, uint64_t offset)
{
	struct seen_message *message = find_message(seen, fields);

	(void)offset;
	close_batch(seen);
	take_time(seen, fields);
	if (message != NULL)
		message->flags |= SEEN_DELETED;
}

static void
apply_missing(struct seen *seen, struct journal_cursor *fields, uint64_t offset)
{
	struct seen_message *message = find_message(seen, fields);
	uint64_t day = journal_take_number(fields, 1);

	(void)offset;
	if (message == NULL)
		return;
	message->missing = (day < UINT16_MAX ? day : UINT16_MAX) & UINT16_MAX;
	seen->has_missing = true;
}

static void
apply_back(struct seen *seen, struct journal_cursor *fields, uint64_t offset)
{
	struct seen_message *message = find_message(seen, fields);

	(void)offset;
	if (message != NULL)
		message->missing = 0;
}

static void
apply_update(struct seen *seen, struct journal_cursor *fields, uint64_t offset)
{
	struct seen_message *message = find_message(seen, fields);
	uint64_t key = take_key(seen, fields);

	if (message == NULL)
		return;
	take_octets(seen, message, fields);
	message->offset = offset & ((UINT64_C(1) << 48) - 1);
	/* Its header has been compared. */
	message->flags &= (uint16_t) ~(SEEN_REBUILT | JOURNAL_ID_ONLY);
	table_rekey(seen, seen_index(seen, message), key);
}

/* All that is known is that they were delivered before this session. */
static void
settle_odd_times(struct seen *seen)
{
	for (size_t i = 0; i < seen->n_messages; i++) {
		struct seen_message *message = &seen->messages[i];

		if ((message->flags & JOURNAL_TIME_ODD) == 0)
			continue;
		message->time = short_time(seen->session.time);
		message->flags &= (uint16_t)~JOURNAL_TIME_ODD;
	}
	seen->has_odd_time = false;
}

static void
apply_session(struct seen *seen, struct journal_cursor *fields, uint64_t offset)
{
	uint64_t days;

	(void)offset;
	close_batch(seen);
	seen->session.time = take_time(seen, fields);
	if (seen->has_odd_time && seen->session.time == seen->session.newest)
		settle_odd_times(seen);
	days = journal_take_number(fields, 0);
	seen->session.days =
	    days < SESSION_DAYS_MAX ? (uint32_t)days : SESSION_DAYS_MAX;
	seen->session.count = journal_take_number(fields, 0);
	seen->session.octets = journal_take_number(fields, 0);
	seen->delayed_until = 0;
}

/* A state that holds nothing else is as new as before. */
static void
apply_login_delay(
    struct seen *seen, struct journal_cursor *fields, uint64_t offset)
{
	(void)offset;
	seen->delayed_at = take_time(seen, fields);
	seen->delayed_until =
	    (time_t)(journal_take_number(fields, 0) & INT64_MAX);
	seen->void_lines++;
}

/* An import that has no end has not happened.  What the quarantine got since it
 * began is none of it. */
static void
give_up_import(struct seen *seen)
{
	const uint64_t kinds = SEEN_IMPORTED | SEEN_MARKED | SEEN_REBUILT;

	if (!seen->importing)
		return;
	for (uint64_t i = seen->import_from; i < seen->n_messages; i++)
		if ((seen->messages[i].flags & kinds) != 0 &&
		    (seen->messages[i].flags & SEEN_QUARANTINED) == 0)
			seen->messages[i].flags |= SEEN_UNDONE;
	seen->void_lines += seen->lines - seen->import_line;
	seen->importing = false;
}

static void
apply_import(struct seen *seen, struct journal_cursor *fields, uint64_t offset)
{
	(void)offset;
	give_up_import(seen);
	take_time(seen, fields);
	seen->importing = true;
	seen->import_from = seen->n_messages;
	seen->import_line = seen->lines;
}

static void
apply_import_end(
    struct seen *seen, struct journal_cursor *fields, uint64_t offset)
{
	(void)fields;
	(void)offset;
	seen->importing = false;
}

static void
apply_import_undone(
    struct seen *seen, struct journal_cursor *fields, uint64_t offset)
{
	(void)fields;
	(void)offset;
	give_up_import(seen);
	seen->void_lines++;
}

#define WORD(word, apply)                     \
	{                                     \
		word, sizeof(word) - 1, apply \
	}

static const struct {
	const char *word;
	size_t n;
	apply_record *apply;
} records[] = {
    WORD("got", apply_got),
    WORD("quarantined", apply_quarantined),
    WORD("failed", apply_failed),
    WORD("blamed", apply_blamed),
    WORD("imported", apply_imported),
    WORD(JOURNAL_IMPORTED_IDS, apply_imported_ids),
    WORD("marked", apply_marked),
    WORD("rebuilt", apply_rebuilt),
    WORD("published", apply_published),
    WORD("batch", apply_batch),
    WORD("dele", apply_dele),
    WORD("missing", apply_missing),
    WORD("back", apply_back),
    WORD("session", apply_session),
    WORD("login-delay", apply_login_delay),
    WORD("update", apply_update),
    WORD("undo", apply_undo),
    WORD("import", apply_import),
    WORD("import-end", apply_import_end),
    WORD("import-undone", apply_import_undone),
};

#undef WORD

#define N_RECORDS (sizeof(records) / sizeof(records[0]))

static apply_record *
find_record(const struct journal_field *word)
{
	for (size_t i = 0; i < N_RECORDS; i++)
		if (word->n == records[i].n &&
		    memcmp(word->text, records[i].word, word->n) == 0)
			return records[i].apply;
	return NULL;
}

bool
journal_apply(struct seen *seen, const struct journal_line *line)
{
	struct journal_cursor fields = {line->text, line->text + line->n};
	struct journal_field word = journal_take(&fields);
	apply_record *apply = find_record(&word);

	if (apply == NULL)
		return false;
	apply(seen, &fields, line->offset);
	seen->ended_well = apply == apply_session;
	seen->lines++;
	return true;
}

bool
journal_is_record(const struct journal_line *line)
{
	struct journal_cursor fields = {line->text, line->text + line->n};
	struct journal_field word = journal_take(&fields);

	return find_record(&word) != NULL;
}

void
journal_forget(struct seen *seen)
{
	for (size_t i = 0; seen->has_missing && i < seen->n_messages; i++) {
		struct seen_message *message = &seen->messages[i];

		if (message->missing != 0 &&
		    seen->session.days >=
			(uint32_t)message->missing + FORGET_AFTER)
			message->flags |= SEEN_UNDONE;
	}
}

void
journal_settle_import(struct seen *seen)
{
	seen->broken_import = seen->importing;
	give_up_import(seen);
}

/* Nobody can say where these were to be: lost is worse than twice.  It has to
 * be on record, as what comes behind them may make them part of a batch. */
void
journal_give_up_strays(struct seen *seen)
{
	struct buf strays = seen->pending;
	size_t n = strays.len / sizeof(uint32_t);
	uint32_t index;

	if (seen->where != NULL)
		return;
	seen->pending = (struct buf){0};
	for (size_t i = 0; i < n; i++) {
		memcpy(&index, strays.data + i * sizeof(index), sizeof(index));
		seen_undo(seen, index);
	}
	buf_free(&strays);
}
