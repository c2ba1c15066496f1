/* SPDX-License-Identifier: ISC */
#include "run/listing.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"

#define LINES_BEYOND_STAT 1024 /* so many more, then it is no listing */
#define MESSAGES_MAX 10000000  /* what STAT may claim */
#define COMPLAINTS_MAX 5       /* lines without sense that are shown */
#define UNLISTED_MAX 100000    /* handled in one session without a listing */

int
listing_queue(struct session *session, struct err *err)
{
	static const enum client_command commands[] = {
	    CMD_STAT, CMD_UIDL, CMD_LIST};

	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (client_queue(session->client, commands[i], NULL, err) == -1)
			return err_prefix(err, "listing");
	return 0;
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
	*entry = (struct listing_entry){number, LISTING_NONE, LISTING_NONE};
	return entry;
}

static struct listing_message *
add_message(struct listing *listing, struct listing_entry *entry)
{
	struct listing_message *message;

	listing->messages = mem_room(
	    listing->messages, listing->n_messages, sizeof(*listing->messages));
	entry->message = (uint32_t)listing->n_messages;
	message = &listing->messages[listing->n_messages++];
	*message = (struct listing_message){
	    .number = entry->number,
	    .seen = entry->seen,
	    .octets = LISTING_OCTETS_UNKNOWN,
	};
	return message;
}

uint32_t
listing_attend(struct listing *listing, struct listing_entry *entry)
{
	if (entry->message == LISTING_NONE)
		add_message(listing, entry);
	return entry->message;
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

/* Order by number; of a number that stands twice the first one counts. */
static void
sort_entries(struct listing *listing)
{
	size_t kept = 0;
	bool sorted = true;

	for (size_t i = 1; i < listing->n && sorted; i++)
		sorted =
		    listing->entries[i - 1].number < listing->entries[i].number;
	if (sorted)
		return;
	qsort(listing->entries, listing->n, sizeof(*listing->entries),
	    compare_numbers);
	for (size_t i = 0; i < listing->n; i++)
		if (kept == 0 ||
		    listing->entries[kept - 1].number !=
			listing->entries[i].number)
			listing->entries[kept++] = listing->entries[i];
	if (kept < listing->n)
		log_say(LOG_AT_WARNING,
		    "listing: %zu message numbers stand in it twice",
		    listing->n - kept);
	listing->n = kept;
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
		    command, text_escape(text, sizeof(text), line, n));
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

	if (id->len > 0)
		known = seen_match(seen, id->data, id->len);
	if (known != NULL) {
		entry->seen = seen_index(seen, known);
		if (known->missing == 0)
			return;
	}
	message = add_message(listing, entry);
	message->doubtful = known != NULL;
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
	}
	buf_free(&id);
	sort_entries(listing);
	listing->has_uidl = true;
	return more;
}

/* A known message whose size is another than recorded may be another. */
static void
take_size(struct listing *listing, struct seen *seen,
    struct listing_entry *entry, uint64_t octets)
{
	struct listing_message *message;
	uint32_t index;
	bool changed = false;

	if (entry->seen != LISTING_NONE) {
		uint64_t recorded = seen_at(seen, entry->seen)->octets;

		changed = recorded != SEEN_OCTETS_UNKNOWN &&
		    octets < SEEN_OCTETS_UNKNOWN && recorded != octets;
		if (!changed && entry->message == LISTING_NONE)
			return;
	}
	/* Apart: it may move what messages points to. */
	index = listing_attend(listing, entry);
	message = &listing->messages[index];
	message->octets = octets;
	message->doubtful = message->doubtful || changed;
}

static int
read_list(struct listing *listing, struct session *session, struct seen *seen,
    struct err *err)
{
	const char *line;
	size_t n, lines = 0;
	uint32_t number;
	uint64_t octets;
	int more;

	while (
	    (more = client_next_line(session->client, &line, &n, err)) == 1) {
		struct listing_entry *entry;

		more = check_bound(listing, ++lines, "LIST", err);
		if (more == -1)
			break;
		if (!parse_list_line(line, n, &number, &octets)) {
			complain_of_line(listing, "LIST", line, n);
			continue;
		}
		entry = listing->has_uidl ? find_entry(listing, number)
					  : add_entry(listing, number);
		/* It arrived between UIDL and LIST: the next run sees it. */
		if (entry != NULL)
			take_size(listing, seen, entry, octets);
	}
	if (!listing->has_uidl)
		sort_entries(listing);
	listing->has_sizes = true;
	return more;
}

static int
read_stat(
    struct listing *listing, const struct client_reply *reply, struct err *err)
{
	if (!reply->ok)
		return client_refused(
		    reply, session_class_of_no(reply->code, ERR_PROTOCOL), err);
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

static void
count_out(struct listing *listing)
{
	for (uint64_t i = 1; i <= listing->count && i <= UNLISTED_MAX; i++)
		add_message(listing, add_entry(listing, (uint32_t)i));
}

int
listing_read(struct listing *listing, struct session *session,
    struct seen *seen, struct err *err)
{
	struct client_reply reply;
	int status = 0;

	buf_append(&listing->ids, "", 1);
	do {
		if (client_reply(session->client, &reply, err) == -1)
			return err_prefix(err, "listing");
		if (reply.command == CMD_STAT)
			status = read_stat(listing, &reply, err);
		else if (reply.ok && reply.command == CMD_UIDL)
			status = read_uidl(listing, session, seen, err);
		else if (reply.ok && reply.command == CMD_LIST)
			status = read_list(listing, session, seen, err);
		else if (listing->count > 0)
			log_say(LOG_AT_VERBOSE, "listing: refused: %s",
			    reply.printable);
		if (status == -1)
			return err_prefix(err, "listing");
	} while (reply.command != CMD_LIST);
	if (!listing->has_uidl && !listing->has_sizes)
		count_out(listing);
	return 0;
}

void
listing_settle_known(
    struct listing *listing, struct listing_message *message, uint32_t seen)
{
	struct listing_entry *entry = find_entry(listing, message->number);

	entry->seen = seen;
	message->seen = seen;
	message->doubtful = false;
}

void
listing_settle_new(struct listing *listing, struct listing_message *message)
{
	struct listing_entry *entry = find_entry(listing, message->number);

	entry->seen = LISTING_NONE;
	message->seen = LISTING_NONE;
	message->doubtful = false;
}

void
listing_free(struct listing *listing)
{
	free(listing->entries);
	free(listing->messages);
	buf_free(&listing->ids);
	*listing = (struct listing){0};
}
