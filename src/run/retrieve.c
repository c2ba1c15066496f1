/* SPDX-License-Identifier: ISC */
/*
 * Retrieval in a window, delivery in batches.  The order of the promise lives
 * in commit and nowhere else: durable, recorded, published, then deleted.
 */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "base/wait.h"
#include "mail/msg.h"
#include "run/fetch.h"

#define QUEUE_MAX 4096		/* commands ahead; the window is smaller */
#define BATCH_OCTETS (64 << 20) /* a batch ends with so many */
#define BATCH_TIME 1000		/* milliseconds, or after this time */
#define PROGRESS_TIME 100	/* milliseconds from one to the next */
#define DRAIN_TIME 5000		/* milliseconds to get back into step */
#define STOP_TIME 1000		/* the same after a request to stop */

/* How far beyond its listed size a message may go: sizes are hints, but an
 * endless one must end. */
#define GROWTH_FACTOR 16
#define GROWTH_OCTETS (UINT64_C(64) << 20)

/* A message that is received whole. */
struct received {
	uint32_t message; /* index in listing.messages */
	uint64_t header;
	bool is_odd; /* its size is not the listed one */
	char *id;
	char place[DELIVER_PLACE_MAX];
};

struct retrieval {
	struct fetch *fetch;
	struct msg *msg;
	size_t next; /* of plan.wanted, to be asked for */
	size_t next_reply;
	struct received *batch;
	size_t n_batch;
	size_t batch_max;
	uint64_t batch_octets;
	int64_t batch_since;
	bool holding; /* the newest message awaits proof of step */
	struct received held;
	uint64_t held_octets;
	bool place_failed;
	int sink_status;	    /* of the delivery, DELIVER_OK and so on */
	uint64_t size_cap;	    /* octets, of skipsize and killsize */
	bool is_over_cap;	    /* the message in the making */
	struct fetch_due *deleting; /* sent only when all is retrieved */
	size_t n_deleting, next_deleting;
	uint32_t *odd; /* recorded, but of another size than listed */
	size_t n_odd;
	int64_t progress_at;
};

static struct listing_message *
message_at(const struct retrieval *r, uint32_t index)
{
	return &r->fetch->listing.messages[index];
}

static void
tell_progress(struct retrieval *r, uint64_t octets_more)
{
	struct event event = {.type = EVENT_PROGRESS};
	int64_t now;

	if (!r->fetch->options->show_progress)
		return;
	now = wait_clock();
	if (now < r->progress_at)
		return;
	r->progress_at = now + PROGRESS_TIME;
	event.counts = r->fetch->counts;
	event.counts.messages += r->n_batch + r->holding;
	event.counts.octets += r->batch_octets + octets_more;
	event_send(r->fetch->parent, &event);
}

static void
report_message(struct retrieval *r, uint32_t number, struct err *err)
{
	err_prefix(err, "message %u", number);
	r->fetch->counts.failed++;
	fetch_report(r->fetch, err);
}

/*
 * Deletions wait until all messages are here and the session was found in
 * step behind the last one: a server that lets a message forge replies would
 * else have one deleted that was never received.  Nothing is lost by the
 * wait, as they take effect only at QUIT (RFC 1939, section 6).
 */

static void
plan_deletion(struct retrieval *r, uint32_t number, uint32_t seen)
{
	r->deleting =
	    mem_room(r->deleting, r->n_deleting, sizeof(*r->deleting));
	r->deleting[r->n_deleting++] = (struct fetch_due){number, seen};
}

static void
queue_deletions(struct retrieval *r)
{
	for (size_t i = 0; i < r->n_deleting; i++)
		client_queue_message(r->fetch->session.client, CMD_DELE,
		    r->deleting[i].number, 0);
}

static void
take_deletion(struct retrieval *r, const struct client_reply *reply)
{
	const struct fetch_due *due = &r->deleting[r->next_deleting++];
	struct err err;

	if (!reply->ok) {
		client_refused(reply, ERR_TEMPFAIL, &err);
		report_message(r, due->number, &err);
		return;
	}
	r->fetch->counts.deleted++;
	if (due->seen != LISTING_NONE)
		seen_deleted(r->fetch->seen, due->seen);
}

