/* SPDX-License-Identifier: ISC */
/*
 * Retrieval in a window, delivery in batches.  The order of the promise lives
 * in commit and nowhere else: durable, recorded, published.  Deletions come
 * last of all: they take effect only at QUIT anyway (RFC 1939, section 6).
 *
 * A server that does not double the dots of a message lets its sender forge
 * the end of it, and even replies behind that, so that each later message
 * would pass for its successor.  One that leaves a reply out, or says one too
 * many, does the same by itself.  Four things catch it.  A message is staged
 * only when a status line stands behind it.  In a pipeline STAT is asked among
 * the messages, and a batch committed only when that was answered as it was
 * before; without one, where anything was odd, before the last batch and all
 * deletions.  A message that has not its listed size stops the pipeline until
 * STAT is answered, unless that has shown that sizes lie here.  And one that
 * begins with a status line must have its listed size.
 */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "base/wait.h"
#include "run/retrieval.h"

#define QUEUE_MAX 4096	       /* commands ahead; the window is smaller */
#define BATCH_TIME 1000	       /* milliseconds that a batch may take */
#define PROGRESS_TIME 100      /* milliseconds from one to the next */
#define DRAIN_TIME 5000	       /* milliseconds to get back into step */
#define STOP_TIME 1000	       /* the same after a request to stop */
#define PROOF_MESSAGES 64      /* from one STAT to the next */
#define PROOF_OCTETS (1 << 20) /* or so many octets of listed sizes */

/* How far beyond its listed size a message may go: sizes are hints, but an
 * endless one must end. */
#define GROWTH_FACTOR 16
#define GROWTH_OCTETS (UINT64_C(64) << 20)
#define SIZE_BELIEVED (UINT64_C(1) << 40) /* a larger one is no hint */
#define SIZE_ASSUMED (UINT64_C(16) << 20) /* where there is none */

static struct listing_message *
message_at(const struct retrieval *r, uint32_t index)
{
	return &r->fetch->listing.messages[index];
}

static struct client *
client_of(const struct retrieval *r)
{
	return r->fetch->session.client;
}

static bool
is_pipelined(const struct retrieval *r)
{
	return r->fetch->session.pipelining;
}

/* Is STAT asked among the messages? */
static bool
is_proven_often(const struct retrieval *r)
{
	return is_pipelined(r) || r->cautious;
}

static bool
progress_is_due(const struct retrieval *r)
{
	return r->fetch->options->show_progress &&
	    wait_clock() >= r->progress_at;
}

static void
tell_progress(struct retrieval *r, uint64_t octets_more)
{
	struct event event = {.type = EVENT_PROGRESS};

	r->progress_at = wait_clock() + PROGRESS_TIME;
	event.counts = r->fetch->counts;
	event.counts.messages += r->n_batch + r->holding;
	event.counts.octets += r->batch_octets + octets_more;
	event_send(r->fetch->parent, &event);
}

void
retrieval_complain(struct retrieval *r, uint32_t number, struct err *err)
{
	err_prefix(err, "message %u", number);
	r->fetch->counts.failed++;
	fetch_report(r->fetch, err);
}

/* -- deletions -- */

static void
add_due(struct retrieval *r, uint32_t number, uint32_t seen)
{
	r->due = mem_room(r->due, r->n_due, sizeof(*r->due));
	r->due[r->n_due++] = (struct fetch_due){number, seen};
}

/* What they rest on is durable first. */
static int
queue_deletions(struct retrieval *r, struct err *err)
{
	if (r->n_due == 0)
		return 0;
	if (seen_flush(r->fetch->seen, true, err) == -1)
		return err_prefix(err, "state");
	for (size_t i = 0; i < r->n_due; i++)
		client_queue_message(
		    client_of(r), CMD_DELE, r->due[i].number, 0);
	return 0;
}

