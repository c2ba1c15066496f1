/* SPDX-License-Identifier: ISC */
/* Reading the journal: whole when it is opened, single records later. */
#include "state/journal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"

#define GARBAGE_NAMED 5
#define VERSION_WORD "poplar-state "
#define SUM_SIZE CHECKSUM_SIZE /* without the blank, with the line end */
#define WINDOW ((size_t)64 * 1024)
#define WINDOW_SMALL ((size_t)2048)
/* For sizing the table only; shorter lines make it grow. */
#define LINE_TYPICAL 64
/* So much of a file is searched for a line of ours. */
#define SEARCHED ((uint64_t)1024 * 1024)

/* Does it name a version, and not only by a bad bit?  That leaves the checksum
 * of ours. */
static bool
is_newer(const char *head, size_t n, const struct buf *ours)
{
	const size_t word = strlen(VERSION_WORD);
	const char *sum = ours->data + ours->len - SUM_SIZE;

	if (n <= word || memcmp(head, VERSION_WORD, word) != 0 ||
	    (head[word] == '1' && (n == word + 1 || head[word + 1] == ' ')))
		return false;
	return memmem(head, n, sum, SUM_SIZE) == NULL;
}

/* Of the lines whose checksum is right, one has a version in it. */
static bool
is_of_this_version(const struct journal_line *line, const struct buf *ours)
{
	size_t n = ours->len - CHECKSUM_SIZE - 1;

	return memcmp(line->text, VERSION_WORD, strlen(VERSION_WORD)) != 0 ||
	    (line->n == n && memcmp(line->text, ours->data, n) == 0);
}

/* One line of ours among the first ones makes it ours, unless it is the first
 * line of a newer version. */
static bool
has_line_of_ours(const struct seen *seen, uint64_t size, const struct buf *ours)
{
	struct journal_scan scan;
	struct journal_line line;
	enum journal_kind kind;
	bool good;

	journal_scan_open(&scan, seen, size < SEARCHED ? size : SEARCHED);
	do
		kind = journal_scan_next(&scan, &line);
	while (kind == JOURNAL_GARBAGE);
	good = kind > JOURNAL_END && kind != JOURNAL_TORN &&
	    is_of_this_version(&line, ours);
	journal_reader_close(&scan.reader);
	return good;
}

static bool
is_zeros(const char *text, size_t n)
{
	return n == 0 || (text[0] == 0 && memcmp(text, text + 1, n - 1) == 0);
}

/* A part of our first line and zeros behind it, or either alone: what a file
 * system may leave of the first write ever when the power fails before it was
 * flushed. */
static bool
is_beginning(const struct seen *seen, const char *head, uint64_t size,
    const struct buf *ours)
{
	struct journal_reader reader;
	struct journal_line line;
	size_t n = 0;
	int more;

	while (n < size && n < ours->len && head[n] == ours->data[n])
		n++;
	if (n == ours->len)
		return false;
	journal_reader_open(&reader, seen->fd, n, size);
	do
		more = journal_next(&reader, &line);
	while (more == 1 && !line.ended && is_zeros(line.text, line.n));
	journal_reader_close(&reader);
	return more == 0;
}

static int
refuse_first_line(
    const struct seen *seen, const char *head, size_t n, struct err *err)
{
	size_t word = strlen(VERSION_WORD);

	if (n <= word || memcmp(head, VERSION_WORD, word) != 0) {
		err_set(err, ERR_CONFIG, "%s is no state file of poplar's",
		    seen->path);
		return err_hint(err, "name another one by uidls_file");
	}
	if (head[word] == '1' && (n == word + 1 || head[word + 1] == ' ')) {
		err_set(err, ERR_CONFIG, "%s: the first line is damaged",
		    seen->path);
		return err_hint(err,
		    "put it right as poplar-state(5) says, or move the file "
		    "away");
	}
	err_set(err, ERR_CONFIG, "%s is of a newer version", seen->path);
	return err_hint(err, "use a newer poplar");
}

/* Ours, if need be with a damaged first line, or the torn beginning of ours, or
 * to be left alone. */
