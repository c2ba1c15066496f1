/* SPDX-License-Identifier: ISC */
/* New records: into memory, and from there into the file. */
#include "state/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"

#define SECONDS_PER_DAY 86400

static void
put_first_lines(struct seen *seen)
{
	size_t start;

	if (seen->size + seen->out.len == 0)
		journal_first_line(&seen->out);
	if (seen->owner_stands)
		return;
	start = seen->out.len;
	buf_puts(&seen->out, seen->owner);
	journal_seal(&seen->out, start, 0);
	seen->owner_stands = true;
}

/* The line ends here: what it means is what a later run will read in it. */
static void
end_record(struct seen *seen, size_t start)
{
	struct journal_line line = {
	    .offset = seen->size + start,
	    .n = seen->out.len - start,
	};

	journal_seal(&seen->out, start, seen->mine);
	line.text = seen->out.data + start;
	journal_apply(seen, &line);
}

static size_t
begin_record(struct seen *seen, const char *word)
{
	size_t start;

	put_first_lines(seen);
	if (seen->broken_import) {
		seen->broken_import = false;
		start = seen->out.len;
		buf_puts(&seen->out, "import-undone");
		end_record(seen, start);
	}
	start = seen->out.len;
	buf_puts(&seen->out, word);
	return start;
}

/* What cannot be written or read back now fails the next flush. */
static int
fail(struct seen *seen, const struct err *err)
{
	if (!seen->failed) {
		seen->failed = true;
		seen->reason = *err;
	}
	return -1;
}

/* A copy of the message's id, valid until the next call. */
static bool
look_up_id(struct seen *seen, uint32_t index, struct journal_field *id)
{
	struct err err;

	seen->scratch.len = 0;
	if (seen_read_id(seen, index, &seen->scratch, &err) == -1) {
		fail(seen, &err);
		return false;
	}
	id->text = seen->scratch.data;
	id->n = seen->scratch.len;
	return true;
}

/* Begin a record about a message; false if its id cannot be read. */
static bool
begin_reference(
    struct seen *seen, const char *word, uint32_t index, size_t *start)
{
	struct journal_field id;

	if (!look_up_id(seen, index, &id))
		return false;
	*start = begin_record(seen, word);
	journal_put_number(&seen->out, (uint64_t)index + 1);
	journal_put(&seen->out, id.text, id.n);
	return true;
}

static uint64_t
positive(time_t when)
{
	return when > 0 ? (uint64_t)when : 0;
}

void
seen_batch(struct seen *seen, const char *target, const char *where)
{
	size_t start = begin_record(seen, "batch");

	journal_put_number(&seen->out, positive(seen->now));
	journal_encode(&seen->out, target, strlen(target), JOURNAL_FIELD_MAX);
	journal_encode(&seen->out, where, strlen(where), JOURNAL_FIELD_MAX);
	end_record(seen, start);
}

/* The fields that every record of a new message begins with. */
static void
put_message(struct seen *seen, const char *id, uint64_t octets, time_t when,
    uint64_t header_hash)
{
	journal_put(&seen->out, id, strlen(id));
	journal_put_octets(&seen->out, octets);
	journal_put_number(&seen->out, positive(when));
	journal_put_header(&seen->out, header_hash);
}

/* Begun by begin_record. */
static uint32_t
end_in_batch(struct seen *seen, size_t start, const char *place)
{
	uint32_t index = (uint32_t)seen->n_messages;

	journal_encode(&seen->out, place, strlen(place), JOURNAL_FIELD_MAX);
	end_record(seen, start);
	return index;
}

uint32_t
seen_delivered(struct seen *seen, const char *id, uint64_t octets,
    uint64_t header_hash, const char *place)
{
	size_t start = begin_record(seen, "got");

	put_message(seen, id, octets, seen->now, header_hash);
	return end_in_batch(seen, start, place);
}

uint32_t
seen_quarantined(struct seen *seen, const char *id, uint64_t octets,
    uint64_t header_hash, const char *place)
{
	size_t start = begin_record(seen, "quarantined");

	put_message(seen, id, octets, seen->now, header_hash);
	return end_in_batch(seen, start, place);
}

static void
record_trouble(
    struct seen *seen, const char *word, const char *id, unsigned int count)
{
	size_t start = begin_record(seen, word);

	journal_put(&seen->out, id, strlen(id));
	journal_put_number(&seen->out, positive(seen->now));
	journal_put_number(&seen->out, count);
	end_record(seen, start);
}

