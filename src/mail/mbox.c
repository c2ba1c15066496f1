/* SPDX-License-Identifier: ISC */
/*
 * A batch is gathered in memory and, beyond that, in a file without a name.
 * Under the lock it is appended at once.  What is recorded of it says
 * mail/mboxrecovery.h.
 */
#include "mail/backend.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/checksum.h"
#include "base/file.h"
#include "base/mem.h"
#include "mail/mboxlock.h"
#include "mail/mboxrecovery.h"

#define BATCH_MAX 1024
#define BATCH_OCTETS ((uint64_t)3 << 20)
#define MEMORY_MAX ((size_t)5 << 20) /* a batch, and what is unproven */
#define PARTS_MAX 256		     /* written with one call */
#define CHUNK ((size_t)512 << 10)    /* to the spool, and from it */
#define DATE_ROOM 32
#define PATH_LIMIT (DELIVER_WHERE_MAX - 256)

static const char separator[] = MBOX_SEPARATOR;

#define SEPARATOR_LEN (sizeof(separator) - 1)

struct item {
	size_t head; /* where its From_ line begins in heads */
	size_t head_len;
	uint64_t start; /* where the rest begins in what is gathered */
	uint64_t length;
};

struct mbox {
	struct deliver deliver;
	char *path; /* absolute, of the file itself */
	char note[256];

	/* All that is gathered: what is in the spool, then what is in
	 * memory. */
	int spool; /* -1: not needed so far */
	uint64_t spooled;
	struct buf memory;

	/* The message between begin and stage, if there is one. */
	bool begun;
	struct checksum *sum;
	uint64_t start;
	bool line_start;
	bool ends_in_newline;
	size_t matched; /* of the separator, at the start of the line */

	time_t date_of;
	char date[DATE_ROOM]; /* of that second, in From_ lines */

	uint64_t seed;	  /* of the sums: no sender can know it */
	struct buf heads; /* From_ lines */
	size_t n_items;
	struct item items[BATCH_MAX];

	struct mboxlock *lock;
	off_t old_length;
	uint64_t appended; /* to that, so far */
	char lead[3];	   /* what the old end lacks before a From_ line */
};

static struct mbox *
of(struct deliver *deliver)
{
	return (struct mbox *)deliver;
}

/* -- the file -- */

static int
make_file(const char *path, struct err *err)
{
	struct stat st;
	int fd;

	if (lstat(path, &st) == 0 && S_ISLNK(st.st_mode))
		return err_set(
		    err, ERR_CANTCREAT, "%s is a link to nothing", path);
	/* Another worker may have made it just now. */
	fd = file_open(path, O_RDWR | O_CREAT | O_NOFOLLOW, 0600, err);
	if (fd == -1)
		return -1;
	close(fd);
	return file_sync_parent(path, err);
}

/* Is it there, and fit to be written to? */
static int
look(const struct deliver_params *params, const char *path, struct err *err)
{
	struct stat st;
	char *parent;
	int status = 0;

	if (stat(path, &st) == 0) {
		if (!S_ISREG(st.st_mode))
			return err_set(err, ERR_CANTCREAT,
			    "%s is not a regular file", params->target);
		if (access(path, R_OK | W_OK) == -1)
			return err_set_errno(err, ERR_CANTCREAT,
			    "cannot write to %s", params->target);
		return 0;
	}
	if (errno != ENOENT)
		return err_set_errno(
		    err, err_class_of_errno(errno), "cannot look at %s", path);
	/* Unlike a Maildir it may well be gone: many a reader removes a
	 * mailbox that it has emptied. */
	if (!params->look_only)
		return make_file(path, err);
	parent = file_parent(path);
	if (access(parent, W_OK | X_OK) == -1)
		status =
		    err_set_errno(err, ERR_CANTCREAT, "cannot make %s", path);
	free(parent);
	return status;
}

static int
check_path(const char *path, struct err *err)
{
	if (strlen(path) > PATH_LIMIT || strpbrk(path, "\r\n") != NULL)
		return err_set(err, ERR_CONFIG,
		    "the path of the mbox is too long or has a line end");
	return 0;
}