static int
check_first_line(struct seen *seen, uint64_t size, struct err *err)
{
	struct buf ours = {0};
	char head[64] = {0};
	ssize_t n = pread(seen->fd, head, sizeof(head), 0);
	int status = 0;

	journal_first_line(&ours);
	if (n == -1)
		status =
		    err_set_errno(err, ERR_IO, "cannot read %s", seen->path);
	else if (is_beginning(seen, head, size, &ours))
		seen->torn = size > 0;
	else if (((size_t)n >= ours.len &&
		     memcmp(head, ours.data, ours.len) == 0) ||
	    (!is_newer(head, (size_t)n, &ours) &&
		has_line_of_ours(seen, size, &ours)))
		seen->size = size;
	else
		status = refuse_first_line(seen, head, (size_t)n, err);
	buf_free(&ours);
	return status;
}

static void
note_garbage(struct seen *seen, size_t number)
{
	char path[512];

	if (++seen->garbage > GARBAGE_NAMED)
		return;
	log_say(LOG_AT_WARNING, "%s:%zu: garbage in the state, passed over",
	    text_escape(path, sizeof(path), seen->path, strlen(seen->path)),
	    number);
}

static int
read_lines(struct seen *seen, struct err *err)
{
	struct journal_scan scan;
	struct journal_line line;
	enum journal_kind kind;

	journal_scan_open(&scan, seen, seen->size);
	while ((kind = journal_scan_next(&scan, &line)) > JOURNAL_END) {
		if (kind == JOURNAL_TORN) {
			seen->size = scan.start;
			seen->torn = true;
			break;
		}
		/* Of one in pieces the last one tells whether it is torn. */
		if ((kind == JOURNAL_GARBAGE && line.ended) ||
		    (kind == JOURNAL_MINE && !journal_apply(seen, &line)))
			note_garbage(seen, scan.number);
	}
	/* Below garbage that was another's owner line, nobody else would take
	 * a record for this owner's. */
	seen->owner_stands = scan.owner == seen->mine && seen->garbage == 0;
	journal_reader_close(&scan.reader);
	if (kind == JOURNAL_FAILED)
		return err_set_errno(err, ERR_IO, "cannot read %s", seen->path);
	if (seen->garbage > GARBAGE_NAMED)
		log_say(LOG_AT_WARNING, "%zu lines of garbage in all",
		    seen->garbage);
	return 0;
}

/* Append a string; returns where it begins. */
static size_t
keep_text(struct buf *texts, const struct journal_field *field, bool decode)
{
	size_t start = texts->len;
	ptrdiff_t n = (ptrdiff_t)field->n;

	buf_append(texts, field->text, field->n);
	if (decode && journal_field_is(field, "-"))
		n = 0;
	else if (decode)
		n = text_percent_decode(texts->data + start, field->n);
	texts->len = start + (n > 0 ? (size_t)n : 0);
	buf_append(texts, "", 1);
	return start;
}

/* Where the id and the place of a message begin in texts. */
static int
keep_texts(struct seen *seen, uint32_t index, size_t starts[2], struct err *err)
{
	struct journal_line line = {.n = 0};
	struct journal_cursor fields;
	struct journal_field field;

	if (journal_look(seen, seen->messages[index].offset, &line, err) == -1)
		return -1;
	fields = (struct journal_cursor){line.text, line.text + line.n};
	journal_take(&fields);
	field = journal_take(&fields);
	starts[0] = keep_text(&seen->unsettled_text, &field, false);
	for (int i = 0; i < 4; i++)
		field = journal_take(&fields);
	starts[1] = keep_text(&seen->unsettled_text, &field, true);
	return 0;
}

