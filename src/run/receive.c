/* SPDX-License-Identifier: ISC */
/* One message as it streams in. */
#include "run/receive.h"

#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/wait.h"
#include "run/batch.h"
#include "run/deletion.h"
#include "run/held.h"
#include "run/proof.h"
#include "run/trouble.h"

#define PROGRESS_TIME 100 /* milliseconds from one to the next */

/* How far beyond its listed size a message may go: sizes are hints, but an
 * endless one must end. */
#define GROWTH_FACTOR 16
#define GROWTH_OCTETS (UINT64_C(64) << 20)
#define SIZE_BELIEVED (UINT64_C(1) << 40) /* a larger one is no hint */
#define SIZE_ASSUMED (UINT64_C(16) << 20) /* where there is none */

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

uint64_t
receive_limit(const struct retrieval *r, uint32_t index)
{
	uint64_t octets = retrieval_message(r, index)->octets;

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

	if (deliver_wants_tag(r->deliver)) {
		seen_tag(r->fetch->seen, id, tag);
		what.tag = tag;
	}
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
		deletion_add(r, message->number, LISTING_NONE);
	else
		r->fetch->unkept = true;
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
	r->fetch->unkept = true;
	if (r->sink_status == DELIVER_FAILED)
		return batch_place_failed(r, err);
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
	retrieval_complain(r, retrieval_message(r, index)->number, err);
	if (!is_first || proof_is_frequent(r))
		return 0;
	if (batch_commit(r, err) == -1)
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
	r->fetch->unkept = true;
	err_set(err, ERR_TEMPFAIL,
	    "what came begins with a reply, and has not the size listed");
	if (fail_at_server(r, index, err) == -1)
		return -1;
	return retrieval_is_pipelined(r) ? proof_out_of_step(r, err) : 0;
}

static int
take_body(struct retrieval *r, uint32_t index, struct err *err)
{
	const struct listing_message *message = retrieval_message(r, index);
	struct client_body body = {
	    .sink = take_piece,
	    .context = r,
	    .limit = receive_limit(r, index),
	};

	r->sink_status = begin(r, message, err);
	if (r->sink_status == DELIVER_FAILED)
		return batch_place_failed(r, err);
	if (client_body(retrieval_client(r), &body, err) == -1)
		return give_up_message(r, message, &body, err);
	if (begins_with_reply(r) && body.octets != message->octets)
		return refuse_reply(r, index, err);
	trouble_tried(r);
	if (body.octets >= r->size_cap)
		return leave_large(r, message, body.octets);
	held_take(r, index, body.octets);
	/* Perhaps the proof is on its way already. */
	if (held_is_suspect(r) && !proof_is_next(r))
		return proof_demand(r, err);
	return 0;
}

int
receive_message(
    struct retrieval *r, const struct client_reply *reply, struct err *err)
{
	uint32_t index = r->wanted[r->next_reply++];

	if (!reply->ok) {
		if (r->next_reply <= r->drained)
			r->fetch->unkept = true;
		session_refused(&r->fetch->session, reply, ERR_TEMPFAIL, err);
		return fail_at_server(r, index, err);
	}
	if (proof_answers_stat(r, reply))
		return proof_out_of_step(r, err);
	if (trouble_try(r, index, err) == -1)
		return -1;
	return take_body(r, index, err);
}