static void
take_deletion(struct retrieval *r, const struct client_reply *reply)
{
	const struct fetch_due *due = &r->due[r->next_due++];
	struct fetch *fetch = r->fetch;
	struct err err;

	if (!reply->ok) {
		session_refused(&fetch->session, reply, ERR_TEMPFAIL, &err);
		retrieval_complain(r, due->number, &err);
		return;
	}
	fetch->counts.deleted++;
	if (due->seen != LISTING_NONE)
		seen_deleted(fetch->seen, due->seen);
}

/* -- the batch -- */

static int
place_failed(struct retrieval *r, struct err *err)
{
	r->place_failed = true;
	return err_prefix(err, "deliver");
}

static void
clear_batch(struct retrieval *r)
{
	for (size_t i = 0; i < r->n_batch; i++)
		free(r->batch[i].id);
	r->n_batch = 0;
	r->batch_octets = 0;
}

/* Note one message of the batch; returns its index in the state. */
static uint32_t
record(struct retrieval *r, const struct received *received)
{
	struct fetch *fetch = r->fetch;
	const struct listing_message *message =
	    message_at(r, received->message);
	uint32_t known = *listing_seen(&fetch->listing, message);

	/* Fetched once more on request: one record is enough. */
	if (known != LISTING_NONE)
		seen_undo(fetch->seen, known);
	return r->is_quarantine
	    ? seen_quarantined(fetch->seen, received->id, message->octets,
		  received->header, received->place)
	    : seen_delivered(fetch->seen, received->id, message->octets,
		  received->header, received->place);
}

static int
record_batch(
    struct retrieval *r, const char *where, uint32_t *indexes, struct err *err)
{
	struct seen *seen = r->fetch->seen;

	seen_batch(seen, r->target, where);
	for (size_t i = 0; i < r->n_batch; i++)
		indexes[i] = record(r, &r->batch[i]);
	if (seen_flush(seen, true, err) == -1)
		return err_prefix(err, "state");
	return 0;
}

static int
publish_batch(struct retrieval *r, struct err *err)
{
	struct fetch *fetch = r->fetch;

	if (deliver_publish(r->deliver, err) == -1)
		return err_prefix(err, "deliver");
	seen_published(fetch->seen);
	/* Said at once, a reader may move them about even if this run dies. */
	if (seen_flush(fetch->seen, deliver_holds_lock(r->deliver), err) == -1)
		return err_prefix(err, "state");
	return 0;
}

/* The session goes on without the quarantine, and what comes then would say
 * that these were published. */
static void
undo_batch(struct retrieval *r, const uint32_t *indexes)
{
	for (size_t i = 0; i < r->n_batch; i++) {
		seen_undo(r->fetch->seen, indexes[i]);
		trouble_failed(r, r->batch[i].message, DELIVER_DEFERRED);
	}
}

static void
settle_batch(struct retrieval *r, const uint32_t *indexes)
{
	struct fetch *fetch = r->fetch;

	for (size_t i = 0; i < r->n_batch; i++) {
		const struct listing_message *message =
		    message_at(r, r->batch[i].message);

		r->recorded =
		    mem_room(r->recorded, r->n_recorded, sizeof(uint32_t));
		r->recorded[r->n_recorded++] = indexes[i];
		if (plan_delete_after_delivery(&fetch->settings) &&
		    !message->unsettled && !r->is_quarantine)
			add_due(r, message->number, indexes[i]);
	}
	if (!r->is_quarantine) {
		fetch->counts.messages += r->n_batch;
		fetch->counts.octets += r->batch_octets;
	}
	clear_batch(r);
}

static void
note_place(struct retrieval *r)
{
	const char *note = deliver_note(r->deliver);

	if (note != NULL && !r->noted)
		log_say(LOG_AT_VERBOSE, "deliver: %s", note);
	r->noted = note != NULL;
}

