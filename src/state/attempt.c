/* SPDX-License-Identifier: ISC */
/*
 * The message that is being tried.  It stands in a small file beside the
 * journal, which each attempt overwrites: a line in the journal for every
 * message would double it.  That file is not flushed; it need survive the
 * process only.  So a store into its mapping is enough: a call of the system
 * for each message is a tenth of the time that a small one takes.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "state/journal.h"

#define MAPPED 4096 /* bytes of the file; a longer line is written */

/* One for each owner: those that share a journal run one after another, and
 * each has its own to learn from the run before. */
static char *
attempt_path(const struct seen *seen)
{
	return mem_printf("%s.trying-%08lx", seen->path,
	    (unsigned long)(seen->mine & UINT32_MAX));
}

/* "trying USER HOST ID" and its checksum. */
static void
put_attempt(const struct seen *seen, struct buf *out, const char *id, size_t n)
{
	buf_puts(out, "trying");
	buf_puts(out, seen->owner + strlen("owner"));
	journal_put(out, id, n);
	journal_seal(out, 0, seen->mine);
}

static int
attempt_failed(const struct seen *seen, const char *verb, struct err *err)
{
	char *path = attempt_path(seen);

	err_set_errno(
	    err, err_class_of_errno(errno), "cannot %s %s", verb, path);
	free(path);
	return -1;
}

/* The one mapping that there is, for the signal's sake. */
static struct {
	char *volatile page;
	volatile sig_atomic_t lost;
} mapping;

/* A store can fail as a write can: the disk is broken, or somebody has emptied
 * the file.  Then another page takes the place of this one, and the write that
 * follows will tell. */
