/* SPDX-License-Identifier: ISC */
/* The inside of the state: lines of the journal and what is known of them.
 * Private to src/state. */
#ifndef STATE_JOURNAL_H
#define STATE_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/tree.h>

#include "base/buf.h"
#include "base/err.h"
#include "state/seen.h"

/* After so many session days without it a message is forgotten. */
#define FORGET_AFTER 30u

/* Some 180 years. */
#define SESSION_DAYS_MAX ((uint32_t)UINT16_MAX)

struct seen_target {
	char *name; /* encoded */
	time_t time;
};

/* A message that failed, by the key of its id. */
struct trouble {
	RB_ENTRY(trouble) entry;
	uint64_t key;
	char *id;
	time_t last; /* record of it */
	struct seen_trouble known;
};

RB_HEAD(troubles, trouble);

struct seen {
	char *path;
	char *user;
	char *host;	 /* lower case */
	char *owner;	 /* "owner USER HOST" */
	uint64_t mine;	 /* what its checksum gives to the lines below it */
	uint64_t secret; /* seed of the keys of this run */
	time_t now;
	int fd; /* -1: there is no file, and none is made */
	bool read_only;
	bool loaded;

	uint64_t size;	   /* of the good part of the file */
	bool torn;	   /* there is more, to be cut */
	bool dirty;	   /* written, not flushed */
	bool owner_stands; /* the last owner in the file is this one */
	bool failed;	   /* for good: reason says why */
	struct err reason;
	struct buf out;	 /* records that are not written yet */
	size_t garbage;	 /* lines passed over */
	bool ended_well; /* the last record is that of a good session */
	bool may_lack;	 /* records, as it was loaded */

	struct seen_message *messages;
	size_t n_messages;
	size_t cap;
	uint32_t *slots; /* NULL: not needed yet */
	size_t n_slots;	 /* a power of two */
	size_t n_gone;
	uint32_t expected; /* the likely next match */
	bool has_missing;  /* some message is, or was for a while */
	bool knows_sizes;  /* of some message */
	bool has_odd_time; /* some message */

	struct seen_session session;
	time_t delayed_at; /* a login was refused as too early */
	time_t delayed_until;
	struct seen_target *targets;
	size_t n_targets;
	uint64_t lines;	      /* records of this owner */
	uint64_t void_lines;  /* those of them that say nothing of messages */
	uint64_t import_from; /* first message of an open import */
	uint64_t import_line; /* its first record */
	bool importing;
	bool broken_import; /* to be said before the next record */

	char *where;	    /* of the batch that is open, NULL: none */
	char *settled;	    /* of the one before, NULL: none */
	struct buf pending; /* uint32_t: messages of that batch */
	struct seen_pending *unsettled;
	size_t n_unsettled;
	struct buf unsettled_text;

	struct troubles troubles;
	size_t n_troubles;
	uint64_t last_turn; /* of a failure */
	int attempt_fd;	    /* -1: no attempt yet */
	char *attempt_page; /* its file; NULL: not mapped */
	struct buf attempt;

	struct buf window; /* a part of the file, for looking back */
	uint64_t window_at;
	struct buf scratch;
};

/* Lines */

#define CHECKSUM_SIZE 10 /* a blank, "*" and eight digits */
#define JOURNAL_BLOCK ((size_t)128 * 1024)
#define JOURNAL_LINE_MAX ((size_t)64 * 1024)

struct journal_line {
	const char *text; /* without its line end */
	size_t n;
	uint64_t offset;
	bool ended; /* a line end follows */
};

struct journal_field {
	const char *text;
	size_t n;
};

/* Reads size bytes of fd from offset on, line by line; a line longer than a
 * block comes in pieces, of which only the last one is ended. */
struct journal_reader {
	int fd;
	uint64_t size;
	uint64_t read_to; /* offset of the end of block */
	char *block;
	size_t at, len;
};

void journal_reader_open(
    struct journal_reader *reader, int fd, uint64_t offset, uint64_t size);
void journal_reader_close(struct journal_reader *reader);

/* 1 with the next line, valid until the next call; 0 at the end; -1, errno. */
int journal_next(struct journal_reader *reader, struct journal_line *line);

enum journal_kind {
	JOURNAL_FAILED = -1, /* errno */
	JOURNAL_END,
	JOURNAL_HEADER,
	JOURNAL_OWNER,	/* of others */
	JOURNAL_MINE,	/* a record of this owner; *line without checksum */
	JOURNAL_OTHERS, /* a record of another owner, or garbage among them */
	JOURNAL_GARBAGE,
	JOURNAL_TORN, /* the last line, or its last piece, not whole */
};

/* The lines of a journal one by one, checked and told apart. */
struct journal_scan {
	struct journal_reader reader;
	const struct seen *seen;
	uint64_t owner; /* the seed in force */
	size_t number;	/* of the line, from 1 */
	uint64_t start; /* offset of the line, which may come in pieces */
	bool in_pieces; /* the next one belongs to it */
};

