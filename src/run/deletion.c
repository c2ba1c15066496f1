/* SPDX-License-Identifier: ISC */
#include "run/deletion.h"

#include "base/mem.h"

void
deletion_add(struct retrieval *r, uint32_t number, uint32_t seen)
{
	r->due = mem_room(r->due, r->n_due, sizeof(*r->due));
	r->due[r->n_due++] = (struct fetch_due){number, seen};
}

/* What they rest on is durable first. */
int
deletion_queue(struct retrieval *r, struct err *err)
{
	if (r->n_due == 0)
		return 0;
	if (seen_flush(r->fetch->seen, true, err) == -1)
		return err_prefix(err, "state");
	for (size_t i = 0; i < r->n_due; i++)
		client_queue_message(
		    retrieval_client(r), CMD_DELE, r->due[i].number, 0);
	return 0;
}

void
deletion_take(struct retrieval *r, const struct client_reply *reply)
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