/* The batch. */

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
	struct seen *seen = r->fetch->seen;
	const struct listing_message *message =
	    message_at(r, received->message);
	uint64_t octets = message->octets < SEEN_OCTETS_UNKNOWN
	    ? message->octets
	    : SEEN_OCTETS_UNKNOWN;
	uint32_t index;

	/* Fetched once more on request: one record is enough. */
	if (message->seen != LISTING_NONE)
		seen_undo(seen, message->seen);
	index = seen_delivered(
	    seen, received->id, octets, received->header, received->place);
	seen_at(seen, index)->flags |= SEEN_MATCHED;
	return index;
}

static void
settle_batch(struct retrieval *r, const uint32_t *indexes)
{
	struct fetch *fetch = r->fetch;

	for (size_t i = 0; i < r->n_batch; i++) {
		const struct received *received = &r->batch[i];
		const struct listing_message *message =
		    message_at(r, received->message);

		if (received->is_odd) {
			r->odd = mem_room(r->odd, r->n_odd, sizeof(*r->odd));
			r->odd[r->n_odd++] = indexes[i];
		}
		if (plan_delete_after_delivery(&fetch->settings) &&
		    !message->unsettled)
			plan_deletion(r, message->number, indexes[i]);
	}
	fetch->counts.messages += r->n_batch;
	fetch->counts.octets += r->batch_octets;
	clear_batch(r);
}

/* Make the batch durable, record it, publish it; then it may be deleted. */
static int
commit(struct retrieval *r, struct err *err)
{
	struct fetch *fetch = r->fetch;
	char where[DELIVER_WHERE_MAX];
	uint32_t *indexes;
	int status;

	if (r->n_batch == 0)
		return 0;
	indexes = mem_alloc(r->n_batch * sizeof(*indexes));
	status = deliver_sync(fetch->deliver, where, err);
	if (status == 0) {
		seen_batch(fetch->seen, fetch->target, where);
		for (size_t i = 0; i < r->n_batch; i++)
			indexes[i] = record(r, &r->batch[i]);
		status = seen_flush(fetch->seen, true, err);
	}
	if (status == 0)
		status = deliver_publish(fetch->deliver, err);
	if (status == 0) {
		seen_published(fetch->seen);
		if (deliver_holds_lock(fetch->deliver))
			status = seen_flush(fetch->seen, true, err);
	}
	deliver_release(fetch->deliver);
	if (status == 0)
		settle_batch(r, indexes);
	free(indexes);
	return status == 0 ? 0 : place_failed(r, err);
}

static bool
batch_is_due(const struct retrieval *r)
{
	return r->n_batch >= r->batch_max || r->batch_octets >= BATCH_OCTETS ||
	    (r->n_batch > 0 && wait_clock() - r->batch_since >= BATCH_TIME);
}

/* A message received whole, and the session in step behind it: into the
 * batch.  -1 when the place failed. */
static int
stage_held(struct retrieval *r, struct err *err)
{
	struct deliver_facts facts = {
	    .wire_octets = r->held_octets,
	    .sender = msg_sender(r->msg),
	};
	uint32_t number;
	int status;

	if (!r->holding)
		return 0;
	r->holding = false;
	number = message_at(r, r->held.message)->number;
	status = deliver_stage(r->fetch->deliver, &facts, r->held.place, err);
	if (status != DELIVER_OK) {
		free(r->held.id);
		if (status == DELIVER_FAILED)
			return place_failed(r, err);
		report_message(r, number, err);
		return 0;
	}
	if (r->n_batch == 0)
		r->batch_since = wait_clock();
	r->batch[r->n_batch++] = r->held;
	r->batch_octets += r->held_octets;
	return batch_is_due(r) ? commit(r, err) : 0;
}

static void
drop_held(struct retrieval *r)
{
	if (!r->holding)
		return;
	r->holding = false;
	free(r->held.id);
	deliver_abort(r->fetch->deliver);
}

/* One message as it streams in. */

static int
take_piece(void *context, const char *data, size_t n, struct err *err)
{
	struct retrieval *r = context;

	msg_feed(r->msg, data, n);
	if (msg_size(r->msg) >= r->size_cap) {
		r->is_over_cap = true;
		return -1;
	}
	r->sink_status = deliver_write(r->fetch->deliver, data, n, err);
	tell_progress(r, msg_size(r->msg));
	return r->sink_status == DELIVER_OK ? 0 : -1;
}