static struct deliver *
mbox_open(const struct deliver_params *params, struct err *err)
{
	char *path = file_resolve(params->target);
	struct mbox *mbox;

	if (path == NULL) {
		err_set_errno(err, err_class_of_errno(errno),
		    "cannot find the way to %s", params->target);
		return NULL;
	}
	if (check_path(path, err) == -1 || look(params, path, err) == -1) {
		free(path);
		return NULL;
	}
	mbox = mem_zero(1, sizeof(*mbox));
	mbox->deliver.backend = &mbox_backend;
	mbox->path = path;
	mbox->spool = -1;
	arc4random_buf(&mbox->seed, sizeof(mbox->seed));
	mbox->sum = checksum_new(mbox->seed);
	return &mbox->deliver;
}

/* -- gathering -- */

static uint64_t
gathered(const struct mbox *mbox)
{
	return mbox->spooled + mbox->memory.len;
}

/* How much more goes into memory.  Of a message that is in the spool already it
 * is little: for a piece of megabytes the system looks for pages that lie
 * together, and may take long to find them. */
static size_t
room(const struct mbox *mbox)
{
	return (mbox->start < mbox->spooled ? CHUNK : MEMORY_MAX) -
	    mbox->memory.len;
}

/* What is in memory goes into the spool. */
static int
spill(struct mbox *mbox, struct err *err)
{
	if (mbox->spool == -1)
		mbox->spool = file_unnamed(err);
	if (mbox->spool == -1)
		return -1;
	if (file_pwrite(mbox->spool, mbox->memory.data, mbox->memory.len,
		(off_t)mbox->spooled) == -1)
		return file_unnamed_failed("write", err);
	mbox->spooled += mbox->memory.len;
	mbox->memory.len = 0;
	return 0;
}

static int
gather(struct mbox *mbox, const char *data, size_t n, struct err *err)
{
	size_t part;

	if (n == 0)
		return 0;
	checksum_update(mbox->sum, data, n);
	for (; n > room(mbox); n -= part, data += part) {
		part = room(mbox);
		buf_append(&mbox->memory, data, part);
		if (spill(mbox, err) == -1)
			return -1;
	}
	buf_append(&mbox->memory, data, n);
	return 0;
}

/* Forget what was gathered from here on. */
static void
cut_gathered(struct mbox *mbox, uint64_t start)
{
	if (start >= mbox->spooled) {
		mbox->memory.len = (size_t)(start - mbox->spooled);
		return;
	}
	mbox->memory.len = 0;
	mbox->spooled = start;
	/* The room only: what is behind is never read. */
	if (ftruncate(mbox->spool, (off_t)start) == -1)
		return;
}

static void
mbox_abort(struct deliver *deliver)
{
	struct mbox *mbox = of(deliver);

	if (!mbox->begun)
		return;
	mbox->begun = false;
	checksum_take(mbox->sum);
	cut_gathered(mbox, mbox->start);
}

static void
drop_batch(struct mbox *mbox)
{
	mbox->n_items = 0;
	mbox->heads.len = 0;
	cut_gathered(mbox, 0);
}

static int
mbox_begin(struct deliver *deliver, const struct deliver_message *message,
    struct err *err)
{
	struct mbox *mbox = of(deliver);

	(void)message;
	if (mbox->n_items == BATCH_MAX)
		return err_set(err, ERR_SOFTWARE, "the batch is full");
	mbox_abort(deliver);
	mbox->begun = true;
	mbox->start = gathered(mbox);
	mbox->line_start = true;
	mbox->ends_in_newline = true;
	mbox->matched = 0;
	return DELIVER_OK;
}

/*
 * mboxrd: a line of any number of ">" and "From " gets one more ">".  What
 * of "From " stands at the end of a piece is held back until it is decided.
 */
struct piece {
	const char *data;
	size_t n;
	size_t at;
	size_t from; /* gathered up to here */
	size_t held; /* of the separator, at the end of the piece before */
};

static int
quote(struct mbox *mbox, struct piece *piece, struct err *err)
{
	size_t here = SEPARATOR_LEN - piece->held;

	if (gather(mbox, piece->data + piece->from,
		piece->at - here - piece->from, err) == -1 ||
	    gather(mbox, ">From ", SEPARATOR_LEN + 1, err) == -1)
		return -1;
	piece->from = piece->at;
	piece->held = 0;
	return 0;
}

