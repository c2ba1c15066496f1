/* SPDX-License-Identifier: ISC */
/* Who is who: headers settle what unique-ids leave open. */
#include "base/log.h"
#include "run/fetch.h"
#include "run/headers.h"
#include "run/renumber.h"

static uint32_t
seen_of(struct fetch *fetch, const struct listing_message *message)
{
	return *listing_seen(&fetch->listing, message);
}

static void
settle(struct fetch *fetch, struct listing_message *message, uint32_t seen)
{
	*listing_seen(&fetch->listing, message) = seen;
	message->doubt = LISTING_SURE;
}

/* Without a unique-id the header is the identity. */

static bool
is_nameless(struct fetch *fetch, const struct listing_message *message,
    const void *context)
{
	(void)context;
	return seen_of(fetch, message) == LISTING_NONE && message->id == 0;
}

/* What was deleted, and is back in another size, is not it. */
static bool
may_be_it(
    const struct seen_message *known, const struct listing_message *message)
{
	return (known->flags & SEEN_DELETED) == 0 ||
	    known->octets == SEEN_OCTETS_UNKNOWN ||
	    message->octets >= SEEN_OCTETS_UNKNOWN ||
	    known->octets == message->octets;
}

struct seen_message *
identify_header(
    struct fetch *fetch, struct listing_message *message, uint64_t hash)
{
	struct seen_message *known;
	struct buf id = {0};

	seen_id_of_header(&id, hash);
	listing_set_id(&fetch->listing, message, &id);
	known = seen_match(fetch->seen, id.data, id.len);
	if (known != NULL && !may_be_it(known, message)) {
		seen_release(fetch->seen, seen_index(fetch->seen, known));
		known = NULL;
	}
	/* Of several with this header another one may fit. */
	if (known == NULL && message->octets < SEEN_OCTETS_UNKNOWN)
		known = seen_claim(fetch->seen, id.data, hash, message->octets);
	buf_free(&id);
	return known;
}

static void
name_by_header(struct fetch *fetch, struct listing_message *message,
    const struct header *header, void *context)
{
	struct seen_message *known;

	(void)context;
	if (header->hash == 0)
		return;
	known = identify_header(fetch, message, header->hash);
	if (known != NULL)
		settle(fetch, message, seen_index(fetch->seen, known));
}

/* A known id, but perhaps another message. */

static bool
is_doubtful(struct fetch *fetch, const struct listing_message *message,
    const void *context)
{
	(void)fetch;
	(void)context;
	return message->doubt != LISTING_SURE;
}

/* It may be deleted only as the message that was recorded: by its header, or
 * by its size where no header can be had.  Else RETR will tell. */
static void
settle_due(struct fetch *fetch, struct listing_message *message, uint64_t hash)
{
	uint32_t index = seen_of(fetch, message);
	uint64_t recorded = seen_header_hash(fetch->seen, index);
	bool can_compare = hash != 0 && recorded != 0;
	bool was_rebuilt =
	    (seen_at(fetch->seen, index)->flags & SEEN_REBUILT) != 0;

	message->doubt = LISTING_SURE;
	if (can_compare ? hash != recorded
			: resume_is_unconfirmed(fetch, index)) {
		seen_release(fetch->seen, index);
		settle(fetch, message, LISTING_NONE);
		return;
	}
	message->unsettled =
	    hash == 0 && recorded != 0 && headers_are_offered(fetch);
	if (can_compare || !was_rebuilt)
		identify_renew(fetch, message, hash);
}

void
identify_renew(
    struct fetch *fetch, const struct listing_message *message, uint64_t hash)
{
	uint32_t index = seen_of(fetch, message);
	const struct seen_message *known = seen_at(fetch->seen, index);
	bool has_size = message->octets < SEEN_OCTETS_UNKNOWN;

	if (hash == 0)
		return;
	if ((!has_size || known->octets == message->octets) &&
	    (known->flags & SEEN_REBUILT) == 0 &&
	    seen_header_hash(fetch->seen, index) != 0)
		return;
	seen_update(fetch->seen, index, listing_id(&fetch->listing, message),
	    has_size ? message->octets : known->octets, hash);
}

/* Of all that are known by this id, the one that fits; lost is worse than
 * twice. */
static void
settle_changed(
    struct fetch *fetch, struct listing_message *message, uint64_t hash)
{
	struct seen_message *known = NULL;

	/* Where it is refused for the moment, RETR will tell. */
	if (hash != 0 || !headers_are_offered(fetch))
		known = seen_claim(fetch->seen,
		    listing_id(&fetch->listing, message), hash,
		    message->octets);
	if (known != NULL) {
		settle(fetch, message, seen_index(fetch->seen, known));
		identify_renew(fetch, message, hash);
		return;
	}
	message->unsettled = hash == 0;
	if (hash == 0)
		log_say(LOG_AT_WARNING,
		    "message %u: whether it is the one known by this "
		    "unique-id cannot be told; it is fetched again",
		    message->number);
	settle(fetch, message, LISTING_NONE);
}

