/* SPDX-License-Identifier: ISC */
/*
 * The state of an account: which messages were delivered, in an append-only
 * journal that a person can read.  poplar-state(5) describes the format.
 */
#ifndef STATE_SEEN_H
#define STATE_SEEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "base/buf.h"
#include "base/err.h"

struct seen_params {
	const char *path;
	const char *user; /* records belong to this user on this host */
	const char *host;
	int64_t wait;	/* milliseconds to wait for the lock, 0: not at all */
	bool require;	/* refuse when the file is missing */
	bool read_only; /* take the lock, make and change nothing */
	time_t now;
};

/* A message that is known: delivered, or imported as delivered. */
struct seen_message {
	uint64_t key;	       /* keyed hash of its id, for this run only */
	uint64_t offset : 48;  /* of its last record in the file */
	uint64_t flags : 16;   /* SEEN_ below; further ones are private */
	uint64_t octets : 48;  /* as listed; SEEN_OCTETS_UNKNOWN */
	uint64_t missing : 16; /* session day since which it is not listed, 0:
				  it was listed in the last good session */
	uint32_t time;	       /* of delivery, in seconds since 1970; not in
				  the past if it is not known */
	uint32_t next;	       /* private */
};

#define SEEN_OCTETS_UNKNOWN ((UINT64_C(1) << 48) - 1)

#define SEEN_MATCHED                                                           \
	1		/* stands for a message of this listing; a caller that \
			   finds it does not may clear it */
#define SEEN_DELETED 2	/* poplar has sent DELE for it */
#define SEEN_IMPORTED 4 /* known from another program's list */
#define SEEN_MARKED 8	/* marked as seen, never delivered: never DELE */
#define SEEN_REBUILT 16 /* read off a Maildir: check before a DELE */
#define SEEN_UNDONE 32	/* not known after all, or forgotten */
#define SEEN_QUARANTINED                                  \
	64 /* it failed too often and was put aside, with \
	      SEEN_MARKED: never DELE */

struct seen;

/*
 * Open, lock and read the state.  ERR_TEMPFAIL (quiet) when another run holds
 * the lock, ERR_CANTCREAT or ERR_IO for the file, ERR_CONFIG for a newer
 * version, for a file that is no state, or a missing file that is required.
 * A torn last line is cut before the first record is written; garbage
 * elsewhere is passed over, named by log_say with its line number, and moved
 * to PATH.damaged when the state is closed.
 */
struct seen *seen_open(const struct seen_params *params, struct err *err);

/* Compact if worthwhile, unlock, free; NULL is nothing to do. */
void seen_close(struct seen *seen);

/* Where it lies. */
const char *seen_path(const struct seen *seen);

/* No record of this user and host stands in it: a first run, or lost. */
bool seen_is_new(const struct seen *seen);

/* Records may be missing: it was found damaged, torn, or without the end of
 * the last session, which a crash leaves out, and so does whoever cut it. */
bool seen_may_lack(const struct seen *seen);

/*
 * Ids: how a message is called in the journal.  Of a unique-id: %-encoded,
 * over 1 KiB as a hash (which needs GnuTLS).  Without UIDL: made of the
 * header's hash.  Appended to *id, which a zero byte ends (not counted in len).
 */
void seen_id_of_uid(struct buf *id, const char *uid, size_t n);
void seen_id_of_header(struct buf *id, uint64_t header_hash);
bool seen_id_is_of_header(const char *id);

/* The 16 hexadecimal digits that stand for user, host and id in file names,
 * the same in every run. */
void seen_tag(const struct seen *seen, const char *id, char tag[17]);

/*
 * The first message of this id that is not matched yet, which becomes
 * matched; NULL if there is none (any more).  For each message of a listing
 * once.  The pointer is valid until the next record.
 */
struct seen_message *seen_match(struct seen *seen, const char *id, size_t n);

/* It does not stand for a listed message, as its header or size says; for
 * when all of a listing were matched. */
void seen_release(struct seen *seen, uint32_t index);

/*
 * The message of this id that fits best, as seen_match for one that was looked
 * at: its header is the recorded one, where both are known (0: unknown), else
 * its size, where both are known, and poplar did not delete it.  One that was
 * deleted must have both.  Of several that fit, one with the same size, which
 * was not deleted, and was listed in the last session.
 */
struct seen_message *seen_claim(
    struct seen *seen, const char *id, uint64_t header_hash, uint64_t octets);

/* An index that stays valid, and back. */
uint32_t seen_index(
    const struct seen *seen, const struct seen_message *message);
struct seen_message *seen_at(struct seen *seen, uint32_t index);

/* How many messages of this id are known, matched or not. */
size_t seen_copies(struct seen *seen, const char *id);

/* All messages known, undone ones among them: 0 to seen_count - 1. */
size_t seen_count(const struct seen *seen);

/* Is there any whose octets are known? */
bool seen_knows_sizes(const struct seen *seen);

/* Past sessions of this user and host. */
struct seen_session {
	time_t time;	/* of the last good one, 0: none */
	uint32_t days;	/* on how many days there was a good one */
	uint64_t count; /* as STAT gave them then */
	uint64_t octets;
	time_t newest; /* time of the newest record of any kind */
};
const struct seen_session *seen_last_session(const struct seen *seen);