/* At the start of a line: take one byte, unless that decides it. */
static int
match_byte(struct mbox *mbox, struct piece *piece, struct err *err)
{
	char c = piece->data[piece->at];

	if (c == '>' && mbox->matched == 0) {
		piece->at++;
		return 0;
	}
	if (c == separator[mbox->matched]) {
		piece->at++;
		if (++mbox->matched < SEPARATOR_LEN)
			return 0;
		mbox->line_start = false;
		return quote(mbox, piece, err);
	}
	mbox->line_start = false;
	if (gather(mbox, separator, piece->held, err) == -1)
		return -1;
	piece->held = 0;
	return 0;
}

/* Up to the next line that may have to be quoted. */
static void
skip_lines(struct mbox *mbox, struct piece *piece)
{
	const char *at = piece->data + piece->at, *end = piece->data + piece->n;

	do {
		at = memchr(at, '\n', (size_t)(end - at));
		if (at == NULL) {
			piece->at = piece->n;
			return;
		}
		at++;
	} while (at < end && *at != '>' && *at != separator[0]);
	piece->at = (size_t)(at - piece->data);
	mbox->line_start = true;
	mbox->matched = 0;
}

static int
mbox_write(struct deliver *deliver, const char *data, size_t n, struct err *err)
{
	struct mbox *mbox = of(deliver);
	struct piece piece = {.data = data, .n = n};
	size_t keep = 0;

	if (n == 0)
		return DELIVER_OK;
	if (mbox->line_start)
		piece.held = mbox->matched;
	while (piece.at < n) {
		if (!mbox->line_start)
			skip_lines(mbox, &piece);
		else if (match_byte(mbox, &piece, err) == -1)
			return DELIVER_FAILED;
	}
	if (mbox->line_start)
		keep = mbox->matched - piece.held;
	mbox->ends_in_newline = data[n - 1] == '\n';
	return gather(mbox, data + piece.from, n - piece.from - keep, err);
}

static const char *
date_now(struct mbox *mbox)
{
	time_t now = time(NULL);
	struct tm tm;

	if (now == mbox->date_of && mbox->date[0] != '\0')
		return mbox->date;
	mbox->date_of = now;
	strlcpy(mbox->date, "Thu Jan  1 00:00:00 1970", sizeof(mbox->date));
	if (gmtime_r(&now, &tm) != NULL)
		strftime(mbox->date, sizeof(mbox->date), "%a %b %e %H:%M:%S %Y",
		    &tm);
	return mbox->date;
}

static void
put_from_line(struct mbox *mbox, struct item *item, const char *sender)
{
	struct buf *heads = &mbox->heads;

	item->head = heads->len;
	buf_puts(heads, separator);
	buf_puts(heads, sender[0] != '\0' ? sender : "MAILER-DAEMON");
	buf_puts(heads, " ");
	buf_puts(heads, date_now(mbox));
	buf_puts(heads, "\n");
	item->head_len = heads->len - item->head;
}

static int
mbox_stage(struct deliver *deliver, const struct deliver_facts *facts,
    char place[DELIVER_PLACE_MAX], struct err *err)
{
	struct mbox *mbox = of(deliver);
	struct item *item = &mbox->items[mbox->n_items];
	uint64_t sum, head_sum;
	const char *head;

	if (mbox->line_start &&
	    gather(mbox, separator, mbox->matched, err) == -1)
		return DELIVER_FAILED;
	if (gather(mbox, "\n\n", mbox->ends_in_newline ? 1 : 2, err) == -1)
		return DELIVER_FAILED;
	put_from_line(mbox, item, facts->sender);
	item->start = mbox->start;
	item->length = gathered(mbox) - mbox->start + item->head_len;
	head = mbox->heads.data + item->head;
	sum = mbox_take_sum(mbox->sum, head, item->head_len);
	head_sum = mbox_take_sum(mbox->sum, head, item->head_len);
	mbox->begun = false;
	mbox->n_items++;
	snprintf(place, DELIVER_PLACE_MAX,
	    "%" PRIu64 " %016" PRIx64 " %016" PRIx64, item->length, sum,
	    head_sum);
	return DELIVER_OK;
}

