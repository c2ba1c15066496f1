/* SPDX-License-Identifier: ISC */
#include "mail/mboxrecovery.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/digest.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"
#include "mail/mboxlock.h"

#define CHUNK ((size_t)256 << 10)
#define END_HASHED 4096
#define HEAD_ROOM 4096 /* no From_ line of ours is so long */

static const char separator[] = MBOX_SEPARATOR;

#define SEPARATOR_LEN (sizeof(separator) - 1)

static void
sum_to_hex(uint64_t sum, char hex[MBOX_SUM_LEN + 1])
{
	snprintf(hex, MBOX_SUM_LEN + 1, "%016" PRIx64, sum);
}

uint64_t
mbox_take_sum(struct checksum *sum, const char *head, size_t n)
{
	checksum_update(sum, head, n);
	return checksum_take(sum);
}

int
mbox_hash_end(int fd, uint64_t length, char hex[MBOX_SUM_LEN + 1])
{
	uint8_t sha256[DIGEST_SHA256_SIZE];
	char end[END_HASHED];
	size_t n = length < sizeof(end) ? (size_t)length : sizeof(end);

	if (pread(fd, end, n, (off_t)(length - n)) != (ssize_t)n)
		return -1;
	digest_sha256(end, n, sha256);
	sum_to_hex(digest_short(sha256), hex);
	return 0;
}

struct expected {
	uint64_t length;
	uint64_t start; /* where it is to begin */
	char sum[MBOX_SUM_LEN + 1];
	char head[MBOX_SUM_LEN + 1]; /* of its From_ line; "": not recorded */
	struct deliver_recovery *item;
};

/* A batch that was recorded. */
struct intent {
	struct deliver_lock deliver_lock;
	struct mboxlock *lock;
	uintmax_t inode;
	uint64_t old_length;
	uint64_t lead;
	char old_end[MBOX_SUM_LEN + 1]; /* mbox_hash_end */
	uint64_t seed;			/* of the checksums */
	bool same_file;			/* as it was, but for what is behind */
	uint64_t end;			/* how long the file was to become */
	char token[MBOXLOCK_TOKEN_MAX];
	char *path;
	off_t size; /* of the file as it is now */
	size_t n;
	struct expected *expected;
};

static void
intent_free(struct intent *intent)
{
	mboxlock_release(intent->lock);
	free(intent->path);
	free(intent->expected);
	free(intent);
}

static bool
parse_where(struct intent *intent, const char *where)
{
	int used = 0;

	if (sscanf(where,
		"%ju %" SCNu64 "+%" SCNu64 " %16s %16" SCNx64 " %63s %n",
		&intent->inode, &intent->old_length, &intent->lead,
		intent->old_end, &intent->seed, intent->token, &used) != 6 ||
	    used == 0 || where[used] != '/' || intent->lead > 2 ||
	    intent->old_length > INT64_MAX / 2)
		return false;
	intent->path = mem_dup(where + used);
	return true;
}

/* "LENGTH SUM HEAD"; what cannot be read is never found. */
static void
expect(struct intent *intent, struct deliver_recovery *item)
{
	struct expected *expected = &intent->expected[intent->n];

	item->delivered = false;
	if (sscanf(item->place, "%" SCNu64 " %16s %16s", &expected->length,
		expected->sum, expected->head) < 2 ||
	    expected->length > INT64_MAX / 4)
		return;
	expected->item = item;
	expected->start = intent->end;
	intent->end += expected->length;
	intent->n++;
}

static struct intent *
intent_new(const char *where, struct deliver_recovery *items, size_t n,
    struct err *err)
{
	struct intent *intent = mem_zero(1, sizeof(*intent));

	intent->deliver_lock.backend = &mbox_backend;
	if (!parse_where(intent, where)) {
		intent_free(intent);
		err_set(err, ERR_IO,
		    "the state has a record of an mbox that "
		    "makes no sense");
		return NULL;
	}
	intent->expected = mem_zero(n + 1, sizeof(*intent->expected));
	intent->end = intent->old_length + intent->lead;
	for (size_t i = 0; i < n; i++)
		expect(intent, &items[i]);
	return intent;
}