/* Make the batch durable, record it, publish it; then it may be deleted. */
static int
commit(struct retrieval *r, struct err *err)
{
	char where[DELIVER_WHERE_MAX];
	uint32_t *indexes;
	int status;

	if (r->n_batch == 0)
		return 0;
	indexes = mem_alloc(r->n_batch * sizeof(*indexes));
	status = deliver_sync(r->deliver, where, err);
	if (status == -1)
		err_prefix(err, "deliver");
	if (status == 0)
		status = record_batch(r, where, indexes, err);
	if (status == 0) {
		status = publish_batch(r, err);
		if (status == -1 && r->is_quarantine)
			undo_batch(r, indexes);
	}
	note_place(r);
	deliver_release(r->deliver);
	if (status == 0)
		settle_batch(r, indexes);
	r->place_failed = status == -1;
	free(indexes);
	return status;
}

static bool
batch_is_due(const struct retrieval *r)
{
	return r->n_batch + r->proof_messages > r->batch_max ||
	    r->batch_octets >= deliver_batch_octets(r->deliver) ||
	    (r->n_batch > 0 && wait_clock() - r->batch_since >= BATCH_TIME);
}

/* A state that cannot be written is no place to go on from. */
static int
try_message(struct retrieval *r, uint32_t message, struct err *err)
{
	if (trouble_try(r, message, err) == 0)
		return 0;
	r->place_failed = true;
	return err_prefix(err, "state");
}

/* What a command has taken and the state cannot record, each run would deliver
 * once more. */
static int
prepare_command(struct retrieval *r, struct err *err)
{
	if (try_message(r, r->held.message, err) == -1)
		return -1;
	if (seen_reserve(r->fetch->seen, err) == 0)
		return 0;
	r->place_failed = true;
	return err_prefix(err, "state");
}

/* -- a message received whole, until it is known to be -- */

static void
drop_held(struct retrieval *r)
{
	if (!r->holding)
		return;
	r->holding = false;
	free(r->held.id);
	deliver_abort(r->deliver);
}

/* It may be the end of a message that only looks like one, and whoever sent
 * that wants the rest to be replies. */
static void
distrust_held(struct retrieval *r)
{
	if (r->holding)
		trouble_broke(r, r->held.message);
	drop_held(r);
}

/* A status line stands behind it: into the batch.  -1 when the place
 * failed. */
static int
stage_held(struct retrieval *r, struct err *err)
{
	struct deliver_facts facts = {
	    .wire_octets = r->held.octets,
	    .sender = msg_sender(r->msg),
	};
	int status;

	if (!r->holding)
		return 0;
	/* Elsewhere this is no part of the attempt that could fail. */
	if (r->batch_max == 1 && prepare_command(r, err) == -1)
		return -1;
	r->holding = false;
	status = deliver_stage(r->deliver, &facts, r->held.place, err);
	/* The attempt at the next one may have begun. */
	if (status == DELIVER_OK && r->tried == r->held.message)
		trouble_tried(r);
	if (status != DELIVER_OK) {
		free(r->held.id);
		if (status == DELIVER_FAILED)
			return place_failed(r, err);
		trouble_failed(r, r->held.message, status);
		retrieval_complain(
		    r, message_at(r, r->held.message)->number, err);
		return 0;
	}
	if (r->n_batch == 0)
		r->batch_since = wait_clock();
	r->batch[r->n_batch++] = r->held;
	r->batch_octets += r->held.octets;
	return 0;
}

static int
commit_if_due(struct retrieval *r, struct err *err)
{
	return r->cautious || batch_is_due(r) ? commit(r, err) : 0;
}

