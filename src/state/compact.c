/* SPDX-License-Identifier: ISC */
/*
 * Compaction: a new file without what is dead takes the place of the old one.
 * At any instruction the name leads to a whole file, and both are locked.
 */
#include "state/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"

#define DEAD_LINES_MIN 1000

/* A file that is written in large pieces. */
struct sink {
	char *path;
	int fd;
	struct buf buf;
};

static int
sink_drain(struct sink *sink, struct err *err)
{
	int status = file_write_named(
	    sink->fd, sink->buf.data, sink->buf.len, sink->path, err);

	sink->buf.len = 0;
	return status;
}

static int
sink_drain_full(struct sink *sink, struct err *err)
{
	return sink->buf.len < JOURNAL_BLOCK ? 0 : sink_drain(sink, err);
}

static int
sink_finish(struct sink *sink, struct err *err)
{
	if (sink_drain(sink, err) == -1)
		return -1;
	return file_sync(sink->fd, sink->path, err);
}

static int
sink_open(struct sink *sink, int flags, struct err *err)
{
	sink->fd = file_open(
	    sink->path, O_RDWR | O_CREAT | O_NOFOLLOW | flags, 0600, err);
	if (sink->fd == -1)
		return -1;
	if (fchmod(sink->fd, 0600) == -1)
		return err_set_errno(
		    err, ERR_IO, "cannot set the mode of %s", sink->path);
	return 0;
}

static void
sink_close(struct sink *sink)
{
	if (sink->fd != -1)
		close(sink->fd);
	buf_free(&sink->buf);
	free(sink->path);
}

struct compaction {
	struct seen *seen;
	struct sink new;
	struct sink damaged; /* made when the first garbage comes */
	bool after_garbage;  /* is the next line of the old file */
	bool below_nobody;   /* is the last one of the new */
};

static int
keep_garbage(struct compaction *compaction, const struct journal_line *line,
    size_t n, struct err *err)
{
	struct sink *damaged = &compaction->damaged;

	if (damaged->fd == -1 && sink_open(damaged, O_APPEND, err) == -1)
		return -1;
	buf_append(&damaged->buf, line->text, n + line->ended);
	return sink_drain_full(damaged, err);
}

static int
keep_line(struct compaction *compaction, const struct journal_line *line,
    struct err *err)
{
	buf_append(&compaction->new.buf, line->text, line->n + line->ended);
	return sink_drain_full(&compaction->new, err);
}

/* The line above it was garbage.  If that was an owner line, this is a record
 * of somebody whom nobody else can tell. */
static int
keep_for_others(struct compaction *compaction, const struct journal_line *line,
    struct err *err)
{
	if (!compaction->below_nobody)
		journal_nobody_line(&compaction->new.buf);
	compaction->below_nobody = true;
	return keep_line(compaction, line, err);
}

static int
copy_line(struct compaction *compaction, enum journal_kind kind,
    const struct journal_line *line, struct err *err)
{
	bool was_garbage = compaction->after_garbage;
	bool is_garbage = kind == JOURNAL_GARBAGE || kind == JOURNAL_TORN;

	compaction->after_garbage = is_garbage;
	if (kind == JOURNAL_OWNER)
		compaction->below_nobody = false;
	if (kind == JOURNAL_OWNER || kind == JOURNAL_OTHERS)
		return keep_line(compaction, line, err);
	if (kind == JOURNAL_GARBAGE && was_garbage && journal_is_whole(line))
		return keep_for_others(compaction, line, err);
	if (is_garbage)
		return keep_garbage(compaction, line, line->n, err);
	if (kind == JOURNAL_MINE && !journal_is_record(line))
		return keep_garbage(
		    compaction, line, line->n + CHECKSUM_SIZE, err);
	return 0;
}