/* 1: these are the bytes of the message, 0: they are not, -1. */
static int
sum_at(const struct intent *intent, uint64_t at,
    const struct expected *expected, char *chunk)
{
	uint64_t left = expected->length;
	struct checksum *sum = checksum_new(intent->seed);
	char head[HEAD_ROOM], hex[MBOX_SUM_LEN + 1];
	size_t head_len = 0;
	ssize_t n = 0;

	while (left > 0) {
		const char *data = chunk, *newline;

		n = pread(intent->lock->fd, chunk,
		    left < CHUNK ? (size_t)left : CHUNK, (off_t)at);
		if (n <= 0)
			break;
		at += (uint64_t)n;
		left -= (uint64_t)n;
		if (head_len == 0) {
			newline = memchr(chunk, '\n', (size_t)n);
			if (newline == NULL ||
			    (size_t)(newline - chunk) >= sizeof(head))
				break;
			head_len = (size_t)(newline - chunk) + 1;
			memcpy(head, chunk, head_len);
			data += head_len;
		}
		checksum_update(sum, data, (size_t)(chunk + n - data));
	}
	sum_to_hex(mbox_take_sum(sum, head, head_len), hex);
	checksum_free(sum);
	if (n == -1)
		return -1;
	return left == 0 && strcmp(hex, expected->sum) == 0;
}

static int
verify_at(const struct intent *intent, uint64_t at,
    const struct expected *expected, struct err *err)
{
	char *chunk;
	int status;

	if (at > (uint64_t)intent->size ||
	    expected->length > (uint64_t)intent->size - at)
		return 0;
	chunk = mem_alloc(CHUNK);
	status = sum_at(intent, at, expected, chunk);
	free(chunk);
	if (status == -1)
		return err_set_errno(
		    err, ERR_IO, "cannot read %s", intent->path);
	return status;
}

/* How many of the batch stand where they were to be, from its first on. */
static int
walk(const struct intent *intent, size_t *arrived, struct err *err)
{
	int same = 1;

	*arrived = 0;
	while (*arrived < intent->n) {
		const struct expected *next = &intent->expected[*arrived];

		same = verify_at(intent, next->start, next, err);
		if (same != 1)
			break;
		++*arrived;
	}
	return same == -1 ? -1 : 0;
}

/* Call visit with each place of "From " from start on, until it returns
 * other than 0. */
typedef int separator_visitor(
    void *context, uint64_t at, const char *line, size_t n, struct err *err);

static int
scan_chunk(const struct buf *window, uint64_t at, size_t limit,
    separator_visitor *visit, void *context, struct err *err)
{
	const char *from = window->data, *end = window->data + limit, *hit;
	int status = 0;

	while (status == 0 && from < end &&
	    (hit = memmem(from, window->len - (size_t)(from - window->data),
		 separator, SEPARATOR_LEN)) != NULL &&
	    hit < end) {
		status = visit(context, at + (uint64_t)(hit - window->data),
		    hit, window->len - (size_t)(hit - window->data), err);
		from = hit + 1;
	}
	return status;
}

/* How much of a line visit gets to see at least, if there is so much. */
#define SIGHT 512

static int
each_separator(const struct intent *intent, uint64_t start,
    separator_visitor *visit, void *context, struct err *err)
{
	struct buf window = {0};
	ssize_t n;
	int status = 0;

	do {
		size_t limit;

		n = pread(intent->lock->fd, buf_room(&window, CHUNK), CHUNK,
		    (off_t)(start + window.len));
		if (n == -1) {
			status = err_set_errno(
			    err, ERR_IO, "cannot read %s", intent->path);
			break;
		}
		window.len += (size_t)n;
		limit = n == 0		 ? window.len
		    : window.len > SIGHT ? window.len - SIGHT
					 : 0;
		if (limit > 0)
			status = scan_chunk(
			    &window, start, limit, visit, context, err);
		buf_consume(&window, limit);
		start += limit;
	} while (status == 0 && n > 0);
	buf_free(&window);
	return status;
}