/* Without a unique-id and TOP only now it shows what it is. */
static bool
is_known_after_all(struct retrieval *r, struct received *received)
{
	const struct plan_settings *settings = &r->fetch->settings;
	struct listing_message *message = message_at(r, received->message);
	struct seen_message *known;
	struct buf id = {0};

	if (received->id[0] != '\0')
		return false;
	seen_id_of_header(&id, received->header);
	known = identify_header(r->fetch, message, &id);
	free(received->id);
	received->id = mem_dup(buf_string(&id));
	listing_set_id(&r->fetch->listing, message, &id);
	buf_free(&id);
	if (known == NULL)
		return false;
	*listing_seen(&r->fetch->listing, message) =
	    seen_index(r->fetch->seen, known);
	if (!settings->only_new)
		return false;
	if (settings->delete_delivered)
		add_due(r, message->number, seen_index(r->fetch->seen, known));
	return true;
}

static void
hold(struct retrieval *r, uint32_t index, uint64_t octets)
{
	const struct listing_message *message = message_at(r, index);

	r->held = (struct received){
	    .message = index,
	    .header = msg_header_hash(r->msg),
	    .octets = octets,
	    .id = mem_dup(listing_id(&r->fetch->listing, message)),
	};
	r->holding = true;
	r->inexact = r->inexact || message->octets != octets;
	if (is_known_after_all(r, &r->held))
		drop_held(r);
}

/* Is it known to have another size than listed, and is that no habit? */
static bool
held_is_suspect(const struct retrieval *r)
{
	const struct listing_message *message;

	if (!r->holding || r->sizes_lie)
		return false;
	message = message_at(r, r->held.message);
	return message->octets != LISTING_OCTETS_UNKNOWN &&
	    r->held.octets != message->octets;
}

/* -- in step with the server -- */

/* With one command in flight, and that never refused, nothing but the message
 * that is held can be wrong. */
static int
out_of_step(struct retrieval *r, struct err *err)
{
	r->forged = r->forged || r->n_not_given > 0 || is_proven_often(r);
	client_give_up(client_of(r));
	return err_set(err, ERR_PROTOCOL,
	    "retrieval: the server's answers do not fit what was asked; "
	    "perhaps it does not double the dots of a message");
}

/* It was indeed for these that the server had a no. */
static void
note_not_given(struct retrieval *r)
{
	for (size_t i = 0; i < r->n_not_given; i++)
		trouble_failed(r, r->not_given[i], DELIVER_DEFERRED);
	r->n_not_given = 0;
}

/* An answer to STAT, the same as at first.  Some servers count anew when they
 * give out unique-ids, as their LIST shows. */
static bool
is_same_stat(const struct listing *listing, const struct client_reply *reply)
{
	uint64_t count, octets;

	return reply->ok &&
	    parse_stat(reply->text, reply->text_len, &count, &octets) &&
	    count == listing->count &&
	    (octets == listing->octets || octets == listing->octets_listed);
}

/* Where one message is all there is, its number and size may be the same. */
static bool
answers_stat(const struct retrieval *r, const struct client_reply *reply)
{
	const struct listing *listing = &r->fetch->listing;

	return listing->count > 1 &&
	    listing->octets != LISTING_OCTETS_UNKNOWN &&
	    is_same_stat(listing, reply);
}

/* STAT is answered as at first: all that came before is what was asked. */
static int
take_proof(
    struct retrieval *r, const struct client_reply *reply, struct err *err)
{
	if (!is_same_stat(&r->fetch->listing, reply)) {
		r->forged = true;
		return out_of_step(r, err);
	}
	r->sizes_lie = r->sizes_lie || held_is_suspect(r);
	r->inexact = false;
	note_not_given(r);
	r->proven = r->next_reply;
	if (stage_held(r, err) == -1 || commit_if_due(r, err) == -1)
		return -1;
	r->n_proven = r->n_recorded;
	return 0;
}

static int
discard(void *context, const char *data, size_t n, struct err *err)
{
	(void)context;
	(void)data;
	(void)n;
	(void)err;
	return 0;
}