static void
settle_doubt(struct fetch *fetch, struct listing_message *message,
    const struct header *header, void *context)
{
	(void)context;
	if (message->doubt == LISTING_DUE)
		settle_due(fetch, message, header->hash);
	else
		settle_changed(fetch, message, header->hash);
}

bool
identify_is_due(struct fetch *fetch, const struct listing_entry *entry)
{
	uint32_t known = listing_known(&fetch->listing, entry);
	struct plan_message message;
	const char *why;

	if (known == LISTING_NONE)
		return false;
	message = fetch_describe(fetch, entry);
	if ((seen_at(fetch->seen, known)->flags & SEEN_REBUILT) != 0)
		message.may_delete = true;
	return plan_decide(&fetch->settings, &message, &why) == PLAN_DELETE;
}

/* What is to be deleted is looked at first; what was imported, to be known by
 * its header from now on, should the server lose the deletion. */
static void
doubt_due(struct fetch *fetch)
{
	struct listing *listing = &fetch->listing;

	if (!plan_may_delete_known(&fetch->settings))
		return;
	for (size_t i = 0; i < listing->n; i++) {
		struct listing_entry *entry = &listing->entries[i];
		uint32_t at;

		if (!identify_is_due(fetch, entry))
			continue;
		at = fetch_attend(fetch, entry);
		if (listing->messages[at].doubt == LISTING_SURE)
			listing->messages[at].doubt = LISTING_DUE;
	}
}

/* Before anybody asks: give each doubtful message its id, and its record
 * back, so that the ones that fit can be told from the ones that do not. */
static int
prepare_doubts(struct fetch *fetch, struct err *err)
{
	struct listing *listing = &fetch->listing;

	for (size_t i = 0; i < listing->n_messages; i++) {
		struct listing_message *message = &listing->messages[i];
		uint32_t index = seen_of(fetch, message);

		if (message->doubt == LISTING_SURE)
			continue;
		if (identify_name(fetch, message, err) == -1)
			return -1;
		if (message->doubt == LISTING_CHANGED)
			seen_release(fetch->seen, index);
	}
	return 0;
}

static int
settle_doubts(struct fetch *fetch, struct err *err)
{
	static const struct question who_is_doubtful = {
	    .concerns = is_doubtful, .answer = settle_doubt};

	return prepare_doubts(fetch, err) == -1
	    ? -1
	    : headers_ask(fetch, &who_is_doubtful, err);
}

int
identify_name(
    struct fetch *fetch, struct listing_message *message, struct err *err)
{
	uint32_t index = seen_of(fetch, message);
	struct buf id = {0};
	int status = 0;

	if (message->id != 0 || index == LISTING_NONE)
		return 0;
	status = seen_read_id(fetch->seen, index, &id, err);
	if (status == 0)
		listing_set_id(&fetch->listing, message, &id);
	buf_free(&id);
	return status == 0 ? 0 : err_prefix(err, "state");
}

static void
advise_without_uidl(const struct fetch *fetch)
{
	if (fetch->listing.count == 0 || fetch->listing.has_uidl)
		return;
	if (headers_can_be_had(fetch))
		log_say(LOG_AT_VERBOSE,
		    "listing: no UIDL here; messages are told apart by their "
		    "headers");
	else
		log_say(LOG_AT_WARNING,
		    "listing: the server has neither UIDL nor TOP: every run "
		    "receives everything and discards what is known; keep off "
		    "would end that");
}

/* Without TOP it is RETR that confirms what was recognised; before that it is
 * neither known nor lost. */
static bool
recognises_late(const struct fetch *fetch)
{
	return !fetch->state_was_new && !headers_can_be_had(fetch);
}

static int
identify_by_headers(struct fetch *fetch, struct err *err)
{
	static const struct question who_is_nameless = {
	    .concerns = is_nameless, .answer = name_by_header};

	advise_without_uidl(fetch);
	/* What another one has the unique-id of now may lie in the Maildir. */
	if (headers_ask(fetch, &who_is_nameless, err) == -1 ||
	    settle_doubts(fetch, err) == -1)
		return -1;
	if (!recognises_late(fetch) && resume_recognise(fetch, err) == -1)
		return -1;
	doubt_due(fetch);
	if (settle_doubts(fetch, err) == -1)
		return -1;
	return renumber_settle(fetch, err);
}

int
identify_messages(struct fetch *fetch, struct err *err)
{
	if (identify_by_headers(fetch, err) == -1)
		return -1;
	return recognises_late(fetch) ? resume_recognise(fetch, err) : 0;
}
