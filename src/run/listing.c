/* SPDX-License-Identifier: ISC */
#include "run/listing.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"

#define LINES_BEYOND_STAT 1024	    /* so many more, then it is no listing */
#define MESSAGES_MAX 10000000	    /* what STAT may claim */
#define IDS_MAX ((size_t)256 << 20) /* octets of ids in memory */
#define COMPLAINTS_MAX 5	    /* lines without sense that are shown */
#define UNLISTED_MAX 100000 /* handled in one session without a listing */

static int
ask_for(struct session *session, enum client_command command, struct err *err)
{
	if (client_queue(session->client, command, NULL, err) == -1)
		return err_prefix(err, "listing");
	return 0;
}

static int
ask_for_list(struct listing *listing, struct session *session, struct err *err)
{
	if (listing->list_asked)
		return 0;
	listing->list_asked = true;
	return ask_for(session, CMD_LIST, err);
}

int
listing_queue(struct listing *listing, struct session *session, struct err *err)
{
	listing->list_asked = false;
	if (ask_for(session, CMD_STAT, err) == -1 ||
	    ask_for(session, CMD_UIDL, err) == -1)
		return -1;
	return listing->list_waits ? 0 : ask_for_list(listing, session, err);
}

const char *
listing_id(const struct listing *listing, const struct listing_message *message)
{
	return listing->ids.data + message->id;
}

void
listing_set_id(struct listing *listing, struct listing_message *message,
    const struct buf *id)
{
	if (id->len == 0) {
		message->id = 0;
		return;
	}
	message->id = listing->ids.len;
	buf_append(&listing->ids, id->data, id->len);
	buf_append(&listing->ids, "", 1);
}

static struct listing_entry *
add_entry(struct listing *listing, uint32_t number)
{
	struct listing_entry *entry;

	listing->entries =
	    mem_room(listing->entries, listing->n, sizeof(*listing->entries));
	entry = &listing->entries[listing->n++];
	*entry = (struct listing_entry){.number = number};
	return entry;
}

static void
point_to(struct listing_entry *entry, bool needs_attention, size_t index)
{
	entry->needs_attention = needs_attention;
	entry->index = index & INT32_MAX;
}

static struct listing_message *
add_message(struct listing *listing, struct listing_entry *entry, uint32_t seen)
{
	struct listing_message *message;

	listing->messages = mem_room(
	    listing->messages, listing->n_messages, sizeof(*listing->messages));
	point_to(entry, true, listing->n_messages);
	message = &listing->messages[listing->n_messages++];
	*message = (struct listing_message){
	    .number = entry->number,
	    .octets = LISTING_OCTETS_UNKNOWN,
	    .seen = seen,
	};
	return message;
}

static struct listing_entry *
add_unknown(struct listing *listing, uint32_t number)
{
	struct listing_entry *entry = add_entry(listing, number);

	add_message(listing, entry, LISTING_NONE);
	return entry;
}

uint32_t
listing_attend(struct listing *listing, struct listing_entry *entry)
{
	if (!entry->needs_attention)
		add_message(listing, entry, entry->index);
	return entry->index;
}

static int
compare_numbers(const void *a, const void *b)
{
	const struct listing_entry *x = a, *y = b;

	return (x->number > y->number) - (x->number < y->number);
}

static struct listing_entry *
find_entry(struct listing *listing, uint32_t number)
{
	const struct listing_entry key = {.number = number};

	/* Without gaps, the usual case, the number is the place. */
	if (number >= 1 && number <= listing->n &&
	    listing->entries[number - 1].number == number)
		return &listing->entries[number - 1];
	if (listing->n == 0)
		return NULL;
	return bsearch(&key, listing->entries, listing->n,
	    sizeof(*listing->entries), compare_numbers);
}

/* To id, what the server called it; false if that cannot be known. */
static bool
read_id(const struct listing *listing, struct seen *seen,
    const struct listing_entry *entry, struct buf *id)
{
	const struct listing_message *message =
	    listing_attended(listing, entry);
	struct err ignored;

	if (message == NULL)
		return seen_read_id(seen, entry->index, id, &ignored) == 0;
	buf_puts(id, listing_id(listing, message));
	return true;
}