static uint64_t
limit_of(const struct listing_message *message)
{
	if (message->octets == LISTING_OCTETS_UNKNOWN)
		return 0;
	return message->octets * GROWTH_FACTOR + GROWTH_OCTETS;
}

/* Without a unique-id and TOP only now it shows what it is. */
static bool
is_known_after_all(struct retrieval *r, struct received *received)
{
	struct seen_message *known;
	struct buf id = {0};

	if (received->id[0] != '\0')
		return false;
	seen_id_of_header(&id, received->header);
	known = seen_match(r->fetch->seen, id.data, id.len);
	free(received->id);
	received->id = mem_dup(buf_string(&id));
	buf_free(&id);
	if (known == NULL || !r->fetch->settings.only_new)
		return false;
	if (r->fetch->settings.delete_delivered)
		plan_deletion(r, message_at(r, received->message)->number,
		    seen_index(r->fetch->seen, known));
	return true;
}

static void
hold(struct retrieval *r, uint32_t index, uint64_t octets)
{
	const struct listing_message *message = message_at(r, index);

	r->held = (struct received){
	    .message = index,
	    .header = msg_header_hash(r->msg),
	    .is_odd = message->octets != LISTING_OCTETS_UNKNOWN &&
		message->octets != octets,
	    .id = mem_dup(listing_id(&r->fetch->listing, message)),
	};
	r->held_octets = octets;
	r->holding = true;
	if (is_known_after_all(r, &r->held))
		drop_held(r);
}

/* The tag that the message's file name will carry. */
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
	return deliver_begin(r->fetch->deliver, &what, err);
}

/* Its listing said less than it is: as the plan would have decided. */
static void
leave_large(struct retrieval *r, const struct listing_message *message)
{
	const struct account *account = r->fetch->account;

	log_say(LOG_AT_VERBOSE,
	    "message %u: larger than listed, and than killsize or skipsize "
	    "allows",
	    message->number);
	if (r->fetch->settings.delete_delivered &&
	    msg_size(r->msg) >= account->killsize)
		plan_deletion(r, message->number, LISTING_NONE);
}

/* The body did not go where it should. */
static int
give_up_message(struct retrieval *r, const struct listing_message *message,
    bool in_step, struct err *err)
{
	deliver_abort(r->fetch->deliver);
	if (r->sink_status == DELIVER_FAILED)
		return place_failed(r, err);
	if (!in_step)
		return err_prefix(err, "message %u", message->number);
	if (r->is_over_cap)
		leave_large(r, message);
	else
		report_message(r, message->number, err);
	return 0;
}

/* 0: go on; -1: the session or the place is lost. */
static int
receive(struct retrieval *r, const struct client_reply *reply, bool *in_step,
    struct err *err)
{
	uint32_t index = r->fetch->plan.wanted[r->next_reply++];
	struct listing_message *message = message_at(r, index);
	struct client_body body = {
	    .sink = take_piece,
	    .context = r,
	    .limit = limit_of(message),
	};

	if (!reply->ok) {
		client_refused(reply, ERR_TEMPFAIL, err);
		report_message(r, message->number, err);
		return 0;
	}
	r->sink_status = begin(r, message, err);
	if (r->sink_status == DELIVER_FAILED) {
		*in_step = false;
		return place_failed(r, err);
	}
	if (client_body(r->fetch->session.client, &body, err) == 0) {
		hold(r, index, body.octets);
		return 0;
	}
	*in_step = body.in_step;
	return give_up_message(r, message, body.in_step, err);
}

static void
top_up(struct retrieval *r)
{
	struct fetch *fetch = r->fetch;

	while (r->next < fetch->plan.n_wanted &&
	    client_queued(fetch->session.client) < QUEUE_MAX) {
		const struct listing_message *message =
		    message_at(r, fetch->plan.wanted[r->next++]);

		client_queue_message(fetch->session.client, CMD_RETR,
		    message->number,
		    message->octets != LISTING_OCTETS_UNKNOWN ? message->octets
							      : 0);
	}
}