void journal_scan_open(
    struct journal_scan *scan, const struct seen *seen, uint64_t size);
enum journal_kind journal_scan_next(
    struct journal_scan *scan, struct journal_line *line);

/* The seed that an owner line gives to the lines below it. */
uint64_t journal_owner_seed(const char *text, size_t n);

/* End the line that begins at start: checksum and line end. */
void journal_seal(struct buf *out, size_t start, uint64_t seed);

/* The first line of every journal, whole. */
void journal_first_line(struct buf *out);

/* The line above records whose owner cannot be told: to all but him they are
 * another's. */
void journal_nobody_line(struct buf *out);

/* Of a line that may be garbage: does it end as one with a checksum does? */
bool journal_is_whole(const struct journal_line *line);

/* Fields are taken off a line from left to right; those behind its end are
 * empty. */
struct journal_cursor {
	const char *at;
	const char *end;
};

struct journal_field journal_take(struct journal_cursor *cursor);

/* A decimal number; unknown for "-" and anything else. */
uint64_t journal_take_number(struct journal_cursor *cursor, uint64_t unknown);

bool journal_field_is(const struct journal_field *field, const char *word);

/* Append a blank and a field. */
void journal_put(struct buf *out, const char *text, size_t n);
void journal_put_number(struct buf *out, uint64_t number);
void journal_put_octets(struct buf *out, uint64_t octets);
void journal_put_header(struct buf *out, uint64_t header_hash);

/* Append text %-encoded, over max bytes as a hash, "" as "-". */
void journal_encode(struct buf *out, const char *text, size_t n, size_t max);

#define JOURNAL_ID_MAX 1024
#define JOURNAL_FIELD_MAX 5000

/* The record of several messages, and the private flag of each: its offset is
 * that of its id. */
#define JOURNAL_IMPORTED_IDS "imported-ids"
#define JOURNAL_ID_ONLY 128

/* Another: the clock that its time is from stood before the newest record, and
 * it would be deleted long before it is due.  Until a session comes at which
 * the clock does not, its time is not known: JOURNAL_NEVER. */
#define JOURNAL_TIME_ODD 256
#define JOURNAL_NEVER UINT32_MAX

/* The messages and their index */

/* Room for n messages, more than there are, before the table has to grow. */
void table_reserve(struct seen *seen, size_t n);

/* Give back its memory, until it is needed again. */
void table_drop_index(struct seen *seen);

uint64_t table_key(const struct seen *seen, const char *id, size_t n);

/* A new message with this key and flags; valid until the next. */
struct seen_message *table_add(struct seen *seen, uint64_t key, uint64_t flags);

/* One with this key that is not undone, NULL if there is none. */
struct seen_message *table_find(struct seen *seen, uint64_t key);

/* Look up a key soon: bring near where it will be. */
void table_expect(struct seen *seen, uint64_t key);

/* Give a message another key. */
void table_rekey(struct seen *seen, uint32_t index, uint64_t key);

/* What the records say, for load and record alike */

/* Load what fd holds.  ERR_CONFIG for what is not ours. */
int journal_load(struct seen *seen, struct err *err);

/* What a record of this owner means, in a file as in a run.  False if it means
 * nothing. */
bool journal_apply(struct seen *seen, const struct journal_line *line);

/*
 * The record at offset: in the file or not written yet.  Valid until the next
 * record or look.
 */
int journal_look(struct seen *seen, uint64_t offset, struct journal_line *line,
    struct err *err);

/* The id and the header hash (0: unknown) of a message, in the same way. */
int journal_identity(struct seen *seen, const struct seen_message *message,
    struct journal_field *id, uint64_t *header_hash, struct err *err);

/* Is it a record of a known kind? */
bool journal_is_record(const struct journal_line *line);

/* Messages that failed */

/* That of an id, a new one if there is none. */
struct trouble *trouble_note(struct seen *seen, const struct journal_field *id);

/* The message with this key is delivered, or otherwise known. */
void trouble_over(struct seen *seen, uint64_t key);

/* Those that have not been tried for 30 days are not listed any more. */
void trouble_forget_stale(struct seen *seen);

/* Append the records that stand for all of them. */
void trouble_put_all(struct seen *seen, struct buf *out);
void trouble_free_all(struct seen *seen);

void journal_record_failed(
    struct seen *seen, const char *id, unsigned int breaks);
void journal_record_blamed(
    struct seen *seen, const char *id, unsigned int count);

/* Forget what has been missing for too long. */
void journal_forget(struct seen *seen);

/* At the end of the file an import still open is broken. */
void journal_settle_import(struct seen *seen);

/* And messages of a batch whose first line is garbage, with nothing behind
 * them that says that it was published, are fetched again. */
void journal_give_up_strays(struct seen *seen);

/* Record messages of which only the ids are known, none of them in the table:
 * fields, a blank between each two. */
void journal_record_ids(struct seen *seen, const char *ids, size_t n);

/* Rewrite the file without what is dead, if that is worth it and possible. */
void journal_compact(struct seen *seen);

#endif
