/* SPDX-License-Identifier: ISC */
#include "run/held.h"

#include <stdlib.h>

#include "base/mem.h"
#include "base/wait.h"
#include "run/batch.h"
#include "run/deletion.h"
#include "run/trouble.h"

/* Without a unique-id and TOP the header of the message names it. */
static struct seen_message *
name_by_header(struct retrieval *r, struct received *received)
{
	struct listing_message *message =
	    retrieval_message(r, received->message);
	struct seen_message *known =
	    identify_header(r->fetch, message, received->header);

	free(received->id);
	received->id = mem_dup(listing_id(&r->fetch->listing, message));
	return known;
}

/* The message that it is, if it was delivered before: without TOP, where TOP
 * shows something else than RETR does, or where its unique-id stands at another
 * message, too, only now that can be told. */
static struct seen_message *
find_known(struct retrieval *r, struct received *received)
{
	const struct listing_message *message =
	    retrieval_message(r, received->message);

	if (received->id[0] == '\0')
		return name_by_header(r, received);
	return seen_claim(
	    r->fetch->seen, received->id, received->header, message->octets);
}

/* What the state learns of it waits for proof that it was this message which
 * came: a wrong size would keep the right one away. */
static void
remember_known(struct retrieval *r, const struct received *received)
{
	r->known = mem_room(r->known, r->n_known, sizeof(*r->known));
	r->known[r->n_known++] =
	    (struct retrieval_known){received->message, received->header};
}

void
held_renew_known(struct retrieval *r)
{
	for (size_t i = 0; i < r->n_known; i++)
		identify_renew(r->fetch,
		    retrieval_message(r, r->known[i].message),
		    r->known[i].header);
	r->n_known = 0;
}

static bool
is_known_after_all(struct retrieval *r, struct received *received)
{
	struct fetch *fetch = r->fetch;
	const struct listing_message *message =
	    retrieval_message(r, received->message);
	const struct listing_entry entry = {
	    .number = message->number,
	    .needs_attention = true,
	    .index = received->message & INT32_MAX,
	};
	struct seen_message *known = find_known(r, received);
	struct plan_message described;
	const char *why;

	if (known == NULL)
		return false;
	*listing_seen(&fetch->listing, message) =
	    seen_index(fetch->seen, known);
	if (!fetch->settings.only_new)
		return false;
	remember_known(r, received);
	described = fetch_describe(fetch, &entry);
	if (plan_decide(&fetch->settings, &described, &why) == PLAN_DELETE)
		deletion_add(
		    r, message->number, seen_index(fetch->seen, known));
	return true;
}

void
held_take(struct retrieval *r, uint32_t index, uint64_t octets)
{
	const struct listing_message *message = retrieval_message(r, index);
	bool is_exact = message->octets == octets;

	r->held = (struct received){
	    .message = index,
	    .header = msg_header_hash(r->msg),
	    .octets = octets,
	    .id = mem_dup(listing_id(&r->fetch->listing, message)),
	};
	r->holding = true;
	r->inexact = r->inexact || !is_exact;
	r->unmeasured = r->unmeasured || (!is_exact && !held_is_suspect(r));
	if (!is_known_after_all(r, &r->held))
		return;
	/* What is dropped does not stop the pipeline for a proof. */
	r->unmeasured = r->unmeasured || !is_exact;
	held_drop(r);
}

void
held_drop(struct retrieval *r)
{
	if (!r->holding)
		return;
	r->holding = false;
	free(r->held.id);
	deliver_abort(r->deliver);
}

/* It may be the end of a message that only looks like one, and whoever sent
 * that wants the rest to be replies. */
void
held_distrust(struct retrieval *r)
{
	if (r->holding)
		trouble_broke(r, r->held.message);
	held_drop(r);
}

bool
held_is_suspect(const struct retrieval *r)
{
	const struct listing_message *message;

	if (!r->holding || r->sizes_lie)
		return false;
	message = retrieval_message(r, r->held.message);
	return message->octets != LISTING_OCTETS_UNKNOWN &&
	    r->held.octets != message->octets;
}

/* What a command has taken and the state cannot record, each run would deliver
 * once more. */
static int
prepare_command(struct retrieval *r, struct err *err)
{
	if (trouble_try(r, r->held.message, err) == -1)
		return -1;
	if (seen_reserve(r->fetch->seen, err) == 0)
		return 0;
	r->place_failed = true;
	return err_prefix(err, "state");
}

int
held_stage(struct retrieval *r, struct err *err)
{
	struct deliver_facts facts = {
	    .wire_octets = r->held.octets,
	    .sender = msg_sender(r->msg),
	    .more = r->next_reply < r->n_wanted,
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
		r->fetch->unkept = true;
		free(r->held.id);
		if (status == DELIVER_FAILED)
			return batch_place_failed(r, err);
		trouble_failed(r, r->held.message, status);
		retrieval_complain(
		    r, retrieval_message(r, r->held.message)->number, err);
		return 0;
	}
	if (r->n_batch == 0)
		r->batch_since = wait_clock();
	r->batch[r->n_batch++] = r->held;
	r->batch_octets += r->held.octets;
	return 0;
}