/* Take the replies that are still to come, and no message with them. */
static int
drain(struct retrieval *r, struct err *err)
{
	struct client *client = client_of(r);
	struct client_body body = {.sink = discard};
	struct client_reply reply;

	client_drop_unsent(client);
	while (client_queued(client) > 0) {
		if (client_reply(client, &reply, err) == -1)
			return -1;
		if (reply.command == CMD_DELE)
			take_deletion(r, &reply);
		else if (reply.ok && reply.command == CMD_RETR &&
		    client_body(client, &body, err) == -1)
			return -1;
	}
	return 0;
}

/*
 * A message has not its listed size.  Do sizes lie here, or is that another
 * one, or not its end?  What is in flight is asked for once more when that is
 * clear.
 */
static int
prove_step(struct retrieval *r, struct err *err)
{
	struct client_reply reply;

	/* What came before it, one by one, is not in doubt. */
	if (!is_pipelined(r) && r->n_not_given == 0)
		r->n_proven = r->n_recorded;
	if (drain(r, err) == -1 ||
	    client_queue(client_of(r), CMD_STAT, NULL, err) == -1 ||
	    client_reply(client_of(r), &reply, err) == -1) {
		distrust_held(r);
		return err_prefix(err, "retrieval");
	}
	r->next = r->next_reply;
	r->unproven = 0;
	r->unproven_octets = 0;
	if (take_proof(r, &reply, err) == 0)
		return 0;
	if (!r->forged || !is_proven_often(r))
		distrust_held(r);
	return -1;
}

/* -- one message as it streams in -- */

static int
take_piece(void *context, const char *data, size_t n, struct err *err)
{
	struct retrieval *r = context;

	for (size_t i = 0; i < n && r->n_first < sizeof(r->first); i++)
		r->first[r->n_first++] = data[i];
	msg_feed(r->msg, data, n);
	if (msg_size(r->msg) >= r->size_cap) {
		r->is_over_cap = true;
		return err_set(err, ERR_TEMPFAIL, "larger than listed");
	}
	r->sink_status = deliver_write(r->deliver, data, n, err);
	if (progress_is_due(r))
		tell_progress(r, msg_size(r->msg));
	return r->sink_status == DELIVER_OK ? 0 : -1;
}

static uint64_t
limit_of(const struct retrieval *r, const struct listing_message *message)
{
	uint64_t octets = message->octets;

	if (octets > SIZE_BELIEVED)
		octets = r->fetch->listing.octets;
	if (octets > SIZE_BELIEVED)
		octets = SIZE_ASSUMED;
	return octets * GROWTH_FACTOR + GROWTH_OCTETS;
}

static int
begin(
    struct retrieval *r, const struct listing_message *message, struct err *err)
{
	const char *id = listing_id(&r->fetch->listing, message);
	struct deliver_message what = {.uid = id};
	char tag[17];

	seen_tag(r->fetch->seen, id, tag);
	what.tag = tag;
	msg_begin(r->msg);
	r->is_over_cap = false;
	r->n_first = 0;
	return deliver_begin(r->deliver, &what, err);
}

/* Its listing said less than it is: as the plan would have decided. */
static int
leave_large(
    struct retrieval *r, const struct listing_message *message, uint64_t octets)
{
	deliver_abort(r->deliver);
	log_say(LOG_AT_VERBOSE,
	    "message %u: larger than listed, and than killsize or skipsize "
	    "allows",
	    message->number);
	if (r->fetch->settings.delete_delivered &&
	    octets >= r->fetch->account->killsize)
		add_due(r, message->number, LISTING_NONE);
	return 0;
}

/* The body did not go where it should. */
static int
give_up_message(struct retrieval *r, const struct listing_message *message,
    const struct client_body *body, struct err *err)
{
	if (body->in_step && r->is_over_cap) {
		trouble_tried(r);
		return leave_large(r, message, body->octets);
	}
	deliver_abort(r->deliver);
	if (r->sink_status == DELIVER_FAILED)
		return place_failed(r, err);
	if (!body->in_step)
		return err_prefix(err, "message %u", message->number);
	retrieval_complain(r, message->number, err);
	return 0;
}