/* -- under the lock -- */

/* The line end and the empty line that the last message may lack. */
static int
look_at_end(struct mbox *mbox, struct stat *st, char hex[MBOX_SUM_LEN + 1],
    struct err *err)
{
	char end[2] = {'\n', '\n'};
	off_t n;

	if (fstat(mbox->lock->fd, st) == -1)
		return err_set_errno(
		    err, ERR_IO, "cannot look at %s", mbox->path);
	n = st->st_size < 2 ? st->st_size : 2;
	if (pread(mbox->lock->fd, end + 2 - n, (size_t)n, st->st_size - n) !=
		n ||
	    mbox_hash_end(mbox->lock->fd, (uint64_t)st->st_size, hex) == -1)
		return err_set_errno(err, ERR_IO, "cannot read %s", mbox->path);
	mbox->old_length = st->st_size;
	mbox->appended = 0;
	if (end[1] != '\n')
		strlcpy(mbox->lead, "\n\n", sizeof(mbox->lead));
	else
		strlcpy(
		    mbox->lead, end[0] != '\n' ? "\n" : "", sizeof(mbox->lead));
	return 0;
}

static void
mbox_release(struct deliver *deliver)
{
	struct mbox *mbox = of(deliver);

	/* Others need not wait until the spool is cut. */
	mboxlock_release(mbox->lock);
	mbox->lock = NULL;
	drop_batch(mbox);
}

/* A mail reader removes one that it has emptied, at any time. */
static int
make_again(const struct mbox *mbox, struct err *err)
{
	struct stat st;

	if (stat(mbox->path, &st) == 0 || errno != ENOENT)
		return 0;
	return make_file(mbox->path, err);
}

static int
mbox_sync(
    struct deliver *deliver, char where[DELIVER_WHERE_MAX], struct err *err)
{
	struct mbox *mbox = of(deliver);
	char hex[MBOX_SUM_LEN + 1];
	struct stat st;

	if (make_again(mbox, err) == 0)
		mbox->lock =
		    mboxlock_take(mbox->path, MBOX_PATIENCE, NULL, err);
	if (mbox->lock == NULL || look_at_end(mbox, &st, hex, err) == -1) {
		mbox_release(deliver);
		return -1;
	}
	strlcpy(mbox->note, mbox->lock->note, sizeof(mbox->note));
	snprintf(where, DELIVER_WHERE_MAX,
	    "mbox %ju %jd+%zu %s %016" PRIx64 " %s %s", (uintmax_t)st.st_ino,
	    (intmax_t)st.st_size, strlen(mbox->lead), hex, mbox->seed,
	    mbox->lock->token, mbox->path);
	return 0;
}

/* What is to be appended with one call. */
struct parts {
	int n;
	struct iovec iov[PARTS_MAX];
};

static int
append_parts(struct mbox *mbox, struct parts *parts, struct err *err)
{
	struct iovec *iov = parts->iov;
	int n = parts->n;

	parts->n = 0;
	while (n > 0) {
		ssize_t done = writev(mbox->lock->fd, iov, n);

		if (done == -1 && errno == EINTR)
			continue;
		if (done == -1)
			return err_set_errno(
			    err, ERR_IO, "cannot write %s", mbox->path);
		mbox->appended += (uint64_t)done;
		for (; n > 0 && (size_t)done >= iov->iov_len; n--)
			done -= (ssize_t)iov++->iov_len;
		if (n > 0) {
			iov->iov_base = (char *)iov->iov_base + done;
			iov->iov_len -= (size_t)done;
		}
	}
	return 0;
}

/* The part of a message that is in the spool. */
static int
append_spooled(struct mbox *mbox, uint64_t start, uint64_t end, struct err *err)
{
	char *chunk = mem_alloc(CHUNK);
	struct parts parts;
	int status = 0;

	while (status == 0 && start < end) {
		size_t want =
		    end - start < CHUNK ? (size_t)(end - start) : CHUNK;
		ssize_t n = pread(mbox->spool, chunk, want, (off_t)start);

		if (n <= 0) {
			errno = n == 0 ? EIO : errno;
			status = file_unnamed_failed("read", err);
		} else {
			parts.n = 1;
			parts.iov[0] = (struct iovec){chunk, (size_t)n};
			status = append_parts(mbox, &parts, err);
		}
		start += n > 0 ? (uint64_t)n : 0;
		file_start_write_out(
		    mbox->lock->fd, (uint64_t)mbox->old_length, 0);
	}
	free(chunk);
	return status;
}