void
journal_record_failed(struct seen *seen, const char *id, unsigned int breaks)
{
	record_trouble(seen, "failed", id, breaks);
}

void
journal_record_blamed(struct seen *seen, const char *id, unsigned int count)
{
	record_trouble(seen, "blamed", id, count);
}

void
seen_published(struct seen *seen)
{
	end_record(seen, begin_record(seen, "published"));
}

void
seen_import_begin(struct seen *seen, const char *source)
{
	size_t start = begin_record(seen, "import");

	journal_put_number(&seen->out, positive(seen->now));
	journal_encode(&seen->out, source, strlen(source), JOURNAL_FIELD_MAX);
	end_record(seen, start);
}

void
seen_import_end(struct seen *seen)
{
	end_record(seen, begin_record(seen, "import-end"));
}

void
seen_import_undo(struct seen *seen)
{
	end_record(seen, begin_record(seen, "import-undone"));
}

void
journal_record_ids(struct seen *seen, const char *ids, size_t n)
{
	size_t start = begin_record(seen, JOURNAL_IMPORTED_IDS);

	journal_put_number(&seen->out, positive(seen->now));
	journal_put(&seen->out, ids, n);
	end_record(seen, start);
}

static const char *
word_of_flag(unsigned int flag)
{
	if (flag == SEEN_MARKED)
		return "marked";
	return flag == SEEN_REBUILT ? "rebuilt" : "imported";
}

uint32_t
seen_imported(struct seen *seen, const char *id, uint64_t octets,
    uint64_t header_hash, time_t when, unsigned int flag)
{
	uint32_t index = (uint32_t)seen->n_messages;
	struct seen_message *known = NULL;
	size_t start;

	if (flag == SEEN_IMPORTED)
		known = table_find(seen, table_key(seen, id, strlen(id)));
	if (known != NULL)
		return seen_index(seen, known);
	start = begin_record(seen, word_of_flag(flag));
	put_message(seen, id, octets, when, header_hash);
	end_record(seen, start);
	return index;
}

void
seen_undo(struct seen *seen, uint32_t index)
{
	size_t start;

	if (begin_reference(seen, "undo", index, &start))
		end_record(seen, start);
}

void
seen_deleted(struct seen *seen, uint32_t index)
{
	size_t start;

	if (!begin_reference(seen, "dele", index, &start))
		return;
	journal_put_number(&seen->out, positive(seen->now));
	end_record(seen, start);
}

void
seen_update(struct seen *seen, uint32_t index, const char *id, uint64_t octets,
    uint64_t header_hash)
{
	size_t start;

	if (!begin_reference(seen, "update", index, &start))
		return;
	journal_put(&seen->out, id, strlen(id));
	journal_put_octets(&seen->out, octets);
	journal_put_header(&seen->out, header_hash);
	end_record(seen, start);
}

static void
note_absence(struct seen *seen, uint32_t index, uint32_t day)
{
	const struct seen_message *message = &seen->messages[index];
	bool listed = (message->flags & SEEN_MATCHED) != 0;
	size_t start;

	if ((message->flags & SEEN_UNDONE) != 0)
		return;
	if (!listed && message->missing == 0) {
		if (!begin_reference(seen, "missing", index, &start))
			return;
		journal_put_number(&seen->out, day);
		end_record(seen, start);
	} else if (listed && message->missing != 0 &&
	    begin_reference(seen, "back", index, &start)) {
		end_record(seen, start);
	}
}

void
seen_session_done(struct seen *seen, uint64_t count, uint64_t octets)
{
	uint32_t day = seen->session.days;
	size_t start;

	if (day == 0 ||
	    (day < SESSION_DAYS_MAX &&
		seen->now / SECONDS_PER_DAY >
		    seen->session.time / SECONDS_PER_DAY))
		day++;
	for (uint32_t i = 0; i < seen->n_messages; i++)
		note_absence(seen, i, day);
	start = begin_record(seen, "session");
	journal_put_number(&seen->out, positive(seen->now));
	journal_put_number(&seen->out, day);
	journal_put_number(&seen->out, count);
	journal_put_number(&seen->out, octets);
	end_record(seen, start);
	seen->may_lack = false;
	journal_forget(seen);
}

void
seen_login_delayed(struct seen *seen, uint64_t seconds)
{
	size_t start = begin_record(seen, "login-delay");

	if (seconds > SECONDS_PER_DAY)
		seconds = SECONDS_PER_DAY;
	journal_put_number(&seen->out, positive(seen->now));
	journal_put_number(&seen->out, positive(seen->now) + seconds);
	end_record(seen, start);
}