/* The same line twice is no riddle. */
static bool
same_id(const struct listing *listing, struct seen *seen,
    const struct listing_entry *a, const struct listing_entry *b)
{
	struct buf first = {0}, second = {0};
	bool same = read_id(listing, seen, a, &first) &&
	    read_id(listing, seen, b, &second) &&
	    strcmp(buf_string(&first), buf_string(&second)) == 0;

	buf_free(&first);
	buf_free(&second);
	return same;
}

static void
release(struct listing *listing, struct seen *seen,
    const struct listing_entry *entry)
{
	uint32_t known = listing_known(listing, entry);

	if (known != LISTING_NONE)
		seen_release(seen, known);
}

/* One of two that are the same: rather the one that is known. */
static void
merge(struct listing *listing, struct seen *seen, struct listing_entry *kept,
    const struct listing_entry *other)
{
	bool attended = kept->needs_attention || other->needs_attention;

	if (listing_known(listing, kept) == LISTING_NONE)
		*kept = *other;
	else
		release(listing, seen, other);
	/* By its number every message finds what is known of it. */
	if (attended)
		listing_attend(listing, kept);
}

/* A number with two ids has none: its header will tell. */
static void
forget_id(
    struct listing *listing, struct seen *seen, struct listing_entry *entry)
{
	struct listing_message *message;
	uint32_t index;

	release(listing, seen, entry);
	/* Apart: attending may move the messages. */
	index = listing_attend(listing, entry);
	message = &listing->messages[index];
	message->seen = LISTING_NONE;
	message->id = 0;
	message->doubt = LISTING_SURE;
}

/* Of a number that stood in the listing twice only one message is left. */
static void
drop_superseded(struct listing *listing)
{
	struct listing_message *messages = NULL;
	size_t n = 0;

	for (size_t i = 0; i < listing->n; i++) {
		struct listing_entry *entry = &listing->entries[i];

		if (!entry->needs_attention)
			continue;
		messages = mem_room(messages, n, sizeof(*messages));
		messages[n] = listing->messages[entry->index];
		point_to(entry, true, n++);
	}
	free(listing->messages);
	listing->messages = messages;
	listing->n_messages = n;
}

/* Order by number, each number once. */
static void
sort_entries(struct listing *listing, struct seen *seen)
{
	struct listing_entry *entries = listing->entries;
	size_t kept = 0, n = listing->n, riddles = 0;
	bool sorted = true;

	for (size_t i = 1; i < n && sorted; i++)
		sorted = entries[i - 1].number < entries[i].number;
	if (sorted)
		return;
	qsort(entries, n, sizeof(*entries), compare_numbers);
	for (size_t i = 0; i < n; i++) {
		if (kept == 0 ||
		    entries[kept - 1].number != entries[i].number) {
			entries[kept++] = entries[i];
			continue;
		}
		if (same_id(listing, seen, &entries[kept - 1], &entries[i])) {
			merge(listing, seen, &entries[kept - 1], &entries[i]);
			continue;
		}
		riddles++;
		forget_id(listing, seen, &entries[kept - 1]);
		release(listing, seen, &entries[i]);
	}
	if (riddles > 0)
		log_say(LOG_AT_WARNING,
		    "listing: %zu message numbers stand in it twice", riddles);
	listing->nonsense += riddles;
	listing->n = kept;
	if (kept < n)
		drop_superseded(listing);
}

static int
check_bound(const struct listing *listing, size_t lines, const char *command,
    struct err *err)
{
	if (lines <= listing->count + LINES_BEYOND_STAT)
		return 0;
	return err_set(err, ERR_PROTOCOL,
	    "listing: the answer to %s goes on beyond the %llu messages of "
	    "STAT",
	    command, (unsigned long long)listing->count);
}

static void
complain_of_line(
    struct listing *listing, const char *command, const char *line, size_t n)
{
	char text[128];

	if (++listing->nonsense <= COMPLAINTS_MAX)
		log_say(LOG_AT_WARNING, "listing: %s: a line without sense: %s",
		    command, log_printable(text, sizeof(text), line, n));
	if (listing->nonsense == COMPLAINTS_MAX + 1)
		log_say(LOG_AT_WARNING,
		    "listing: further lines without sense are not shown");
}

