/* SPDX-License-Identifier: ISC */
#include "state/seen.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/wait.h"
#include "state/journal.h"

#define RETRY_STEP 100	/* milliseconds between two tries for the lock */
#define REPLACED_MAX 16 /* so often may others replace it under our hands */

/* "owner USER HOST" and its parts. */
static void
set_owner(struct seen *seen, const struct seen_params *params)
{
	struct buf line = {0};

	seen->user = mem_dup(params->user);
	seen->host = mem_dup(params->host);
	for (char *c = seen->host; *c != '\0'; c++)
		*c = (char)tolower((unsigned char)*c);
	buf_puts(&line, "owner");
	journal_encode(
	    &line, seen->user, strlen(seen->user), JOURNAL_FIELD_MAX);
	journal_encode(
	    &line, seen->host, strlen(seen->host), JOURNAL_FIELD_MAX);
	seen->mine = journal_owner_seed(line.data, line.len);
	seen->owner = buf_string(&line);
}

/* To follow it would make a state where a disk is not mounted. */
static int
check_link(const char *path, struct err *err)
{
	struct stat st;

	if (lstat(path, &st) == 0)
		return err_set(
		    err, ERR_CANTCREAT, "%s is a link to nothing", path);
	return 0;
}

/*
 * False for what is no regular file, by name: opening a device or a FIFO may
 * have effects of its own.
 */
static int
check_kind(const struct seen_params *params, bool *missing, struct err *err)
{
	struct stat st;

	*missing = false;
	if (stat(params->path, &st) == 0) {
		if (S_ISREG(st.st_mode))
			return 0;
		return err_set(err, ERR_CANTCREAT, "%s is not a regular file",
		    params->path);
	}
	if (errno != ENOENT)
		return err_set_errno(err, err_class_of_errno(errno),
		    "cannot open %s", params->path);
	if (check_link(params->path, err) == -1)
		return -1;
	*missing = true;
	if (!params->require)
		return 0;
	err_set(err, ERR_CONFIG, "%s is missing", params->path);
	return err_hint(err,
	    "require_state is on: put the file back, or make an empty one for "
	    "a first run");
}

/* 1: the name leads to the file that is open, 0: it does no more, -1. */
static int
is_in_place(const struct seen *seen)
{
	struct stat ours, there;

	if (fstat(seen->fd, &ours) == -1)
		return -1;
	if (stat(seen->path, &there) == -1)
		return errno == ENOENT ? 0 : -1;
	return there.st_ino == ours.st_ino && there.st_dev == ours.st_dev;
}

/* What flopen does, but not for ever. */
static int
open_locked(struct seen *seen)
{
	int flags = O_NONBLOCK | O_NOCTTY | O_CLOEXEC, in_place = 0, saved;

	flags |= seen->read_only ? O_RDONLY : O_RDWR | O_CREAT;
	for (int i = 0; i < REPLACED_MAX; i++) {
		seen->fd = open(seen->path, flags, 0600);
		if (seen->fd == -1)
			return -1;
		if (flock(seen->fd, LOCK_EX | LOCK_NB) == -1)
			in_place = -1;
		else
			in_place = is_in_place(seen);
		if (in_place == 1)
			return 0;
		saved = errno;
		close(seen->fd);
		seen->fd = -1;
		errno = in_place == -1 ? saved : EBUSY;
		if (in_place == -1)
			break;
	}
	return -1;
}

static int
lock_once(struct seen *seen, struct err *err)
{
	if (open_locked(seen) == 0)
		return 1;
	if (errno == EWOULDBLOCK)
		return 0;
	return err_set_errno(
	    err, err_class_of_errno(errno), "cannot open %s", seen->path);
}

static int
wait_for_lock(struct seen *seen, int64_t wait, struct err *err)
{
	int64_t now = wait_clock();
	int64_t until = wait > INT64_MAX - now ? INT64_MAX : now + wait;
	struct pollfd nothing = {.fd = -1};
	int held;

	while ((held = lock_once(seen, err)) == 0) {
		now = wait_clock();
		if (now >= until)
			break;
		if (wait_for(&nothing, 1,
			until - now < RETRY_STEP ? until : now + RETRY_STEP,
			err) == -1)
			return -1;
	}
	if (held != 0)
		return held == 1 ? 0 : -1;
	err_set(
	    err, ERR_TEMPFAIL, "another run holds the lock on %s", seen->path);
	err->quiet = true;
	return -1;
}

static int
check_opened(struct seen *seen, struct err *err)
{
	struct stat st;

	if (fstat(seen->fd, &st) == -1)
		return err_set_errno(err, ERR_IO, "cannot open %s", seen->path);
	if (!S_ISREG(st.st_mode))
		return err_set(
		    err, ERR_CANTCREAT, "%s is not a regular file", seen->path);
	/* Made just now, by a umask that may be anything. */
	if (st.st_size == 0 && (st.st_mode & 07777) != 0600 &&
	    !seen->read_only && fchmod(seen->fd, 0600) == -1 &&
	    st.st_uid == geteuid())
		return err_set_errno(err, ERR_CANTCREAT,
		    "cannot set the mode of %s", seen->path);
	return 0;
}