/* The server did not give the message, or that may not have been meant for
 * it: then what comes later is not what was asked. */
static int
fail_at_server(struct retrieval *r, uint32_t index, struct err *err)
{
	bool is_first = r->n_not_given == 0;

	trouble_tried(r);
	r->not_given =
	    mem_room(r->not_given, r->n_not_given, sizeof(*r->not_given));
	r->not_given[r->n_not_given++] = index;
	retrieval_complain(r, message_at(r, index)->number, err);
	if (!is_first || is_proven_often(r))
		return 0;
	if (commit(r, err) == -1)
		return -1;
	r->n_proven = r->n_recorded;
	return 0;
}

/* A reply too many, or a message that never came: what follows is taken for
 * the text of this one. */
static bool
begins_with_reply(const struct retrieval *r)
{
	return (r->n_first >= 4 &&
		   (memcmp(r->first, "+OK ", 4) == 0 ||
		       memcmp(r->first, "+OK\n", 4) == 0)) ||
	    (r->n_first >= 5 &&
		(memcmp(r->first, "-ERR ", 5) == 0 ||
		    memcmp(r->first, "-ERR\n", 5) == 0));
}

/* With more commands in flight nobody knows how many replies are gone. */
static int
refuse_reply(struct retrieval *r, uint32_t index, struct err *err)
{
	deliver_abort(r->deliver);
	err_set(err, ERR_TEMPFAIL,
	    "what came begins with a reply, and has not the size listed");
	if (fail_at_server(r, index, err) == -1)
		return -1;
	return is_pipelined(r) ? out_of_step(r, err) : 0;
}

static int
take_body(struct retrieval *r, uint32_t index, struct err *err)
{
	const struct listing_message *message = message_at(r, index);
	struct client_body body = {
	    .sink = take_piece,
	    .context = r,
	    .limit = limit_of(r, message),
	};

	r->sink_status = begin(r, message, err);
	if (r->sink_status == DELIVER_FAILED)
		return place_failed(r, err);
	if (client_body(client_of(r), &body, err) == -1)
		return give_up_message(r, message, &body, err);
	if (begins_with_reply(r) && body.octets != message->octets)
		return refuse_reply(r, index, err);
	trouble_tried(r);
	if (body.octets >= r->size_cap)
		return leave_large(r, message, body.octets);
	hold(r, index, body.octets);
	/* Perhaps the proof is on its way already. */
	if (held_is_suspect(r) && client_next(client_of(r)) != CMD_STAT)
		return prove_step(r, err);
	return 0;
}

/* 0: go on; -1: the session or the place is lost. */
static int
receive(struct retrieval *r, const struct client_reply *reply, struct err *err)
{
	uint32_t index = r->wanted[r->next_reply++];

	if (!reply->ok) {
		session_refused(&r->fetch->session, reply, ERR_TEMPFAIL, err);
		return fail_at_server(r, index, err);
	}
	if (answers_stat(r, reply))
		return out_of_step(r, err);
	if (try_message(r, index, err) == -1)
		return -1;
	return take_body(r, index, err);
}

/* -- all messages -- */

/* In one flight with the messages it costs nothing.  The first message is asked
 * for by itself: it tells whether sizes lie. */
static void
queue_proof(struct retrieval *r)
{
	struct err never;

	if (!is_proven_often(r))
		return;
	if (r->asked_for_proof && r->next < r->n_wanted &&
	    r->unproven < r->proof_messages &&
	    r->unproven_octets < PROOF_OCTETS)
		return;
	client_queue(client_of(r), CMD_STAT, NULL, &never);
	r->asked_for_proof = true;
	r->unproven = 0;
	r->unproven_octets = 0;
}