/* -- may the tail be cut? -- */

struct tail {
	const struct intent *intent;
	bool foreign;
};

/* "From somebody Sun Nov 22 00:09", even where no line begins. */
static bool
looks_like_from_line(const char *line, size_t n)
{
	char text[SIGHT];
	struct tm tm;
	const char *s = text;

	n = n < SIGHT ? n : SIGHT;
	snprintf(text, sizeof(text), "%.*s", (int)(n - SEPARATOR_LEN),
	    line + SEPARATOR_LEN);
	text[strcspn(text, "\n")] = '\0';
	s += strspn(s, " ");
	s += strcspn(s, " ");
	return strptime(s, " %a %b %d %H:%M", &tm) != NULL;
}

static bool
starts_line(const struct intent *intent, uint64_t at)
{
	char before;

	return at == 0 ||
	    (pread(intent->lock->fd, &before, 1, (off_t)at - 1) == 1 &&
		before == '\n');
}

/* Where one of ours was to begin, another's may begin as well: it is the file's
 * old end. */
static bool
is_our_line(const struct intent *intent, const struct expected *expected)
{
	struct checksum *sum;
	char head[HEAD_ROOM], hex[MBOX_SUM_LEN + 1];
	const char *newline;
	ssize_t n =
	    pread(intent->lock->fd, head, sizeof(head), (off_t)expected->start);

	if (n <= 0)
		return false;
	newline = memchr(head, '\n', (size_t)n);
	if (newline == NULL) /* torn */
		return n < (ssize_t)sizeof(head);
	sum = checksum_new(intent->seed);
	sum_to_hex(mbox_take_sum(sum, head, (size_t)(newline - head) + 1), hex);
	checksum_free(sum);
	return strcmp(hex, expected->head) == 0;
}

/* A separator that is not ours is somebody else's message.  While our dotlock
 * stands, the words may stand in a line of ours. */
static int
tail_visit(
    void *context, uint64_t at, const char *line, size_t n, struct err *err)
{
	struct tail *tail = context;
	const struct intent *intent = tail->intent;

	(void)err;
	for (size_t i = 0; i < intent->n; i++)
		if (intent->expected[i].start == at &&
		    is_our_line(intent, &intent->expected[i]))
			return 0;
	tail->foreign = !intent->lock->inherited || starts_line(intent, at) ||
	    looks_like_from_line(line, n);
	return tail->foreign;
}

/* 1: all behind at was written by us, 0: who knows, -1. */
static int
tail_is_ours(const struct intent *intent, uint64_t at, struct err *err)
{
	struct tail tail = {.intent = intent};

	if (!intent->same_file || (uint64_t)intent->size > intent->end)
		return 0;
	if (each_separator(intent, at, tail_visit, &tail, err) == -1)
		return -1;
	return !tail.foreign;
}

/* -- or are they elsewhere? -- */

struct hunt {
	struct intent *intent;
	size_t arrived; /* the first so many are where they were to be */
	uint64_t begin; /* of the message before, from its separator */
	bool begun;
};

/* Is the message from begin to end one of ours that is still sought? */
static int
hunt_message(struct hunt *hunt, uint64_t end, struct err *err)
{
	struct intent *intent = hunt->intent;

	/* Where the walk has found one, there is no other. */
	for (size_t i = 0; i < hunt->arrived; i++)
		if (intent->expected[i].start == hunt->begin)
			return 0;
	for (size_t i = hunt->arrived; i < intent->n; i++) {
		struct expected *expected = &intent->expected[i];
		int same;

		if (expected->item->delivered ||
		    expected->length != end - hunt->begin)
			continue;
		same = verify_at(intent, hunt->begin, expected, err);
		if (same == -1)
			return -1;
		if (same == 1) {
			expected->item->delivered = true;
			break;
		}
	}
	return 0;
}