/* Of the batch that a crash left: what was in it, but for what is undone. */
static int
list_unsettled(struct seen *seen, struct err *err)
{
	size_t n = seen->pending.len / sizeof(uint32_t);
	size_t(*starts)[2] = mem_zero(n + 1, sizeof(*starts));
	uint32_t index;
	int status = 0;

	seen->unsettled = mem_zero(n + 1, sizeof(*seen->unsettled));
	for (size_t i = 0; i < n && status == 0; i++) {
		memcpy(&index, seen->pending.data + i * sizeof(index),
		    sizeof(index));
		if ((seen->messages[index].flags & SEEN_UNDONE) != 0)
			continue;
		status =
		    keep_texts(seen, index, starts[seen->n_unsettled], err);
		seen->unsettled[seen->n_unsettled++].index = index;
	}
	for (size_t i = 0; i < seen->n_unsettled; i++) {
		const char *texts = buf_string(&seen->unsettled_text);

		seen->unsettled[i].id = texts + starts[i][0];
		seen->unsettled[i].place = texts + starts[i][1];
	}
	free(starts);
	return status;
}

int
journal_load(struct seen *seen, struct err *err)
{
	struct stat st;

	if (seen->fd == -1) {
		table_reserve(seen, 0);
		return 0;
	}
	if (fstat(seen->fd, &st) == -1)
		return err_set_errno(err, ERR_IO, "cannot read %s", seen->path);
	if (check_first_line(seen, (uint64_t)st.st_size, err) == -1)
		return -1;
	table_reserve(seen, (size_t)(seen->size / LINE_TYPICAL));
	if (read_lines(seen, err) == -1)
		return -1;
	/* The index will be made for as many as there are. */
	table_reserve(seen, seen->n_messages);
	seen->loaded = true;
	seen->may_lack = seen->torn || seen->garbage > 0 || !seen->ended_well;
	journal_settle_import(seen);
	journal_give_up_strays(seen);
	journal_forget(seen);
	trouble_forget_stale(seen);
	if (seen->where == NULL)
		return 0;
	/* The run that wrote it died, maybe before it could flush. */
	seen->dirty = !seen->read_only;
	return list_unsettled(seen, err);
}

static int
fill_window(struct seen *seen, uint64_t offset, size_t size, struct err *err)
{
	ssize_t got = 1;

	seen->window.len = 0;
	seen->window_at = offset;
	if (size > seen->size - offset)
		size = (size_t)(seen->size - offset);
	while (seen->window.len < size && got != 0) {
		size_t left = size - seen->window.len;

		got = pread(seen->fd, buf_room(&seen->window, left), left,
		    (off_t)(offset + seen->window.len));
		if (got == -1 && errno != EINTR)
			return err_set_errno(
			    err, ERR_IO, "cannot read %s", seen->path);
		seen->window.len += got > 0 ? (size_t)got : 0;
	}
	return 0;
}

/* The line that stands at the beginning of text, without its checksum. */
static bool
cut_line(const char *text, size_t n, struct journal_line *line)
{
	const char *end = memchr(text, '\n', n);

	if (end == NULL || end - text < 10)
		return false;
	line->text = text;
	line->n = (size_t)(end - text) - 10;
	line->ended = true;
	return true;
}

static bool
in_window(const struct seen *seen, uint64_t offset, struct journal_line *line)
{
	uint64_t at = offset - seen->window_at;

	return offset >= seen->window_at && at < seen->window.len &&
	    cut_line(
		seen->window.data + at, seen->window.len - (size_t)at, line);
}

int
journal_look(struct seen *seen, uint64_t offset, struct journal_line *line,
    struct err *err)
{
	size_t sizes[] = {WINDOW_SMALL, JOURNAL_LINE_MAX + 1};

	line->offset = offset;
	if (offset >= seen->size) {
		size_t at = (size_t)(offset - seen->size);

		if (at < seen->out.len &&
		    cut_line(seen->out.data + at, seen->out.len - at, line))
			return 0;
		return err_set(err, ERR_SOFTWARE, "%s: no record at %llu",
		    seen->path, (unsigned long long)offset);
	}
	/* Most go through the file from its beginning to its end. */
	if (offset - seen->window_at < 2 * WINDOW)
		sizes[0] = WINDOW;
	for (size_t i = 0; !in_window(seen, offset, line); i++) {
		if (i == 2)
			return err_set(err, ERR_IO,
			    "%s changed while it was in use", seen->path);
		if (fill_window(seen, offset, sizes[i], err) == -1)
			return -1;
	}
	return 0;
}