static int
open_file(struct seen *seen, const struct seen_params *params, struct err *err)
{
	bool missing;

	if (check_kind(params, &missing, err) == -1)
		return -1;
	if (missing && seen->read_only)
		return 0;
	if (missing && file_make_parents(seen->path, err) == -1)
		return -1;
	if (wait_for_lock(seen, params->wait, err) == -1)
		return -1;
	return check_opened(seen, err);
}

static void
free_seen(struct seen *seen)
{
	/* Under the lock: the next run's attempt has the same name. */
	seen_attempts_over(seen);
	if (seen->fd != -1)
		close(seen->fd);
	trouble_free_all(seen);
	for (size_t i = 0; i < seen->n_targets; i++)
		free(seen->targets[i].name);
	free(seen->targets);
	free(seen->path);
	free(seen->user);
	free(seen->host);
	free(seen->owner);
	free(seen->messages);
	free(seen->slots);
	free(seen->where);
	free(seen->settled);
	free(seen->unsettled);
	buf_free(&seen->out);
	buf_free(&seen->pending);
	buf_free(&seen->unsettled_text);
	buf_free(&seen->attempt);
	buf_free(&seen->window);
	buf_free(&seen->scratch);
	free(seen);
}

struct seen *
seen_open(const struct seen_params *params, struct err *err)
{
	struct seen *seen = mem_zero(1, sizeof(*seen));

	seen->fd = -1;
	seen->attempt_fd = -1;
	seen->path = mem_dup(params->path);
	seen->now = params->now;
	seen->read_only = params->read_only;
	arc4random_buf(&seen->secret, sizeof(seen->secret));
	set_owner(seen, params);
	if (open_file(seen, params, err) == -1 ||
	    journal_load(seen, err) == -1) {
		free_seen(seen);
		return NULL;
	}
	return seen;
}

void
seen_close(struct seen *seen)
{
	if (seen == NULL)
		return;
	journal_compact(seen);
	free_seen(seen);
}

const char *
seen_path(const struct seen *seen)
{
	return seen->path;
}

bool
seen_is_new(const struct seen *seen)
{
	return seen->lines == seen->void_lines;
}

bool
seen_may_lack(const struct seen *seen)
{
	return seen->may_lack;
}

void
seen_tag(const struct seen *seen, const char *id, char tag[17])
{
	uint8_t sha256[DIGEST_SHA256_SIZE];
	struct buf all = {0};

	buf_append(&all, seen->user, strlen(seen->user) + 1);
	buf_append(&all, seen->host, strlen(seen->host) + 1);
	buf_puts(&all, id);
	digest_sha256(all.data, all.len, sha256);
	snprintf(tag, 17, "%016llx", (unsigned long long)digest_short(sha256));
	buf_free(&all);
}

uint32_t
seen_index(const struct seen *seen, const struct seen_message *message)
{
	return (uint32_t)(message - seen->messages);
}

struct seen_message *
seen_at(struct seen *seen, uint32_t index)
{
	return &seen->messages[index];
}

size_t
seen_count(const struct seen *seen)
{
	return seen->n_messages;
}

bool
seen_knows_sizes(const struct seen *seen)
{
	return seen->knows_sizes;
}

const struct seen_session *
seen_last_session(const struct seen *seen)
{
	return &seen->session;
}

time_t
seen_login_after(const struct seen *seen)
{
	if (seen->now < seen->delayed_at || seen->now >= seen->delayed_until)
		return 0;
	return seen->delayed_until;
}

time_t
seen_delivered_to(const struct seen *seen, const char *target)
{
	struct buf name = {0};
	time_t when = 0;

	journal_encode(&name, target, strlen(target), JOURNAL_FIELD_MAX);
	buf_string(&name);
	for (size_t i = 0; i < seen->n_targets; i++)
		if (strcmp(seen->targets[i].name, name.data + 1) == 0)
			when = seen->targets[i].time;
	buf_free(&name);
	return when;
}

size_t
seen_pending(const struct seen *seen, const char **where,
    const struct seen_pending **pending)
{
	*where = seen->n_unsettled > 0 ? seen->where : NULL;
	*pending = seen->unsettled;
	return seen->n_unsettled;
}

const char *
seen_settled(const struct seen *seen)
{
	return seen->settled;
}

int
seen_read_id(struct seen *seen, uint32_t index, struct buf *id, struct err *err)
{
	struct journal_field field;
	uint64_t header_hash;

	if (journal_identity(
		seen, &seen->messages[index], &field, &header_hash, err) == -1)
		return -1;
	buf_append(id, field.text, field.n);
	buf_string(id);
	return 0;
}

uint64_t
seen_header_hash(struct seen *seen, uint32_t index)
{
	struct journal_field id;
	uint64_t header_hash;
	struct err ignored;

	journal_identity(
	    seen, &seen->messages[index], &id, &header_hash, &ignored);
	return header_hash;
}