static void
on_bus_error(int signo, siginfo_t *info, void *context)
{
	const char *page = mapping.page, *at = info->si_addr;

	(void)context;
	if (page != NULL && at >= page && at < page + MAPPED &&
	    mmap(mapping.page, MAPPED, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED)
		mapping.lost = 1;
	else {
		signal(signo, SIG_DFL);
		raise(signo);
	}
}

/* Does read(2) see at once what is stored? */
static bool
system_can_map(void)
{
#ifdef __OpenBSD__
	return false;
#else
	return true;
#endif
}

static void
map_attempt(struct seen *seen)
{
	struct sigaction action = {
	    .sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO};
	char *page;

	if (!system_can_map() || mapping.page != NULL)
		return;
	page = mmap(NULL, MAPPED, PROT_READ | PROT_WRITE, MAP_SHARED,
	    seen->attempt_fd, 0);
	if (page == MAP_FAILED)
		return;
	seen->attempt_page = page;
	mapping.page = page;
	mapping.lost = 0;
	sigaction(SIGBUS, &action, NULL);
}

static void
unmap_attempt(struct seen *seen)
{
	if (seen->attempt_page == NULL)
		return;
	signal(SIGBUS, SIG_DFL);
	mapping.page = NULL;
	munmap(seen->attempt_page, MAPPED);
	seen->attempt_page = NULL;
}

/* A directory that is closed to us, around a file that is not, is no reason to
 * fetch nothing: only what kills this run would not be known to the next. */
static bool
is_forbidden(int error)
{
	return error == EACCES || error == EPERM || error == EROFS;
}

/* What is to be mapped must be there: a store finds no room. */
static int
fill_attempt(struct seen *seen, struct err *err)
{
	char blank[MAPPED];

	memset(blank, '\n', sizeof(blank));
	if (file_pwrite(seen->attempt_fd, blank, sizeof(blank), 0) == -1)
		return attempt_failed(seen, "write", err);
	map_attempt(seen);
	return 0;
}

/* Without a file (attempt_fd is -1) attempts are not recorded. */
static int
open_attempt(struct seen *seen, struct err *err)
{
	char *path;

	if (seen->attempt_fd != -1)
		return 0;
	path = attempt_path(seen);
	seen->attempt_fd = open(path,
	    O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC,
	    0600);
	free(path);
	if (seen->attempt_fd != -1)
		return fill_attempt(seen, err);
	return is_forbidden(errno) ? 0 : attempt_failed(seen, "open", err);
}

static bool
store_attempt(struct seen *seen)
{
	const struct buf *line = &seen->attempt;

	if (seen->attempt_page == NULL || line->len > MAPPED)
		return false;
	memcpy(seen->attempt_page, line->data, line->len);
	atomic_signal_fence(memory_order_seq_cst);
	if (mapping.lost)
		unmap_attempt(seen);
	return seen->attempt_page != NULL;
}

int
seen_attempt(struct seen *seen, const char *id, struct err *err)
{
	struct buf *line = &seen->attempt;
	size_t before = line->len;

	if (seen->read_only || id[0] == '\0')
		return 0;
	if (open_attempt(seen, err) == -1)
		return -1;
	if (seen->attempt_fd == -1)
		return 0;
	line->len = 0;
	put_attempt(seen, line, id, strlen(id));
	/* Nothing may be left of a longer one. */
	while (line->len < before)
		buf_append(line, "\n", 1);
	if (store_attempt(seen) ||
	    file_pwrite(seen->attempt_fd, line->data, line->len, 0) == 0)
		return 0;
	return attempt_failed(seen, "write", err);
}

static void
remove_attempt(const struct seen *seen)
{
	char *path = attempt_path(seen);

	unlink(path);
	free(path);
}

void
seen_attempts_over(struct seen *seen)
{
	if (seen->attempt_fd == -1)
		return;
	remove_attempt(seen);
	unmap_attempt(seen);
	close(seen->attempt_fd);
	seen->attempt_fd = -1;
	seen->attempt.len = 0;
}

/* What the last run left of its attempts, if it died in the middle of one;
 * false if it left nothing, not even an empty file. */
static bool
read_attempt(const struct seen *seen, struct buf *line)
{
	char *path = attempt_path(seen);
	struct err ignored;
	int fd = file_open(path, O_RDONLY | O_NOFOLLOW, 0, &ignored);
	ssize_t n;

	free(path);
	if (fd == -1)
		return false;
	n = read(fd, buf_room(line, JOURNAL_LINE_MAX), JOURNAL_LINE_MAX);
	line->len = n > 0 ? (size_t)n : 0;
	close(fd);
	return true;
}

/* The id in it, if the line is ours and whole. */
static bool
parse_attempt(
    const struct seen *seen, const struct buf *line, struct journal_field *id)
{
	struct journal_cursor fields = {line->data, line->data + line->len};
	struct buf whole = {0};
	bool same;

	for (int i = 0; i < 4; i++)
		*id = journal_take(&fields);
	if (id->n == 0 || id->n > JOURNAL_FIELD_MAX)
		return false;
	put_attempt(seen, &whole, id->text, id->n);
	same = whole.len <= line->len &&
	    memcmp(whole.data, line->data, whole.len) == 0;
	buf_free(&whole);
	return same;
}

static int
note_unended(
    struct seen *seen, const struct journal_field *field, struct err *err)
{
	char id[JOURNAL_FIELD_MAX + 1];

	memcpy(id, field->text, field->n);
	id[field->n] = '\0';
	if (table_find(seen, table_key(seen, id, field->n)) == NULL &&
	    seen_trouble(seen, id) == NULL)
		seen_failed(seen, id, false);
	return seen_flush(seen, false, err);
}

int
seen_settle_attempt(struct seen *seen, struct err *err)
{
	struct buf line = {0};
	struct journal_field id;
	int status = 0;

	if (!read_attempt(seen, &line))
		return 0;
	if (parse_attempt(seen, &line, &id))
		status = note_unended(seen, &id, err);
	if (status == 0 && !seen->read_only)
		remove_attempt(seen);
	buf_free(&line);
	return status;
}