/* Writing */

static int
explain_full_disk(struct err *err, int error)
{
	if (error == ENOSPC)
		err_hint(err, "the disk is full: make room");
	if (error == EDQUOT)
		err_hint(err, "the quota is used up: make room");
	return -1;
}

/* So much the records of one batch with one message may take: two texts of
 * JOURNAL_FIELD_MAX bytes and an id, all of them encoded. */
#define RESERVED ((off_t)32 * 1024)

static int
reserve(int fd, off_t end)
{
	struct rlimit limit;

	/* Which fallocate does not look at. */
	if (getrlimit(RLIMIT_FSIZE, &limit) == 0 &&
	    limit.rlim_cur != RLIM_INFINITY &&
	    (rlim_t)(end + RESERVED) > limit.rlim_cur) {
		errno = EFBIG;
		return -1;
	}
#ifdef __linux__
	if (fallocate(fd, FALLOC_FL_KEEP_SIZE, end, RESERVED) == -1 &&
	    (errno == ENOSPC || errno == EDQUOT || errno == EIO))
		return -1;
		/* Other file systems cannot promise that. */
#else
	(void)fd;
#endif
	return 0;
}

int
seen_reserve(struct seen *seen, struct err *err)
{
	int error;

	if (seen->failed || seen->read_only ||
	    reserve(seen->fd, (off_t)(seen->size + seen->out.len)) == 0)
		return 0;
	error = errno;
	err_set_errno(err, ERR_IO, "cannot write %s", seen->path);
	return explain_full_disk(err, error);
}

/* What is written into a file that is gone is known to nobody, and behind the
 * end of one that somebody has cut it makes no state. */
static int
check_in_place(const struct seen *seen, struct err *err)
{
	struct stat ours, there;
	uint64_t length;
	bool gone;

	if (fstat(seen->fd, &ours) == -1)
		return err_set_errno(
		    err, ERR_IO, "cannot write %s", seen->path);
	gone = stat(seen->path, &there) == -1;
	if (gone && errno != ENOENT)
		return err_set_errno(
		    err, ERR_IO, "cannot look at %s", seen->path);
	if (gone || there.st_ino != ours.st_ino || there.st_dev != ours.st_dev)
		return err_set(err, ERR_IO,
		    "%s was removed or replaced while it was in use",
		    seen->path);
	length = (uint64_t)ours.st_size;
	if (length < seen->size || (length > seen->size && !seen->torn))
		return err_set(err, ERR_IO,
		    "%s was changed while it was in use", seen->path);
	return 0;
}

/*
 * What stood behind the last good line goes first, and the name of a new file
 * becomes durable before its first byte: a file with content has a name
 * that lasts.
 */
static int
prepare_file(struct seen *seen, struct err *err)
{
	char *real;
	int status;

	if (seen->torn) {
		if (ftruncate(seen->fd, (off_t)seen->size) == -1)
			return err_set_errno(
			    err, ERR_IO, "cannot cut %s", seen->path);
		if (file_sync(seen->fd, seen->path, err) == -1)
			return -1;
		seen->torn = false;
	}
	if (seen->size > 0)
		return 0;
	real = realpath(seen->path, NULL);
	status = file_sync_parent(real != NULL ? real : seen->path, err);
	free(real);
	return status;
}

static int
write_records(struct seen *seen, struct err *err)
{
	int saved;

	if (check_in_place(seen, err) == -1 || prepare_file(seen, err) == -1)
		return -1;
	if (lseek(seen->fd, (off_t)seen->size, SEEK_SET) == -1 ||
	    file_write(seen->fd, seen->out.data, seen->out.len) == -1) {
		saved = errno;
		err_set_errno(err, ERR_IO, "cannot write %s", seen->path);
		explain_full_disk(err, saved);
		/* If that fails as well the next run finds a torn line. */
		if (ftruncate(seen->fd, (off_t)seen->size) == -1)
			seen->torn = true;
		return -1;
	}
	seen->size += seen->out.len;
	seen->out.len = 0;
	seen->dirty = true;
	return 0;
}

int
seen_flush(struct seen *seen, bool durable, struct err *err)
{
	if (seen->failed) {
		*err = seen->reason;
		return -1;
	}
	if (seen->read_only)
		return 0;
	if (seen->out.len > 0 && write_records(seen, err) == -1)
		return fail(seen, err);
	if (durable && seen->dirty) {
		if (file_sync(seen->fd, seen->path, err) == -1)
			return fail(seen, err);
		seen->dirty = false;
	}
	return 0;
}
