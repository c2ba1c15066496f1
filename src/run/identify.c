/* SPDX-License-Identifier: ISC */
/* Who is who: headers settle what unique-ids leave open. */
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "mail/msg.h"
#include "run/fetch.h"

#define TOP_OCTETS 4096	       /* what a header may take, for the window */
#define TOP_LIMIT (1 << 20)    /* more of a header is not looked at */
#define TOP_ENDLESS (64 << 20) /* more than that ends the session */

struct header {
	uint64_t hash; /* 0: it cannot be had */
	bool has_message_id;
};

/* A question about some of the messages that their headers answer. */
struct question {
	bool (*concerns)(struct fetch *fetch,
	    const struct listing_message *message, const void *context);
	void (*answer)(struct fetch *fetch, struct listing_message *message,
	    const struct header *header, void *context);
	void *context;
};

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

static int
feed_header(void *context, const char *data, size_t n, struct err *err)
{
	msg_feed(context, data, n);
	if (msg_size(context) > TOP_LIMIT)
		return err_set(
		    err, ERR_PROTOCOL, "the answer is larger than any header");
	return 0;
}

static int
read_header(struct fetch *fetch, struct msg *msg, struct header *header,
    struct err *err)
{
	struct client_body body = {
	    .sink = feed_header, .context = msg, .limit = TOP_ENDLESS};
	struct client_reply reply;

	*header = (struct header){0};
	if (client_reply(fetch->session.client, &reply, err) == -1)
		return -1;
	if (!reply.ok)
		return 0;
	msg_begin(msg);
	if (client_body(fetch->session.client, &body, err) == -1)
		return body.in_step ? 0 : -1;
	header->hash = msg_header_hash(msg);
	header->has_message_id = msg_has_message_id(msg);
	return 0;
}

bool
identify_has_top(const struct fetch *fetch)
{
	const struct capabilities *capa = &fetch->session.capa;

	return !capa->known || capa->top;
}

/* The messages it concerns, as indexes; the caller frees them. */
static uint32_t *
choose(struct fetch *fetch, const struct question *question, size_t *n)
{
	const struct listing *listing = &fetch->listing;
	uint32_t *chosen =
	    mem_alloc((listing->n_messages + 1) * sizeof(*chosen));

	*n = 0;
	for (size_t i = 0; i < listing->n_messages; i++)
		if (question->concerns(
			fetch, &listing->messages[i], question->context))
			chosen[(*n)++] = (uint32_t)i;
	return chosen;
}

