/* SPDX-License-Identifier: ISC */
/* A whole session against a server that says these bytes and hangs up. */
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/wait.h"
#include "mail/msg.h"
#include "run/listing.h"

#define SERVER_MAX 65536 /* octets that a socket takes at once */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int
feed(void *context, const char *data, size_t n, struct err *err)
{
	(void)err;
	msg_feed(context, data, n);
	return 0;
}

static void
retrieve(struct session *session, const struct listing *listing)
{
	struct msg *msg = msg_new();
	struct client_body body = {.sink = feed, .context = msg};
	struct client_reply reply;
	struct err err;

	for (size_t i = 0; i < listing->n && i < 100; i++)
		client_queue_message(
		    session->client, CMD_RETR, listing->entries[i].number, 100);
	while (client_queued(session->client) > 0) {
		if (client_reply(session->client, &reply, &err) == -1)
			break;
		msg_begin(msg);
		if (reply.ok && client_body(session->client, &body, &err) == -1)
			break;
		msg_header_hash(msg);
		msg_sender(msg);
	}
	msg_free(msg);
}

static void
talk(struct session *session, struct seen *seen, bool list_waits)
{
	struct listing listing = {.list_waits = list_waits};
	struct client_reply reply;
	struct err err;

	if (client_queue(session->client, CMD_GREETING, NULL, &err) == 0 &&
	    client_reply(session->client, &reply, &err) == 0 &&
	    client_capa(session->client, &session->capa, &err) == 0) {
		if (session->capa.pipelining)
			client_window(session->client, 100, 1 << 20);
		if (listing_queue(&listing, session, &err) == 0 &&
		    listing_read(&listing, session, seen, &err) == 0 &&
		    listing_complete(&listing, session, seen, &err) == 0)
			retrieve(session, &listing);
	}
	listing_free(&listing);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct seen_params params = {
	    .path = "/nonexistent/fuzz",
	    .user = "user",
	    .host = "host",
	    .read_only = true,
	    .now = 1800000000,
	};
	const struct account account = {.name = NULL};
	struct session session = {.account = &account};
	struct seen *seen;
	struct err err;
	int ends[2];

	if (size > SERVER_MAX ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == -1)
		return 0;
	if (write(ends[1], data, size) == (ssize_t)size) {
		shutdown(ends[1], SHUT_WR);
		fcntl(ends[0], F_SETFL, O_NONBLOCK);
		seen = seen_open(&params, &err);
		session.conn = conn_open(ends[0], 1000, WAIT_FOREVER);
		session.client = client_open(session.conn);
		if (seen != NULL)
			talk(&session, seen, size % 2 == 1);
		session_close(&session);
		seen_close(seen);
	} else {
		close(ends[0]);
	}
	close(ends[1]);
	return 0;
}