static void
top_up(struct retrieval *r)
{
	while (
	    r->next < r->n_wanted && client_queued(client_of(r)) < QUEUE_MAX) {
		const struct listing_message *message =
		    message_at(r, r->wanted[r->next++]);
		uint64_t octets = message->octets != LISTING_OCTETS_UNKNOWN
		    ? message->octets
		    : 0;

		client_queue_message(
		    client_of(r), CMD_RETR, message->number, octets);
		r->unproven++;
		/* A size without sense must not overflow. */
		r->unproven_octets +=
		    octets < PROOF_OCTETS ? octets : PROOF_OCTETS;
		queue_proof(r);
	}
}

/* Waiting for the answer to a RETR is a part of the attempt. */
static int
try_next(struct retrieval *r, struct err *err)
{
	if (client_next(client_of(r)) != CMD_RETR)
		return 0;
	return try_message(r, r->wanted[r->next_reply], err);
}

/* What the commands took counts as well. */
static bool
time_is_up(const struct retrieval *r)
{
	return r->fetch->end != WAIT_FOREVER && wait_clock() >= r->fetch->end;
}

/* A status line proves that the message before it ended where it seemed to. */
static int
take_reply(struct retrieval *r, struct err *err)
{
	struct client_reply reply;

	if (wait_check(err) == -1)
		return -1;
	if (time_is_up(r))
		return err_set(err, ERR_TEMPFAIL,
		    "retrieval: the time for the whole session is up");
	if (try_next(r, err) == -1)
		return -1;
	if (client_unasked_input(client_of(r)))
		return out_of_step(r, err);
	if (client_reply(client_of(r), &reply, err) == -1)
		return err_prefix(err, "retrieval");
	if (reply.command == CMD_STAT)
		return take_proof(r, &reply, err);
	if (stage_held(r, err) == -1)
		return -1;
	if (!is_proven_often(r) && commit_if_due(r, err) == -1)
		return -1;
	if (reply.command == CMD_DELE)
		take_deletion(r, &reply);
	if (reply.command == CMD_RETR)
		return receive(r, &reply, err);
	return 0;
}

static int
take_replies(struct retrieval *r, struct err *err)
{
	for (top_up(r); client_queued(client_of(r)) > 0; top_up(r))
		if (take_reply(r, err) == -1)
			return -1;
	return 0;
}

/* Behind the last message there is no status line; nor may there be more. */
static int
prove_end(struct retrieval *r, struct err *err)
{
	if (r->inexact || r->n_not_given > 0) {
		if (client_queue(client_of(r), CMD_STAT, NULL, err) == -1 ||
		    take_replies(r, err) == -1)
			return -1;
	} else if (client_unasked_input(client_of(r))) {
		return out_of_step(r, err);
	}
	return stage_held(r, err);
}

void
retrieval_be_cautious(struct retrieval *r)
{
	r->cautious = true;
	r->proof_messages = 1;
}

int
retrieval_fetch(struct retrieval *r, struct err *err)
{
	if (take_replies(r, err) == -1 || prove_end(r, err) == -1 ||
	    commit(r, err) == -1)
		return -1;
	r->n_proven = r->n_recorded;
	r->proven = r->next_reply;
	return 0;
}

/* Messages that failed before come last, so that they stop no others, and
 * each is proven by itself. */
static int
retrieve(struct retrieval *r, struct err *err)
{
	r->n_wanted = r->fetch->plan.n_untroubled;
	if (retrieval_fetch(r, err) == -1)
		return -1;
	r->n_wanted = r->fetch->plan.n_wanted;
	retrieval_be_cautious(r);
	if (r->next < r->n_wanted && retrieval_fetch(r, err) == -1)
		return -1;
	if (trouble_judge(r, err) == -1 || queue_deletions(r, err) == -1)
		return -1;
	return take_replies(r, err);
}

/* -- the end of it, when it is no good one -- */

/* Replies were forged: whatever was recorded since the session was last in
 * step may be another message's text.  Twice is better than lost. */