/* TOP for all that it concerns, in the window; answers come in order. */
static int
ask(struct fetch *fetch, const struct question *question, struct err *err)
{
	struct listing_message *messages = fetch->listing.messages;
	bool can_ask = identify_has_top(fetch);
	struct msg *msg = msg_new();
	struct header header = {0};
	size_t n;
	uint32_t *chosen = choose(fetch, question, &n);
	int status = 0;

	for (size_t i = 0; i < n && can_ask; i++)
		client_queue_message(fetch->session.client, CMD_TOP,
		    messages[chosen[i]].number, TOP_OCTETS);
	for (size_t i = 0; i < n && status == 0; i++) {
		if (can_ask)
			status = read_header(fetch, msg, &header, err);
		if (status == 0)
			question->answer(fetch, &messages[chosen[i]], &header,
			    question->context);
	}
	/* What was learned then is not written down. */
	if (status == 0 && client_unasked_input(fetch->session.client))
		status = err_set(err, ERR_PROTOCOL,
		    "the server's answers do not fit what was asked");
	msg_free(msg);
	free(chosen);
	return status == 0 ? 0 : err_prefix(err, "top");
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
 * by its size where no header can be had. */
static void
settle_due(struct fetch *fetch, struct listing_message *message, uint64_t hash)
{
	uint32_t index = seen_of(fetch, message);
	uint64_t recorded = seen_header_hash(fetch->seen, index);
	bool was_rebuilt =
	    (seen_at(fetch->seen, index)->flags & SEEN_REBUILT) != 0;

	message->doubt = LISTING_SURE;
	if (hash == 0 || recorded == 0) {
		/* RETR will tell. */
		if (resume_is_unconfirmed(fetch, index)) {
			seen_release(fetch->seen, index);
			settle(fetch, message, LISTING_NONE);
		} else if (!was_rebuilt) {
			identify_renew(fetch, message, hash);
		}
		return;
	}
	if (hash != recorded) {
		if (was_rebuilt)
			seen_undo(fetch->seen, index);
		else
			seen_release(fetch->seen, index);
		settle(fetch, message, LISTING_NONE);
	} else if (was_rebuilt) {
		seen_update(fetch->seen, index,
		    listing_id(&fetch->listing, message), message->octets,
		    hash);
	}
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
	struct seen_message *known = seen_claim(fetch->seen,
	    listing_id(&fetch->listing, message), hash, message->octets);

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

/* Or will it, from now on?  What was imported and is deleted has to be known by
 * it, should the server have lost the deletion. */
static bool
tells_by_header(struct fetch *fetch, uint32_t index)
{
	return (seen_at(fetch->seen, index)->flags & SEEN_IMPORTED) != 0 ||
	    seen_header_hash(fetch->seen, index) != 0;
}

/* What is to be deleted is looked at first. */
static void
doubt_due(struct fetch *fetch)
{
	struct listing *listing = &fetch->listing;

	if (!plan_may_delete_known(&fetch->settings))
		return;
	for (size_t i = 0; i < listing->n; i++) {
		struct listing_entry *entry = &listing->entries[i];
		uint32_t at, known = listing_known(listing, entry);

		if (!identify_is_due(fetch, entry) ||
		    !tells_by_header(fetch, known))
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
	    : ask(fetch, &who_is_doubtful, err);
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

/* A server that gave all its messages new unique-ids. */

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
needs_message_id(
    struct fetch *fetch, const struct renumbering *renumbering, uint32_t index)
{
	return renumbering->suspects == SUSPECT_SAME_SIZE ||
	    (renumbering->suspects != SUSPECT_NAMELESS &&
		!is_lost(fetch, index));
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
	return seen_of(fetch, message) == LISTING_NONE;
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
		message->unsettled = renumbering->suspects == SUSPECT_ALL &&
		    (header->hash == 0 || renumbering->some_headless);
		renumbering->unsettled += message->unsettled;
		return;
	}
	renumbering->recognised++;
	seen_update(fetch->seen, index, listing_id(&fetch->listing, message),
	    message->octets, header->hash);
	settle(fetch, message, index);
}

static int
settle_renumbering(struct fetch *fetch, enum suspects suspects, struct err *err)
{
	struct renumbering renumbering = {.suspects = suspects};
	const struct question question = {
	    .concerns = is_suspect,
	    .answer = recognise,
	    .context = &renumbering,
	};
	int status;

	collect_lost(fetch, &renumbering);
	status = ask(fetch, &question, err);
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

static void
advise_without_uidl(const struct fetch *fetch)
{
	if (fetch->listing.count == 0 || fetch->listing.has_uidl)
		return;
	if (identify_has_top(fetch))
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
	return !fetch->state_was_new && !identify_has_top(fetch);
}

static int
settle_strangers(struct fetch *fetch, struct err *err)
{
	struct census known = count_known(fetch);

	if (known.lost > known.listed)
		return settle_renumbering(fetch, SUSPECT_ALL, err);
	if (some_lost_their_header_as_name(fetch))
		return settle_renumbering(fetch, SUSPECT_NAMELESS, err);
	if (known.lost > 0 && identify_has_top(fetch))
		return settle_renumbering(fetch, SUSPECT_SAME_SIZE, err);
	if (known.listed == 0 && known.gone > 0 && identify_has_top(fetch))
		return settle_renumbering(fetch, SUSPECT_RETURNED, err);
	return 0;
}

static int
identify_by_headers(struct fetch *fetch, struct err *err)
{
	static const struct question who_is_nameless = {
	    .concerns = is_nameless, .answer = name_by_header};
	advise_without_uidl(fetch);
	/* What another one has the unique-id of now may lie in the Maildir. */
	if (ask(fetch, &who_is_nameless, err) == -1 ||
	    settle_doubts(fetch, err) == -1)
		return -1;
	if (!recognises_late(fetch) && resume_recognise(fetch, err) == -1)
		return -1;
	doubt_due(fetch);
	if (settle_doubts(fetch, err) == -1)
		return -1;
	return has_strangers(fetch) ? settle_strangers(fetch, err) : 0;
}

int
identify_messages(struct fetch *fetch, struct err *err)
{
	if (identify_by_headers(fetch, err) == -1)
		return -1;
	return recognises_late(fetch) ? resume_recognise(fetch, err) : 0;
}
