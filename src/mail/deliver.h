/* SPDX-License-Identifier: ISC */
/*
 * Delivery in batches.  Of each message: begin, write ..., stage (or abort).
 * Of a batch of staged ones: sync, then the caller records what sync and
 * stage gave as places, then publish; only then are the messages delivered,
 * and only after the caller has noted that may release give up a lock.
 * A crash between record and publish is settled by deliver_recover.
 */
#ifndef MAIL_DELIVER_H
#define MAIL_DELIVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "base/err.h"

enum deliver_kind {
	DELIVER_MAILDIR,
	DELIVER_MBOX,
	DELIVER_MDA,
};

struct deliver_params {
	enum deliver_kind kind;
	const char *target;  /* directory, file, or command */
	const char *account; /* the names that an MDA gets to see */
	const char *user;
	const char *host;
	int64_t mda_timeout; /* milliseconds */
	int64_t until;	  /* the clock (wait_clock) when the last command must
			     be over, 0: any time */
	time_t delivered; /* when the state last delivered to this target;
			     0: never, so that it may be made */
	bool look_only;	  /* open makes nothing, and begin never follows */
};

/* What is known of a message before its first byte. */
struct deliver_message {
	const char *tag; /* 16 hexadecimal digits that stand for its UID; only
			    where deliver_wants_tag */
	const char *uid; /* %-encoded */
};

/* What is known behind its last one. */
struct deliver_facts {
	uint64_t wire_octets; /* its size on the wire (RFC 1939) */
	const char *sender;   /* envelope sender, "" for none */
	bool more;	      /* another one is to follow */
};

/* Room for a place or a batch's whereabouts: no line end in them. */
#define DELIVER_PLACE_MAX 512
#define DELIVER_WHERE_MAX 5000

/* Of begin, write and stage. */
#define DELIVER_OK 0
#define DELIVER_REFUSED 1 /* this message failed; the next one may not */
/* The same, but through no fault of its own: the command asked for a later
 * try, was killed, or took too long. */
#define DELIVER_DEFERRED 2
#define DELIVER_FAILED -1 /* the place itself failed: no use to go on */

struct deliver;

/* The word of the rc file for a kind: "maildir". */
const char *deliver_kind_word(enum deliver_kind kind);

/* False if the word names no kind. */
bool deliver_kind_from_word(const char *word, enum deliver_kind *kind);

/*
 * Look at the place (and make it, see delivered), so that what is wrong with
 * it is known before any message is fetched.  Of params, the strings must
 * outlive it.  ERR_CANTCREAT, with the cause.
 */
struct deliver *deliver_open(
    const struct deliver_params *params, struct err *err);

/* Drops what was not published, releases, frees; NULL is nothing to do. */
void deliver_close(struct deliver *deliver);

/* Are messages to be found again by their tags (deliver_scan)? */
bool deliver_wants_tag(const struct deliver *deliver);

int deliver_begin(struct deliver *deliver,
    const struct deliver_message *message, struct err *err);
int deliver_write(
    struct deliver *deliver, const char *data, size_t n, struct err *err);

/* The whole message is here; place says where it will be (""  for none). */
int deliver_stage(struct deliver *deliver, const struct deliver_facts *facts,
    char place[DELIVER_PLACE_MAX], struct err *err);

/* Drop the message between begin and stage. */
void deliver_abort(struct deliver *deliver);

/* Messages of the same kind of failure end the account: -1.  where says
 * where the batch lies, for deliver_recover. */
int deliver_sync(
    struct deliver *deliver, char where[DELIVER_WHERE_MAX], struct err *err);
int deliver_publish(struct deliver *deliver, struct err *err);

/* Must a record of the publication be durable before release? */
bool deliver_holds_lock(const struct deliver *deliver);
void deliver_release(struct deliver *deliver);

/* How many staged messages make a batch at most; 1 for a pipe. */
size_t deliver_batch_max(const struct deliver *deliver);

/* With so many octets a batch should end, too. */
uint64_t deliver_batch_octets(const struct deliver *deliver);

/* Something worth a word at -v about how it delivers, or NULL. */
const char *deliver_note(const struct deliver *deliver);

/* A recorded message whose publication is in doubt. */
struct deliver_recovery {
	const char *place; /* as stage gave it */
	bool delivered;	   /* the verdict: it is there, or fetch it again */
};

/*
 * Finish or undo a batch that was recorded as where, in the order in which it
 * was recorded.  The place itself missing or unreadable is a failure, and
 * then nothing was decided.  For mbox it leaves the lock to be released by
 * deliver_recovery_release after the verdict is recorded.
 */
struct deliver_lock;
int deliver_recover(const char *where, struct deliver_recovery *items, size_t n,
    struct deliver_lock **lock, struct err *err);
void deliver_recovery_release(struct deliver_lock *lock);

/* Remove the lock that a run may have left behind that died between the
 * record of a publication and release. */
void deliver_tidy(const char *where);

/*
 * For a lost state: call found for each message of ours that lies in the
 * Maildir, with the tag and the wire size that its name carries and its path.
 * Other kinds know of none.
 */
typedef void deliver_found(
    void *context, const char *tag, uint64_t wire_octets, const char *path);
int deliver_scan(const struct deliver_params *params, deliver_found *found,
    void *context, struct err *err);

#endif