static void
undo_unproven(struct retrieval *r)
{
	size_t n = r->n_recorded - r->n_proven;

	for (size_t i = r->n_proven; i < r->n_recorded; i++)
		seen_undo(r->fetch->seen, r->recorded[i]);
	if (n > 0)
		log_say(LOG_AT_WARNING,
		    "%zu messages of this session cannot be trusted; they "
		    "will be fetched again",
		    n);
}

/* What was received whole is kept. */
static void
keep_whole(struct retrieval *r, const struct err *why)
{
	struct err err;

	/* The line was lost behind it, and it has its listed size: no
	 * status line is needed to believe that it is whole. */
	if (why->class == ERR_TEMPFAIL && !held_is_suspect(r) &&
	    !time_is_up(r) && stage_held(r, &err) == -1) {
		fetch_report(r->fetch, &err);
		return;
	}
	if (commit(r, &err) == -1)
		fetch_report(r->fetch, &err);
}

/* One of them did it, and must not be in the way of the others again. */
static void
distrust_unproven(struct retrieval *r)
{
	for (size_t i = r->proven; i < r->next_reply; i++)
		trouble_broke(r, r->wanted[i]);
}

/* Whose attempt was it that had no end? */
static void
blame(struct retrieval *r, bool stopped)
{
	if (r->tried == LISTING_NONE)
		return;
	if (stopped)
		trouble_failed(r, r->tried, DELIVER_DEFERRED);
	else if (!r->place_failed)
		trouble_broke(r, r->tried);
}

static void
find_fault(struct retrieval *r, const struct err *why, bool stopped)
{
	if (r->forged && is_proven_often(r)) {
		distrust_unproven(r);
		return;
	}
	note_not_given(r);
	if (why->class == ERR_PROTOCOL && !stopped)
		distrust_held(r);
	if (!r->forged)
		blame(r, stopped);
}

void
retrieval_wind_up(struct retrieval *r, const struct err *why)
{
	struct err ignored;
	bool stopped = wait_stop_signal() != 0;

	if (stopped)
		wait_grace(STOP_TIME);
	if (r->forged)
		undo_unproven(r);
	else if (!stopped && !r->place_failed)
		keep_whole(r, why);
	find_fault(r, why, stopped);
	drop_held(r);
	conn_limit(r->fetch->session.conn, stopped ? STOP_TIME : DRAIN_TIME);
	if (client_in_step(client_of(r)))
		drain(r, &ignored);
}

void
retrieval_begin(struct retrieval *r, struct fetch *fetch,
    struct deliver *deliver, const char *target)
{
	const struct account *account = fetch->account;

	*r = (struct retrieval){
	    .fetch = fetch,
	    .deliver = deliver,
	    .target = target,
	    .msg = msg_new(),
	    .batch_max = deliver_batch_max(deliver),
	    .size_cap = account->skipsize < account->killsize
		? account->skipsize
		: account->killsize,
	    .tried = LISTING_NONE,
	};
	r->proof_messages =
	    r->batch_max > PROOF_MESSAGES ? PROOF_MESSAGES : r->batch_max;
	r->batch = mem_alloc(r->batch_max * sizeof(*r->batch));
}

void
retrieval_end(struct retrieval *r)
{
	clear_batch(r);
	free(r->batch);
	free(r->recorded);
	free(r->refused);
	free(r->not_given);
	free(r->due);
	msg_free(r->msg);
}

int
retrieve_messages(struct fetch *fetch, struct err *err)
{
	struct retrieval r;
	int status;

	retrieval_begin(&r, fetch, fetch->deliver, fetch->target);
	r.wanted = fetch->plan.wanted;
	for (size_t i = 0; i < fetch->plan.n_due; i++)
		add_due(&r, fetch->plan.due[i].number, fetch->plan.due[i].seen);
	status = retrieve(&r, err);
	if (status == -1)
		retrieval_wind_up(&r, err);
	seen_attempts_over(fetch->seen);
	retrieval_end(&r);
	return status;
}
