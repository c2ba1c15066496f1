/* SPDX-License-Identifier: ISC */
/* A retrieval as retrieve.c and trouble.c share it; private to the two. */
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
	size_t unproven;   /* asked for since STAT was asked last */
	uint64_t unproven_octets;
	size_t proof_messages; /* so many unproven at most */
	bool asked_for_proof;
	bool inexact;	     /* since the last proof one had another size */
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

/* retrieve.c: a retrieval of n messages to a place that is open. */
void retrieval_begin(struct retrieval *r, struct fetch *fetch,
    struct deliver *deliver, const char *target);
void retrieval_end(struct retrieval *r);

/* retrieve.c: fetch what is wanted, and commit it. */
int retrieval_fetch(struct retrieval *r, struct err *err);

/* retrieve.c: what comes now has failed before: prove and commit each message
 * by itself. */
void retrieval_be_cautious(struct retrieval *r);

/* retrieve.c: settle what can be when that has failed. */
void retrieval_wind_up(struct retrieval *r, const struct err *why);

/* retrieve.c: say what is wrong with one message, and count it as failed. */
void retrieval_complain(struct retrieval *r, uint32_t number, struct err *err);

/* trouble.c: an attempt at a message begins, and has ended well or ill.  It
 * is known whatever becomes of this process (quarantine_after). */
int trouble_try(struct retrieval *r, uint32_t message, struct err *err);
void trouble_tried(struct retrieval *r);

/* trouble.c: one ended ill: through a fault of the message itself, if status
 * is DELIVER_REFUSED. */
void trouble_failed(struct retrieval *r, uint32_t message, int status);

/* trouble.c: the line broke, or went out of step, in the attempt at this. */
void trouble_broke(struct retrieval *r, uint32_t message);

/*
 * trouble.c: those that failed although others did not are to blame for it;
 * those that are so for too often go into the quarantine.  -1 when the
 * session is over.
 */
int trouble_judge(struct retrieval *r, struct err *err);

#endif