static void
take_uid(struct listing *listing, struct seen *seen, uint32_t number,
    const struct buf *id)
{
	struct listing_entry *entry = add_entry(listing, number);
	struct seen_message *known = NULL;
	struct listing_message *message;
	uint32_t index = LISTING_NONE;

	if (id->len > 0)
		known = seen_match(seen, id->data, id->len);
	if (known != NULL) {
		index = seen_index(seen, known);
		if (known->missing == 0 && (known->flags & SEEN_DELETED) == 0) {
			point_to(entry, false, index);
			return;
		}
	}
	message = add_message(listing, entry, index);
	message->doubt = known != NULL ? LISTING_CHANGED : LISTING_SURE;
	listing_set_id(listing, message, id);
}

static int
read_uidl(struct listing *listing, struct session *session, struct seen *seen,
    struct err *err)
{
	struct buf id = {0};
	const char *line, *uid;
	size_t n, uid_len, lines = 0;
	uint32_t number;
	int more;

	while (
	    (more = client_next_line(session->client, &line, &n, err)) == 1) {
		more = check_bound(listing, ++lines, "UIDL", err);
		if (more == -1)
			break;
		if (!parse_uidl_line(line, n, &number, &uid, &uid_len)) {
			complain_of_line(listing, "UIDL", line, n);
			continue;
		}
		id.len = 0;
		if (uid_len > 0)
			seen_id_of_uid(&id, uid, uid_len);
		take_uid(listing, seen, number, &id);
		if (listing->ids.len > IDS_MAX) {
			more = err_set(err, ERR_PROTOCOL,
			    "the unique-ids take more than %zu octets",
			    IDS_MAX);
			break;
		}
	}
	buf_free(&id);
	sort_entries(listing, seen);
	listing->has_uidl = true;
	return more;
}

/* A known message whose size is another than recorded may be another. */
static void
take_size(struct listing *listing, struct seen *seen,
    struct listing_entry *entry, uint64_t octets)
{
	uint32_t known = listing_known(listing, entry), index;
	struct listing_message *message;
	bool changed = false;

	if (known != LISTING_NONE) {
		const struct seen_message *record = seen_at(seen, known);
		bool has_size = record->octets != SEEN_OCTETS_UNKNOWN;

		changed = has_size && octets < SEEN_OCTETS_UNKNOWN &&
		    record->octets != octets;
		if (!changed && !entry->needs_attention &&
		    (has_size || record->time > listing->wants_sizes))
			return;
	}
	/* Apart: it may move what messages points to. */
	index = listing_attend(listing, entry);
	message = &listing->messages[index];
	message->octets = octets;
	if (changed)
		message->doubt = LISTING_CHANGED;
}

/* What arrived between UIDL and LIST, the next run will see.  But what STAT
 * counted before UIDL has no unique-id, perhaps for the moment. */
static void
leave_out(struct listing *listing, uint32_t number)
{
	if (number > listing->count)
		return;
	if (++listing->left_out <= COMPLAINTS_MAX)
		log_say(LOG_AT_WARNING,
		    "message %u: LIST has it, UIDL does not; it is left for "
		    "the next run",
		    number);
}

static int
read_list(struct listing *listing, struct session *session, struct seen *seen,
    struct err *err)
{
	struct listing_entry *entry;
	const char *line;
	size_t n, lines = 0;
	uint32_t number;
	uint64_t octets;
	int more;

	while (
	    (more = client_next_line(session->client, &line, &n, err)) == 1) {
		more = check_bound(listing, ++lines, "LIST", err);
		if (more == -1)
			break;
		if (!parse_list_line(line, n, &number, &octets)) {
			complain_of_line(listing, "LIST", line, n);
			continue;
		}
		listing->octets_listed += octets;
		entry = listing->has_uidl ? find_entry(listing, number)
					  : add_unknown(listing, number);
		if (entry != NULL)
			take_size(listing, seen, entry, octets);
		else
			leave_out(listing, number);
	}
	if (!listing->has_uidl)
		sort_entries(listing, seen);
	listing->has_sizes = true;
	return more;
}

