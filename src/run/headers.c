/* SPDX-License-Identifier: ISC */
#include "run/headers.h"

#include <stdlib.h>

#include "base/mem.h"
#include "mail/msg.h"

#define TOP_OCTETS 4096	       /* what a header may take, for the window */
#define TOP_LIMIT (1 << 20)    /* more of a header is not looked at */
#define TOP_ENDLESS (64 << 20) /* more than that ends the session */

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
headers_can_be_had(const struct fetch *fetch)
{
	const struct capabilities *capa = &fetch->session.capa;

	return !capa->known || capa->top;
}

bool
headers_are_offered(const struct fetch *fetch)
{
	const struct capabilities *capa = &fetch->session.capa;

	return capa->known && capa->top;
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
int
headers_ask(
    struct fetch *fetch, const struct question *question, struct err *err)
{
	struct listing_message *messages = fetch->listing.messages;
	bool can_ask = headers_can_be_had(fetch);
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