/* What others recorded stays as it is. */
static int
copy_others(struct compaction *compaction, struct err *err)
{
	struct seen *seen = compaction->seen;
	struct journal_scan scan;
	struct journal_line line;
	enum journal_kind kind = JOURNAL_END;
	int status = 0;

	journal_first_line(&compaction->new.buf);
	journal_scan_open(&scan, seen, seen->size);
	while (status == 0 &&
	    (kind = journal_scan_next(&scan, &line)) > JOURNAL_END)
		status = copy_line(compaction, kind, &line, err);
	if (kind == JOURNAL_FAILED)
		status =
		    err_set_errno(err, ERR_IO, "cannot read %s", seen->path);
	journal_reader_close(&scan.reader);
	return status;
}

static size_t
begin_line(struct buf *out, const char *word)
{
	size_t start = out->len;

	buf_puts(out, word);
	return start;
}

/* The last good session, and what came behind it. */
static void
put_session(const struct seen *seen, struct buf *out)
{
	size_t start;

	if (seen->session.days > 0) {
		start = begin_line(out, "session");
		journal_put_number(out, (uint64_t)seen->session.time);
		journal_put_number(out, seen->session.days);
		journal_put_number(out, seen->session.count);
		journal_put_number(out, seen->session.octets);
		journal_seal(out, start, seen->mine);
	}
	if (seen_login_after(seen) != 0) {
		start = begin_line(out, "login-delay");
		journal_put_number(out, (uint64_t)seen->delayed_at);
		journal_put_number(out, (uint64_t)seen->delayed_until);
		journal_seal(out, start, seen->mine);
	}
}

/* Whether records may be missing is to be seen in the new file, too. */
static bool
lacks_nothing(const struct seen *seen)
{
	return seen->ended_well && !seen->may_lack;
}

static void
put_past(const struct seen *seen, struct buf *out)
{
	size_t start = begin_line(out, seen->owner);

	journal_seal(out, start, 0);
	for (size_t i = 0; i < seen->n_targets; i++) {
		start = begin_line(out, "batch");
		journal_put_number(out, (uint64_t)seen->targets[i].time);
		journal_put(
		    out, seen->targets[i].name, strlen(seen->targets[i].name));
		journal_put(out, "-", 1);
		journal_seal(out, start, seen->mine);
		journal_seal(out, begin_line(out, "published"), seen->mine);
	}
	if (!lacks_nothing(seen))
		put_session(seen, out);
}

/* A session as the last record would say that nothing is missing. */
static void
put_end(const struct seen *seen, struct buf *out)
{
	if (lacks_nothing(seen))
		put_session(seen, out);
	else
		journal_seal(out, begin_line(out, "published"), seen->mine);
}

static const char *
word_of_message(const struct seen_message *message)
{
	if ((message->flags & SEEN_QUARANTINED) != 0)
		return "quarantined";
	if ((message->flags & SEEN_IMPORTED) != 0)
		return "imported";
	if ((message->flags & SEEN_MARKED) != 0)
		return "marked";
	return (message->flags & SEEN_REBUILT) != 0 ? "rebuilt" : "got";
}

static bool
is_live(const struct seen_message *message)
{
	return (message->flags & SEEN_UNDONE) == 0;
}

static int
put_message(struct compaction *compaction, const struct seen_message *message,
    uint64_t number, struct err *err)
{
	struct buf *out = &compaction->new.buf;
	struct seen *seen = compaction->seen;
	struct journal_field id;
	uint64_t header_hash;
	size_t start;

	if (journal_identity(seen, message, &id, &header_hash, err) == -1)
		return -1;
	start = begin_line(out, word_of_message(message));
	journal_put(out, id.text, id.n);
	journal_put_octets(out, message->octets);
	if ((message->flags & JOURNAL_TIME_ODD) != 0)
		journal_put(out, "-", 1);
	else
		journal_put_number(out, message->time);
	journal_put_header(out, header_hash);
	journal_put(out, "-", 1);
	journal_seal(out, start, seen->mine);
	if ((message->flags & SEEN_DELETED) != 0) {
		start = begin_line(out, "dele");
		journal_put_number(out, number);
		journal_put(out, id.text, id.n);
		journal_put(out, "-", 1);
		journal_seal(out, start, seen->mine);
	}
	if (message->missing != 0) {
		start = begin_line(out, "missing");
		journal_put_number(out, number);
		journal_put(out, id.text, id.n);
		journal_put_number(out, message->missing);
		journal_seal(out, start, seen->mine);
	}
	return sink_drain_full(&compaction->new, err);
}