static int
read_stat(struct listing *listing, struct session *session,
    const struct client_reply *reply, struct err *err)
{
	if (!reply->ok)
		return session_refused(session, reply, ERR_PROTOCOL, err);
	if (!parse_stat(reply->text, reply->text_len, &listing->count,
		&listing->octets))
		return err_set(err, ERR_PROTOCOL,
		    "the answer to STAT makes no sense: %s", reply->printable);
	if (listing->count > MESSAGES_MAX)
		return err_set(err, ERR_PROTOCOL,
		    "STAT claims more messages than anybody has: %s",
		    reply->printable);
	return 0;
}

/* Does STAT say that nothing has changed that LIST could show? */
static bool
is_as_before(const struct listing *listing, const struct seen *seen)
{
	const struct seen_session *last = seen_last_session(seen);

	if (!seen_knows_sizes(seen))
		return true;
	return listing->count == last->count &&
	    listing->octets == last->octets && listing->octets > 0;
}

static void
count_out(struct listing *listing)
{
	for (uint64_t i = 1; i <= listing->count && i <= UNLISTED_MAX; i++)
		add_unknown(listing, (uint32_t)i);
}

/* Does the state call its messages by unique-ids? */
static bool
knows_unique_ids(struct seen *seen)
{
	struct buf id = {0};
	struct err ignored;
	bool knows = false;

	for (uint32_t i = 0; i < seen_count(seen) && !knows; i++) {
		id.len = 0;
		knows = (seen_at(seen, i)->flags & SEEN_UNDONE) == 0 &&
		    seen_read_id(seen, i, &id, &ignored) == 0 &&
		    !seen_id_is_of_header(id.data);
	}
	buf_free(&id);
	return knows;
}

static int
take_refusal(const struct listing *listing, struct session *session,
    struct seen *seen, const struct client_reply *reply, struct err *err)
{
	if (listing->count == 0)
		return 0;
	if (session_class_of_no(reply->code, ERR_NONE) != ERR_NONE ||
	    (reply->command == CMD_UIDL && knows_unique_ids(seen)))
		return session_refused(session, reply, ERR_TEMPFAIL, err);
	log_say(LOG_AT_VERBOSE, "listing: refused: %s", reply->printable);
	return 0;
}

static int
take_reply(struct listing *listing, struct session *session, struct seen *seen,
    const struct client_reply *reply, struct err *err)
{
	if (reply->command == CMD_STAT) {
		if (read_stat(listing, session, reply, err) == -1)
			return -1;
		return is_as_before(listing, seen)
		    ? 0
		    : ask_for_list(listing, session, err);
	}
	if (!reply->ok) {
		if (take_refusal(listing, session, seen, reply, err) == -1)
			return -1;
		return ask_for_list(listing, session, err);
	}
	if (reply->command == CMD_UIDL)
		return read_uidl(listing, session, seen, err);
	return read_list(listing, session, seen, err);
}

static int
read_replies(struct listing *listing, struct session *session,
    struct seen *seen, struct err *err)
{
	struct client_reply reply;

	while (client_queued(session->client) > 0) {
		if (client_reply(session->client, &reply, err) == -1 ||
		    take_reply(listing, session, seen, &reply, err) == -1)
			return err_prefix(err, "listing");
	}
	return 0;
}

int
listing_complete(struct listing *listing, struct session *session,
    struct seen *seen, struct err *err)
{
	if (ask_for_list(listing, session, err) == -1)
		return -1;
	return read_replies(listing, session, seen, err);
}

int
listing_read(struct listing *listing, struct session *session,
    struct seen *seen, struct err *err)
{
	buf_append(&listing->ids, "", 1);
	if (read_replies(listing, session, seen, err) == -1)
		return -1;
	if (!listing->has_uidl && !listing->has_sizes)
		count_out(listing);
	if (listing->n == 0 && listing->count > 0)
		return err_set(err, ERR_PROTOCOL,
		    "listing: STAT counts %llu messages, and none is listed",
		    (unsigned long long)listing->count);
	return 0;
}

uint32_t *
listing_seen(struct listing *listing, const struct listing_message *message)
{
	const struct listing_entry *entry =
	    find_entry(listing, message->number);

	return &listing_attended(listing, entry)->seen;
}

bool
listing_is_short(const struct listing *listing)
{
	return listing->nonsense > 0 || listing->n < listing->count;
}

void
listing_free(struct listing *listing)
{
	free(listing->entries);
	free(listing->messages);
	buf_free(&listing->ids);
	*listing = (struct listing){0};
}
