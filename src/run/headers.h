/* SPDX-License-Identifier: ISC */
/* What the headers of listed messages tell, by TOP. */
#ifndef RUN_HEADERS_H
#define RUN_HEADERS_H

#include "run/fetch.h"

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

/* Can headers be had from this server?  And does it say so itself, so that a
 * refusal is one for the moment? */
bool headers_can_be_had(const struct fetch *fetch);
bool headers_are_offered(const struct fetch *fetch);

/*
 * Ask for the headers of all that the question concerns, and have it answered
 * for each in the order of the listing; where none can be had, too.  -1 when
 * the session is over; ERR_PROTOCOL if the server says more than was asked.
 */
int headers_ask(
    struct fetch *fetch, const struct question *question, struct err *err);

#endif