/*
 * The server refused a login as too early: note that the next one has to wait
 * so many seconds, a day at most.  seen_login_after is the time from which it
 * may be tried, 0 for at once: a good session ends the wait, and so does a
 * clock that stands before that record.
 */
void seen_login_delayed(struct seen *seen, uint64_t seconds);
time_t seen_login_after(const struct seen *seen);

/* When it last delivered to this target ("maildir /path"), 0: never. */
time_t seen_delivered_to(const struct seen *seen, const char *target);

/*
 * Records go to memory first; seen_flush writes them with one write and, if
 * durable, makes them durable (with all that was written before, and with the
 * name of a file that is new).  After a failed flush the state is
 * unknown: end the session.
 */
int seen_flush(struct seen *seen, bool durable, struct err *err);

/*
 * Before a delivery that cannot be taken back: see that the records of one
 * message will find room.  ERR_IO if not, and nothing has failed yet; where
 * the system cannot say, 0.
 */
int seen_reserve(struct seen *seen, struct err *err);

/* A batch for target ("maildir /path") begins; the messages recorded until
 * seen_published belong to it.  where is deliver_sync's.  One that is still
 * pending must have been settled before. */
void seen_batch(struct seen *seen, const char *target, const char *where);

/* Delivered, or about to be.  Returns its index. */
uint32_t seen_delivered(struct seen *seen, const char *id, uint64_t octets,
    uint64_t header_hash, const char *place);
void seen_published(struct seen *seen);

/* The same for one that goes into the quarantine. */
uint32_t seen_quarantined(struct seen *seen, const char *id, uint64_t octets,
    uint64_t header_hash, const char *place);

/*
 * An attempt at the message begins: noted beside the state until the next one
 * begins or the attempts are over, so that a run that dies in it leaves a
 * trace.  An id "" is no attempt.
 */
int seen_attempt(struct seen *seen, const char *id, struct err *err);
void seen_attempts_over(struct seen *seen);

/* Record as failed what a run that died was trying, unless it is known.  For
 * once, before the first attempt. */
int seen_settle_attempt(struct seen *seen, struct err *err);

/* A message that has failed since it was last known to be well. */
struct seen_trouble {
	time_t first;	     /* failure of all */
	unsigned int blamed; /* how many were its own fault */
	unsigned int breaks; /* attempts in a row in which the line broke */
	uint64_t turn; /* greater than that of all that failed before it */
};

/* NULL if the last attempt did not fail; valid until the next record. */
const struct seen_trouble *seen_trouble(struct seen *seen, const char *id);

/* Is there any? */
bool seen_has_troubles(const struct seen *seen);

/* An attempt failed, for whatever reason. */
void seen_failed(struct seen *seen, const char *id, bool line_broke);

/* That was the message's own fault; this counts from a day after its first
 * failure on. */
void seen_blame(struct seen *seen, const char *id);

/*
 * It was seen elsewhere: flag is SEEN_IMPORTED, SEEN_MARKED or SEEN_REBUILT.
 * SEEN_IMPORTED for an id that is known already changes nothing and returns
 * that one.  Between begin and end all count or, if a crash comes between,
 * none (and the state is as new as before); source is a word for the reader
 * of the file.
 */
void seen_import_begin(struct seen *seen, const char *source);
void seen_import_end(struct seen *seen);

/* Instead of the end: none counts but those that were updated since. */
void seen_import_undo(struct seen *seen);
uint32_t seen_imported(struct seen *seen, const char *id, uint64_t octets,
    uint64_t header_hash, time_t when, unsigned int flag);

/* For a message by index: it is not known after all; DELE was sent. */
void seen_undo(struct seen *seen, uint32_t index);
void seen_deleted(struct seen *seen, uint32_t index);

/* The header hash of its last record, read from the file; 0: unknown. */
uint64_t seen_header_hash(struct seen *seen, uint32_t index);

/* Append the id of a message, read from the file, to *id and end it with a
 * zero byte (not counted). */
int seen_read_id(
    struct seen *seen, uint32_t index, struct buf *id, struct err *err);

/* Its listed size or its id is another now, but it is the same message. */
void seen_update(struct seen *seen, uint32_t index, const char *id,
    uint64_t octets, uint64_t header_hash);

/*
 * The listing is complete and makes sense: note for every message whether it
 * is missing or back, and the session with what STAT said.  A session day is
 * a day (UTC) with at least one of these; what has been missing for 30 of
 * them is forgotten.
 */
void seen_session_done(struct seen *seen, uint64_t count, uint64_t octets);

/* What a crash left unpublished. */
struct seen_pending {
	const char *id;
	const char *place; /* as it was recorded, "" for none */
	uint32_t index;
};
/* where is NULL if nothing is pending.  Valid until seen_published. */
size_t seen_pending(const struct seen *seen, const char **where,
    const struct seen_pending **pending);

/* where of the last batch that is not pending, NULL for none; until the next
 * one is. */
const char *seen_settled(const struct seen *seen);

/*
 * Import the list that mpop keeps in path, the blocks of this user and host
 * only.  *count is how many new ids it gave; a missing file gives none.
 * ERR_IO if it cannot be read or is no such list.
 */
int seen_import_mpop(
    struct seen *seen, const char *path, size_t *count, struct err *err);

/* Does the file at path hold a list of mpop's? */
bool seen_is_mpop_list(const char *path);

#endif