static int
put_messages(struct compaction *compaction, struct err *err)
{
	struct seen *seen = compaction->seen;
	uint64_t number = 1;

	for (size_t i = 0; i < seen->n_messages; i++) {
		if (!is_live(&seen->messages[i]))
			continue;
		if (put_message(
			compaction, &seen->messages[i], number++, err) == -1)
			return -1;
	}
	return 0;
}

static int
take_place(struct compaction *compaction, const char *real, struct err *err)
{
	struct sink *new = &compaction->new;

	if (flock(new->fd, LOCK_EX | LOCK_NB) == -1)
		return err_set_errno(err, ERR_IO, "cannot lock %s", new->path);
	if (sink_finish(new, err) == -1)
		return -1;
	if (compaction->damaged.fd != -1 &&
	    (sink_finish(&compaction->damaged, err) == -1 ||
		file_sync_parent(real, err) == -1))
		return -1;
	if (rename(new->path, real) == -1)
		return err_set_errno(err, err_class_of_errno(errno),
		    "cannot rename %s to %s", new->path, real);
	return file_sync_parent(real, err);
}

static int
compact(struct compaction *compaction, const char *real, struct err *err)
{
	struct sink *new = &compaction->new;
	int status;

	/* What a crash left; nobody else comes here without the lock. */
	unlink(new->path);
	if (sink_open(new, O_EXCL, err) == -1)
		return -1;
	status = copy_others(compaction, err);
	if (status == 0) {
		put_past(compaction->seen, &new->buf);
		trouble_put_all(compaction->seen, &new->buf);
		status = put_messages(compaction, err);
	}
	if (status == 0) {
		put_end(compaction->seen, &new->buf);
		status = take_place(compaction, real, err);
	}
	if (status == -1)
		unlink(new->path);
	return status;
}

static bool
is_worthwhile(const struct seen *seen)
{
	uint64_t live = 2 + 2 * (seen->n_targets + seen->n_troubles);

	if (seen->garbage > 0)
		return true;
	/* A look at each message only when there may be enough. */
	if (seen->lines <= DEAD_LINES_MIN)
		return false;
	for (size_t i = 0; i < seen->n_messages; i++) {
		const struct seen_message *message = &seen->messages[i];

		if (is_live(message))
			live += 1u + (message->missing != 0) +
			    ((message->flags & SEEN_DELETED) != 0);
	}
	return seen->lines > 2 * live + DEAD_LINES_MIN;
}

/* A file with several names, or another's, would not stay what it is. */
static bool
may_be_replaced(const struct seen *seen, const char *real)
{
	struct stat ours, there;

	return fstat(seen->fd, &ours) == 0 && stat(real, &there) == 0 &&
	    ours.st_ino == there.st_ino && ours.st_dev == there.st_dev &&
	    ours.st_nlink == 1 && ours.st_uid == geteuid();
}

void
journal_compact(struct seen *seen)
{
	struct compaction compaction = {
	    .seen = seen, .new.fd = -1, .damaged.fd = -1};
	struct err err;
	char path[512];
	char *real;

	if (seen->fd == -1 || seen->read_only || seen->failed ||
	    seen->out.len > 0 || seen->size == 0 || seen->pending.len > 0 ||
	    seen->importing || !is_worthwhile(seen))
		return;
	real = realpath(seen->path, NULL);
	if (real != NULL && may_be_replaced(seen, real)) {
		compaction.new.path = mem_printf("%s.compacting", real);
		compaction.damaged.path = mem_printf("%s.damaged", real);
		if (compact(&compaction, real, &err) == -1)
			log_say(LOG_AT_VERBOSE, "state: not compacted: %s",
			    err.text);
		else if (compaction.damaged.fd != -1)
			log_say(LOG_AT_WARNING,
			    "state: the garbage is now in %s",
			    text_escape(path, sizeof(path),
				compaction.damaged.path,
				strlen(compaction.damaged.path)));
	}
	sink_close(&compaction.new);
	sink_close(&compaction.damaged);
	free(real);
}
