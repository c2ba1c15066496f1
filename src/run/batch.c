/* SPDX-License-Identifier: ISC */
/*
 * The order of the promise lives in batch_commit and nowhere else: durable,
 * recorded, published.  Deletions come last of all: they take effect only at
 * QUIT anyway (RFC 1939, section 6).
 */
#include "run/batch.h"

#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/wait.h"
#include "run/deletion.h"
#include "run/trouble.h"

#define BATCH_TIME 1000 /* milliseconds that a batch may take */

int
batch_place_failed(struct retrieval *r, struct err *err)
{
	r->place_failed = true;
	return err_prefix(err, "deliver");
}

void
batch_clear(struct retrieval *r)
{
	for (size_t i = 0; i < r->n_batch; i++)
		free(r->batch[i].id);
	r->n_batch = 0;
	r->batch_octets = 0;
}

/* Of one that was not in LIST the octets that came: without any, whatever has
 * its unique-id one day would pass for it. */
static uint64_t
octets_to_record(
    const struct listing_message *message, const struct received *received)
{
	return message->octets != LISTING_OCTETS_UNKNOWN ? message->octets
							 : received->octets;
}

/* Note one message of the batch; returns its index in the state. */
static uint32_t
record(struct retrieval *r, const struct received *received)
{
	struct fetch *fetch = r->fetch;
	const struct listing_message *message =
	    retrieval_message(r, received->message);
	uint64_t octets = octets_to_record(message, received);
	uint32_t known = *listing_seen(&fetch->listing, message);

	/* Fetched once more on request: one record is enough. */
	if (known != LISTING_NONE)
		seen_undo(fetch->seen, known);
	return r->is_quarantine
	    ? seen_quarantined(fetch->seen, received->id, octets,
		  received->header, received->place)
	    : seen_delivered(fetch->seen, received->id, octets,
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
		    retrieval_message(r, r->batch[i].message);

		r->recorded =
		    mem_room(r->recorded, r->n_recorded, sizeof(uint32_t));
		r->recorded[r->n_recorded++] = indexes[i];
		if (plan_delete_after_delivery(&fetch->settings) &&
		    !message->unsettled && !r->is_quarantine)
			deletion_add(r, message->number, indexes[i]);
	}
	if (!r->is_quarantine) {
		fetch->counts.messages += r->n_batch;
		fetch->counts.octets += r->batch_octets;
	}
	batch_clear(r);
}

static void
note_place(struct retrieval *r)
{
	const char *note = deliver_note(r->deliver);

	if (note != NULL && !r->noted)
		log_say(LOG_AT_VERBOSE, "deliver: %s", note);
	r->noted = note != NULL;
}

int
batch_commit(struct retrieval *r, struct err *err)
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

int
batch_commit_if_due(struct retrieval *r, struct err *err)
{
	return r->cautious || batch_is_due(r) ? batch_commit(r, err) : 0;
}