/* Two parts at most, for which there is room. */
static int
append_item(struct mbox *mbox, const struct item *item, struct parts *parts,
    struct err *err)
{
	uint64_t start = item->start;
	uint64_t end = start + item->length - item->head_len;

	parts->iov[parts->n++] =
	    (struct iovec){mbox->heads.data + item->head, item->head_len};
	if (start < mbox->spooled) {
		uint64_t stop = end < mbox->spooled ? end : mbox->spooled;

		if (append_parts(mbox, parts, err) == -1 ||
		    append_spooled(mbox, start, stop, err) == -1)
			return -1;
		start = stop;
	}
	if (start < end)
		parts->iov[parts->n++] =
		    (struct iovec){mbox->memory.data + (start - mbox->spooled),
			(size_t)(end - start)};
	return parts->n > PARTS_MAX - 2 ? append_parts(mbox, parts, err) : 0;
}

static int
append_all(struct mbox *mbox, struct err *err)
{
	struct parts parts = {.n = 0};
	struct stat st;

	if (fstat(mbox->lock->fd, &st) == -1)
		return err_set_errno(
		    err, ERR_IO, "cannot look at %s", mbox->path);
	if (st.st_size != mbox->old_length)
		return err_set(err, ERR_IO,
		    "%s was written to although it is locked", mbox->path);
	if (mbox->lead[0] != '\0')
		parts.iov[parts.n++] =
		    (struct iovec){mbox->lead, strlen(mbox->lead)};
	for (size_t i = 0; i < mbox->n_items; i++)
		if (append_item(mbox, &mbox->items[i], &parts, err) == -1)
			return -1;
	if (append_parts(mbox, &parts, err) == -1)
		return -1;
	return file_sync(mbox->lock->fd, mbox->path, err);
}

static void
cut_back(const struct mbox *mbox, struct err *err)
{
	uint64_t end = (uint64_t)mbox->old_length + mbox->appended;
	struct stat st;

	if (mbox->appended == 0)
		return;
	/* Not what somebody else has appended, without our locks. */
	if (fstat(mbox->lock->fd, &st) == 0 && (uint64_t)st.st_size == end &&
	    ftruncate(mbox->lock->fd, mbox->old_length) == 0 &&
	    fdatasync(mbox->lock->fd) == 0)
		return;
	strlcat(err->text, "; it could not be cut back to its old length",
	    sizeof(err->text));
}

static int
mbox_publish(struct deliver *deliver, struct err *err)
{
	struct mbox *mbox = of(deliver);

	if (append_all(mbox, err) == -1) {
		cut_back(mbox, err);
		return -1;
	}
	return 0;
}

static void
mbox_close(struct deliver *deliver)
{
	struct mbox *mbox = of(deliver);

	mbox_abort(deliver);
	mbox_release(deliver);
	if (mbox->spool != -1)
		close(mbox->spool);
	checksum_free(mbox->sum);
	buf_free(&mbox->memory);
	buf_free(&mbox->heads);
	free(mbox->path);
	free(mbox);
}

static const char *
mbox_note(const struct deliver *deliver)
{
	const struct mbox *mbox = (const struct mbox *)deliver;

	return mbox->note[0] != '\0' ? mbox->note : NULL;
}

const struct deliver_backend mbox_backend = {
    .word = "mbox",
    .holds_lock = true,
    .batch_max = BATCH_MAX,
    .batch_octets = BATCH_OCTETS,
    .open = mbox_open,
    .begin = mbox_begin,
    .write = mbox_write,
    .stage = mbox_stage,
    .abort = mbox_abort,
    .sync = mbox_sync,
    .publish = mbox_publish,
    .release = mbox_release,
    .close = mbox_close,
    .note = mbox_note,
    .recover = mbox_recover,
    .recovery_release = mbox_recovery_release,
    .tidy = mbox_tidy,
};