/* The reply proves that the message before it ended where it seemed to. */
static int
take_reply(struct retrieval *r, bool *in_step, struct err *err)
{
	struct client_reply reply;

	if (wait_check(err) == -1)
		return -1;
	if (client_reply(r->fetch->session.client, &reply, err) == -1) {
		*in_step = wait_stop_signal() != 0;
		return -1;
	}
	if (stage_held(r, err) == -1) {
		*in_step = !reply.ok || reply.command != CMD_RETR;
		return -1;
	}
	if (reply.command == CMD_DELE) {
		take_deletion(r, &reply);
		return 0;
	}
	return receive(r, &reply, in_step, err);
}

/* Nothing is in flight any more: what came last is whole if nothing follows
 * that nobody asked for. */
static int
settle_last(struct retrieval *r, bool *in_step, struct err *err)
{
	if (client_unasked_input(r->fetch->session.client)) {
		*in_step = false;
		return err_set(err, ERR_PROTOCOL,
		    "the server sent more than it was asked for");
	}
	if (stage_held(r, err) == -1)
		return -1;
	return commit(r, err);
}

static int
take_replies(struct retrieval *r, bool *in_step, struct err *err)
{
	struct client *client = r->fetch->session.client;

	for (top_up(r); client_queued(client) > 0; top_up(r))
		if (take_reply(r, in_step, err) == -1)
			return -1;
	return 0;
}

static int
retrieve(struct retrieval *r, bool *in_step, struct err *err)
{
	if (take_replies(r, in_step, err) == -1 ||
	    settle_last(r, in_step, err) == -1)
		return -1;
	queue_deletions(r);
	return take_replies(r, in_step, err);
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

/* Read what is still in flight, so that QUIT can be said. */
static bool
drain(struct retrieval *r)
{
	struct client *client = r->fetch->session.client;
	struct client_body body = {.sink = discard};
	struct client_reply reply;
	struct err ignored;

	conn_limit(r->fetch->session.conn,
	    wait_stop_signal() != 0 ? STOP_TIME : DRAIN_TIME);
	client_drop_unsent(client);
	while (client_queued(client) > 0) {
		if (client_reply(client, &reply, &ignored) == -1)
			return false;
		if (reply.command == CMD_DELE)
			take_deletion(r, &reply);
		else if (reply.ok && client_body(client, &body, &ignored) == -1)
			return false;
	}
	return true;
}

/*
 * The session fell out of step: messages of the wrong size may be somebody
 * else's text under their names.  Twice is better than lost.
 */
static void
undo_odd(struct retrieval *r)
{
	for (size_t i = 0; i < r->n_odd; i++)
		seen_undo(r->fetch->seen, r->odd[i]);
	if (r->n_odd > 0)
		log_say(LOG_AT_WARNING,
		    "%zu messages of this session were not as large as "
		    "listed; as the server fell out of step, they will be "
		    "fetched again",
		    r->n_odd);
}

/*
 * After a failure: what was received whole is kept, unless poplar is asked to
 * stop or the failure is that of the place; a message without proof of its
 * end never is.
 */
static void
wind_up(struct retrieval *r, const struct err *why, bool *in_step)
{
	struct err err;

	drop_held(r);
	if (wait_stop_signal() != 0)
		wait_grace(STOP_TIME);
	else if (!r->place_failed && commit(r, &err) == -1)
		fetch_report(r->fetch, &err);
	if (why->class == ERR_PROTOCOL)
		undo_odd(r);
	if (*in_step)
		*in_step = drain(r);
}

int
retrieve_messages(struct fetch *fetch, bool *in_step, struct err *err)
{
	struct retrieval r = {
	    .fetch = fetch,
	    .msg = msg_new(),
	    .batch_max = deliver_batch_max(fetch->deliver),
	    .size_cap = fetch->account->skipsize < fetch->account->killsize
		? fetch->account->skipsize
		: fetch->account->killsize,
	};
	int status;

	*in_step = true;
	r.batch = mem_alloc(r.batch_max * sizeof(*r.batch));
	for (size_t i = 0; i < fetch->plan.n_due; i++)
		plan_deletion(
		    &r, fetch->plan.due[i].number, fetch->plan.due[i].seen);
	status = retrieve(&r, in_step, err);
	if (status == -1)
		wind_up(&r, err, in_step);
	clear_batch(&r);
	free(r.batch);
	free(r.deleting);
	free(r.odd);
	msg_free(r.msg);
	return status;
}
