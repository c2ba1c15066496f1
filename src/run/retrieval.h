/* SPDX-License-Identifier: ISC */
/* A retrieval, as the files that carry it out share it. */
#ifndef RUN_RETRIEVAL_H
#define RUN_RETRIEVAL_H

#include "mail/msg.h"
#include "run/fetch.h"

/* A message that is received whole. */
struct received {
	uint32_t message; /* index in listing.messages */
	uint64_t header;
	uint64_t octets;
	char *id;
	char place[DELIVER_PLACE_MAX];
};

/* One that turned out to be known when it was received. */
struct retrieval_known {
	uint32_t message; /* index in listing.messages */
	uint64_t header;
};

struct retrieval {
	struct fetch *fetch;
	struct deliver *deliver;
	const char *target;	/* as the state calls it */
	bool is_quarantine;	/* that is where it leads */
	const uint32_t *wanted; /* indexes in listing.messages */
	size_t n_wanted;
	struct msg *msg;
	size_t next;	   /* of wanted, to be asked for */
	size_t next_reply; /* of wanted, to be answered */
	size_t proven;	   /* of wanted, replies that fit */
	size_t drained;	   /* of wanted: up to here, what is asked for may have
			      been given out before, and dropped */
	size_t unproven;   /* asked for since a proof was asked for */
	uint64_t unproven_octets;
	size_t proof_messages; /* so many unproven at most */
	bool asked_for_proof;
	bool inexact;	     /* since the last proof one had another size */
	bool unmeasured;     /* and that was no reason for suspicion */
	uint32_t *not_given; /* since then: what the server refused */
	size_t n_not_given;
	bool cautious;	/* each message is proven and committed by itself */
	bool sizes_lie; /* of this server, though it is in step */
	bool forged;	/* it was not in step, nothing can be believed */

	struct received *batch;
	size_t n_batch;
	size_t batch_max;
	uint64_t batch_octets;
	int64_t batch_since;
	bool place_failed;
	bool noted;	    /* what the place has to say at -v */
	uint32_t *recorded; /* all of this session */
	size_t n_recorded;
	size_t n_proven; /* of these, whatever comes later */

	struct retrieval_known *known; /* the state's sizes are to be renewed */
	size_t n_known;

	bool holding; /* the newest message awaits proof of step */
	struct received held;

	int sink_status;   /* of the delivery: DELIVER_OK and so on */
	uint64_t size_cap; /* octets, of skipsize and killsize */
	bool is_over_cap;  /* the message in the making */
	char first[5];	   /* what it begins with */
	size_t n_first;

	uint32_t tried;	   /* message whose attempt has no end yet, or NONE */
	uint32_t *refused; /* messages that failed by their own fault */
	size_t n_refused;

	struct fetch_due *due;
	size_t n_due, next_due;
	int64_t progress_at;
};

static inline struct listing_message *
retrieval_message(const struct retrieval *r, uint32_t index)
{
	return &r->fetch->listing.messages[index];
}

static inline struct client *
retrieval_client(const struct retrieval *r)
{
	return r->fetch->session.client;
}

static inline bool
retrieval_is_pipelined(const struct retrieval *r)
{
	return r->fetch->session.pipelining;
}

/* A retrieval of n messages to a place that is open. */
void retrieval_begin(struct retrieval *r, struct fetch *fetch,
    struct deliver *deliver, const char *target);
void retrieval_end(struct retrieval *r);

/* Fetch what is wanted, and commit it. */
int retrieval_fetch(struct retrieval *r, struct err *err);

/* What comes now has failed before: prove and commit each message by itself. */
void retrieval_be_cautious(struct retrieval *r);

/* Is the time for the session up?  What the commands took counts as well. */
bool retrieval_time_is_up(const struct retrieval *r);

/* Say what is wrong with one message, and count it as failed. */
void retrieval_complain(struct retrieval *r, uint32_t number, struct err *err);

/* windup.c: settle what can be when retrieval_fetch has failed. */
void retrieval_wind_up(struct retrieval *r, const struct err *why);

#endif