static int
hunt_visit(
    void *context, uint64_t at, const char *line, size_t n, struct err *err)
{
	struct hunt *hunt = context;

	(void)line;
	(void)n;
	if (!starts_line(hunt->intent, at))
		return 0;
	if (hunt->begun && hunt_message(hunt, at, err) == -1)
		return -1;
	hunt->begin = at;
	hunt->begun = true;
	return 0;
}

/* Before its old end, the file that it was holds none of the batch, but maybe
 * equal ones. */
static int
hunt_all(struct intent *intent, size_t arrived, struct err *err)
{
	struct hunt hunt = {.intent = intent, .arrived = arrived};
	uint64_t start = intent->same_file ? intent->old_length : 0;

	if (each_separator(intent, start, hunt_visit, &hunt, err) == -1)
		return -1;
	return hunt.begun ? hunt_message(&hunt, (uint64_t)intent->size, err)
			  : 0;
}

/* -- the verdict -- */

static int
settle(struct intent *intent, struct err *err)
{
	uint64_t behind = intent->old_length;
	size_t arrived;
	int ours;

	if (walk(intent, &arrived, err) == -1)
		return -1;
	for (size_t i = 0; i < arrived; i++) {
		const struct expected *expected = &intent->expected[i];

		expected->item->delivered = true;
		behind = expected->start + expected->length;
	}
	if (arrived == intent->n)
		return 0;
	ours = tail_is_ours(intent, behind, err);
	if (ours == -1)
		return -1;
	if (!ours)
		return hunt_all(intent, arrived, err);
	if ((uint64_t)intent->size > behind &&
	    ftruncate(intent->lock->fd, (off_t)behind) == -1)
		return err_set_errno(
		    err, ERR_IO, "cannot cut %s back", intent->path);
	return 0;
}

/* What the run before wrote may not have reached the disk. */
static int
examine(struct intent *intent, struct err *err)
{
	char hex[MBOX_SUM_LEN + 1];
	struct stat st;

	if (stat(intent->path, &st) == -1 && errno == ENOENT) {
		err_set(err, ERR_CANTCREAT,
		    "there is no mbox %s, where the last run was writing; is "
		    "the disk mounted?",
		    intent->path);
		return err_hint(err,
		    "if it is gone for good, make it anew: "
		    "touch %s",
		    intent->path);
	}
	intent->lock =
	    mboxlock_take(intent->path, MBOX_PATIENCE, intent->token, err);
	if (intent->lock == NULL)
		return -1;
	if (fstat(intent->lock->fd, &st) == -1)
		return err_set_errno(
		    err, ERR_IO, "cannot look at %s", intent->path);
	intent->size = st.st_size;
	intent->same_file = (uintmax_t)st.st_ino == intent->inode &&
	    (uint64_t)st.st_size >= intent->old_length &&
	    mbox_hash_end(intent->lock->fd, intent->old_length, hex) == 0 &&
	    strcmp(hex, intent->old_end) == 0;
	if (settle(intent, err) == -1)
		return -1;
	return file_sync(intent->lock->fd, intent->path, err);
}

int
mbox_recover(const char *where, struct deliver_recovery *items, size_t n,
    struct deliver_lock **lock, struct err *err)
{
	struct intent *intent = intent_new(where, items, n, err);

	if (intent == NULL)
		return -1;
	if (examine(intent, err) == -1) {
		intent_free(intent);
		return -1;
	}
	*lock = &intent->deliver_lock;
	return 0;
}

void
mbox_tidy(const char *where)
{
	struct intent intent = {0};

	if (parse_where(&intent, where))
		mboxlock_drop_left(intent.path, intent.token);
	free(intent.path);
}

void
mbox_recovery_release(struct deliver_lock *lock)
{
	intent_free((struct intent *)lock);
}
