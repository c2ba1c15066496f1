/* SPDX-License-Identifier: ISC */
#include "mail/backend.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#ifdef __linux__
#include <linux/magic.h>
#include <sys/vfs.h>
#endif
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/flush.h"
#include "base/mem.h"
#include "mail/folders.h"
#include "mail/owner.h"

#define BATCH_MAX 512
#define FLUSH_MAX 256 /* of a batch, not durable yet: descriptors */
#define BATCH_OCTETS ((uint64_t)64 << 20)
#define BUFFER_SIZE ((size_t)64 << 10)
#define LOCKED_FROM ((uint64_t)64 << 10)
#define LARGE 2048 /* a piece that is not worth gathering */
#define WRITE_OUT_EVERY ((uint64_t)4 << 20)
#define NAME_ROOM 256

/* A message whole in tmp/. */
struct staged {
	char name[NAME_ROOM];
	size_t base; /* its name in tmp/ is so long */
};

struct maildir {
	struct deliver deliver;
	struct folders folders;
	char host[FOLDERS_HOST_MAX];
	pid_t pid;
	bool swept;
	bool root_synced;
	uint64_t count; /* messages begun */
	size_t n_staged;
	size_t n_published; /* the first so many have left tmp/ */
	struct staged *staged;
	struct flush *flush; /* holds the descriptors of these */
	bool in_memory;	     /* there is no disk to wait for */
	/* the message between begin and stage; fd is -1 when there is none */
	struct buf name; /* of which current has a copy */
	struct staged current;
	int fd;
	uint64_t written;
	uint64_t written_out; /* on its way to the disk already */
	size_t used;
	char *buffer;
};

/* -- delivery -- */

static bool
is_in_memory(int fd)
{
#ifdef __linux__
	struct statfs fs;

	return fstatfs(fd, &fs) == 0 &&
	    (fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC);
#else
	(void)fd;
	return false;
#endif
}

static struct deliver *
maildir_open(const struct deliver_params *params, struct err *err)
{
	struct maildir *maildir = mem_zero(1, sizeof(*maildir));

	if (folders_open(&maildir->folders, params, err) == -1) {
		free(maildir);
		return NULL;
	}
	maildir->deliver.backend = &maildir_backend;
	maildir->fd = -1;
	maildir->swept = params->look_only;
	maildir->in_memory = is_in_memory(maildir->folders.fds[FOLDER_NEW]);
	folders_host(maildir->host);
	maildir->pid = getpid();
	return &maildir->deliver;
}

static struct maildir *
of(struct deliver *deliver)
{
	return (struct maildir *)deliver;
}

/* "PATH/tmp/NAME" for a reason. */
static int
fail(const struct maildir *maildir, const struct staged *message,
    const char *what, struct err *err)
{
	int error = errno;
	enum err_class class = err_class_of_errno(error);

	errno = error;
	return err_set_errno(err, class, "cannot %s %s/tmp/%.*s", what,
	    maildir->folders.path, (int)message->base, message->name);
}

static char *
tmp_name(const struct staged *message, char dst[NAME_ROOM])
{
	memcpy(dst, message->name, message->base);
	dst[message->base] = '\0';
	return dst;
}

/* Remove a message from tmp/. */
static void
discard(struct maildir *maildir, const struct staged *message)
{
	char name[NAME_ROOM];

	unlinkat(maildir->folders.fds[FOLDER_TMP], tmp_name(message, name), 0);
}

static void
forget_batch(struct maildir *maildir)
{
	maildir->n_staged = 0;
	maildir->n_published = 0;
}

static void
drop_batch(struct maildir *maildir)
{
	if (maildir->n_staged > 0)
		flush_drop(maildir->flush);
	for (size_t i = maildir->n_published; i < maildir->n_staged; i++)
		discard(maildir, &maildir->staged[i]);
	forget_batch(maildir);
}

static void
maildir_abort(struct deliver *deliver)
{
	struct maildir *maildir = of(deliver);

	if (maildir->fd == -1)
		return;
	close(maildir->fd);
	maildir->fd = -1;
	discard(maildir, &maildir->current);
}

/* Its process may live in another container, where pids are others. */
static bool
is_in_use(const struct maildir *maildir, const char *string)
{
	int fd = openat(maildir->folders.fds[FOLDER_TMP], string,
	    O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	bool in_use = fd != -1 && flock(fd, LOCK_SH | LOCK_NB) == -1 &&
	    errno == EWOULDBLOCK;

	if (fd != -1)
		close(fd);
	return in_use;
}

/* A leftover of ours: its process is gone. */
static void
sweep(void *context, const char *string, const struct folders_name *name)
{
	const struct maildir *maildir = context;

	if (name->has_sizes || name->host_len != strlen(maildir->host) ||
	    memcmp(name->host, maildir->host, name->host_len) != 0 ||
	    string[name->base] != '\0' || !owner_is_gone(name->pid) ||
	    is_in_use(maildir, string))
		return;
	unlinkat(maildir->folders.fds[FOLDER_TMP], string, 0);
}

static void
sweep_once(struct maildir *maildir)
{
	struct err ignored;

	if (!maildir->swept)
		folders_visit(
		    &maildir->folders, FOLDER_TMP, sweep, maildir, &ignored);
	maildir->swept = true;
}

static void
maildir_close(struct deliver *deliver)
{
	struct maildir *maildir = of(deliver);

	maildir_abort(deliver);
	drop_batch(maildir);
	flush_free(maildir->flush);
	/* There may have been no mail; what a crash left goes all the same. */
	sweep_once(maildir);
	folders_close(&maildir->folders);
	free(maildir->staged);
	free(maildir->buffer);
	buf_free(&maildir->name);
	free(maildir);
}

/* A quarter of all descriptors. */
static size_t
flush_room(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 &&
	    limit.rlim_cur / 4 < FLUSH_MAX)
		return (size_t)limit.rlim_cur / 4 + 1;
	return FLUSH_MAX;
}

/* What it needs only when there is mail. */
static void
prepare(struct maildir *maildir)
{
	if (maildir->staged != NULL)
		return;
	sweep_once(maildir);
	maildir->staged = mem_zero(BATCH_MAX, sizeof(*maildir->staged));
	maildir->buffer = mem_alloc(BUFFER_SIZE);
	maildir->flush = flush_new(flush_room(), !maildir->in_memory);
}

static void
put_field(struct buf *name, const char *key, uint64_t number)
{
	buf_puts(name, key);
	buf_put_number(name, number);
}

/* All six digits: names sort by time. */
static void
put_microseconds(struct buf *name, long microseconds)
{
	char digits[6];

	for (size_t i = sizeof(digits); i-- > 0; microseconds /= 10)
		digits[i] = (char)('0' + microseconds % 10);
	buf_append(name, digits, sizeof(digits));
}

/* What all of them begin with, "SECONDS.MMICROSECONDSPPIDQCOUNTUTAG.HOST". */
static void
name_message(struct maildir *maildir, const char *tag)
{
	struct staged *current = &maildir->current;
	struct buf *name = &maildir->name;
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	name->len = 0;
	put_field(name, "", (uint64_t)now.tv_sec);
	buf_puts(name, ".M");
	put_microseconds(name, now.tv_nsec / 1000);
	put_field(name, "P", (uint64_t)maildir->pid);
	put_field(name, "Q", ++maildir->count);
	buf_puts(name, "U");
	buf_puts(name, tag);
	buf_puts(name, ".");
	buf_puts(name, maildir->host);
	current->base = strlcpy(current->name, buf_string(name), NAME_ROOM);
}

static int
maildir_begin(struct deliver *deliver, const struct deliver_message *message,
    struct err *err)
{
	struct maildir *maildir = of(deliver);
	struct staged *current = &maildir->current;

	if (maildir->n_staged == BATCH_MAX)
		return err_set(err, ERR_SOFTWARE, "the batch is full");
	maildir_abort(deliver);
	prepare(maildir);
	do {
		name_message(maildir, message->tag);
		maildir->fd =
		    openat(maildir->folders.fds[FOLDER_TMP], current->name,
			O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	} while (maildir->fd == -1 && errno == EEXIST);
	if (maildir->fd == -1)
		return fail(maildir, current, "create", err);
	maildir->written = 0;
	maildir->written_out = 0;
	maildir->used = 0;
	return DELIVER_OK;
}

/* For those who cannot see this process and would take the message away, in
 * each run, if it takes longer than from one to the next.  A small one that
 * meets that is fetched again. */
static void
lock_large(const struct maildir *maildir, size_t n)
{
	if (maildir->written < LOCKED_FROM &&
	    maildir->written + n >= LOCKED_FROM)
		flock(maildir->fd, LOCK_EX | LOCK_NB);
}

static int
put(struct maildir *maildir, const char *data, size_t n, struct err *err)
{
	lock_large(maildir, n);
	if (file_write(maildir->fd, data, n) == -1)
		return fail(maildir, &maildir->current, "write", err);
	maildir->written += n;
	if (maildir->written - maildir->written_out >= WRITE_OUT_EVERY) {
		file_start_write_out(maildir->fd, maildir->written_out, 0);
		maildir->written_out = maildir->written;
	}
	return DELIVER_OK;
}

static int
empty_buffer(struct maildir *maildir, struct err *err)
{
	size_t n = maildir->used;

	maildir->used = 0;
	return n > 0 ? put(maildir, maildir->buffer, n, err) : DELIVER_OK;
}

static int
maildir_write(
    struct deliver *deliver, const char *data, size_t n, struct err *err)
{
	struct maildir *maildir = of(deliver);

	if ((n >= LARGE || n > BUFFER_SIZE - maildir->used) &&
	    empty_buffer(maildir, err) == -1)
		return DELIVER_FAILED;
	if (n >= LARGE)
		return put(maildir, data, n, err);
	memcpy(maildir->buffer + maildir->used, data, n);
	maildir->used += n;
	return DELIVER_OK;
}

static int
maildir_stage(struct deliver *deliver, const struct deliver_facts *facts,
    char place[DELIVER_PLACE_MAX], struct err *err)
{
	struct maildir *maildir = of(deliver);
	struct staged *current = &maildir->current;

	if (empty_buffer(maildir, err) == -1)
		return DELIVER_FAILED;
	put_field(&maildir->name, ",S=", maildir->written);
	put_field(&maildir->name, ",W=", facts->wire_octets);
	strlcpy(current->name, buf_string(&maildir->name), NAME_ROOM);
	strlcpy(place, current->name, DELIVER_PLACE_MAX);
	maildir->staged[maildir->n_staged++] = *current;
	flush_add(maildir->flush, maildir->fd);
	maildir->fd = -1;
	return DELIVER_OK;
}

static int
sync_all(struct maildir *maildir, struct err *err)
{
	size_t failed;

	if (flush_wait(maildir->flush, &failed) == -1)
		return fail(maildir, &maildir->staged[failed], "flush", err);
	if (maildir->root_synced)
		return 0;
	/* A run that died may have made new/ again and not flushed it. */
	maildir->root_synced = true;
	return folders_sync(&maildir->folders, maildir->folders.root, "", err);
}

static int
maildir_sync(
    struct deliver *deliver, char where[DELIVER_WHERE_MAX], struct err *err)
{
	struct maildir *maildir = of(deliver);

	if (sync_all(maildir, err) == -1) {
		drop_batch(maildir);
		return -1;
	}
	snprintf(where, DELIVER_WHERE_MAX, "maildir %s", maildir->folders.path);
	return 0;
}

static int
maildir_publish(struct deliver *deliver, struct err *err)
{
	struct maildir *maildir = of(deliver);
	const struct folders *folders = &maildir->folders;
	char name[NAME_ROOM];

	for (size_t i = maildir->n_published; i < maildir->n_staged; i++) {
		const struct staged *message = &maildir->staged[i];

		if (renameat(folders->fds[FOLDER_TMP], tmp_name(message, name),
			folders->fds[FOLDER_NEW], message->name) == -1)
			return fail(maildir, message, "move to new/", err);
		maildir->n_published++;
	}
	forget_batch(maildir);
	return folders_sync(folders, folders->fds[FOLDER_NEW], "new", err);
}

/* -- recovery -- */

/* One recorded message. */
struct missing {
	struct deliver_recovery *item;
	struct folders_name name;
};

struct search {
	struct missing *missing;
	size_t n;
};

/* Is this the message, whatever a mail reader has put behind its name? */
static void
search_visit(void *context, const char *string, const struct folders_name *name)
{
	const struct search *search = context;

	for (size_t i = 0; i < search->n; i++) {
		const struct missing *missing = &search->missing[i];

		if (!missing->item->delivered &&
		    missing->name.base == name->base &&
		    memcmp(missing->item->place, string, name->base) == 0)
			missing->item->delivered = true;
	}
}

/* 1 if it was in tmp/ and is in new/ now, 0 if it was not there. */
static int
move_to_new(const struct folders *folders, const char *place,
    const struct folders_name *name, struct err *err)
{
	char base[NAME_ROOM];
	struct stat st;

	snprintf(base, sizeof(base), "%.*s", (int)name->base, place);
	if (fstatat(folders->fds[FOLDER_TMP], base, &st, AT_SYMLINK_NOFOLLOW) ==
	    -1) {
		if (errno == ENOENT)
			return 0;
		return err_set_errno(
		    err, ERR_IO, "cannot look at %s/tmp", folders->path);
	}
	if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size != name->size) {
		unlinkat(folders->fds[FOLDER_TMP], base, 0);
		return 0;
	}
	if (renameat(folders->fds[FOLDER_TMP], base, folders->fds[FOLDER_NEW],
		place) == 0)
		return 1;
	/* Another account's sweep may have been quicker. */
	if (errno == ENOENT)
		return 0;
	return err_set_errno(err, err_class_of_errno(errno),
	    "cannot move %s/tmp/%s to new/", folders->path, base);
}

static int
recover_items(const struct folders *folders, struct deliver_recovery *items,
    size_t n, struct err *err)
{
	struct missing *missing = mem_zero(n + 1, sizeof(*missing));
	struct search search = {.missing = missing};
	int status = 0;

	for (size_t i = 0; status == 0 && i < n; i++) {
		struct missing *next = &missing[search.n];
		int moved;

		if (!folders_parse_name(items[i].place, &next->name) ||
		    !next->name.has_sizes ||
		    strchr(items[i].place, '/') != NULL ||
		    strlen(items[i].place) >= NAME_ROOM)
			continue;
		moved = move_to_new(folders, items[i].place, &next->name, err);
		status = moved == -1 ? -1 : 0;
		items[i].delivered = moved == 1;
		next->item = &items[i];
		search.n += moved == 0;
	}
	for (int f = FOLDER_NEW; status == 0 && search.n > 0 && f < N_FOLDERS;
	     f++)
		status = folders_visit(folders, f, search_visit, &search, err);
	free(missing);
	return status;
}

static int
maildir_recover(const char *where, struct deliver_recovery *items, size_t n,
    struct deliver_lock **lock, struct err *err)
{
	const struct deliver_params params = {
	    .target = where, .delivered = FOLDERS_SOME_DAY};
	struct folders folders;
	int status;

	(void)lock;
	for (size_t i = 0; i < n; i++)
		items[i].delivered = false;
	if (folders_open(&folders, &params, err) == -1)
		return -1;
	status = recover_items(&folders, items, n, err);
	for (int f = FOLDER_NEW; status == 0 && f < N_FOLDERS; f++)
		status = folders_sync(
		    &folders, folders.fds[f], folders_names[f], err);
	folders_close(&folders);
	return status;
}

/* -- the names of a lost state -- */

struct scan {
	deliver_found *found;
	void *context;
	const char *path;
	const char *folder;
};

static void
scan_visit(void *context, const char *string, const struct folders_name *name)
{
	const struct scan *scan = context;
	char tag[FOLDERS_TAG_LEN + 1], *path;

	if (!name->has_sizes)
		return;
	snprintf(tag, sizeof(tag), "%.*s", FOLDERS_TAG_LEN, name->tag);
	path = mem_printf("%s/%s/%s", scan->path, scan->folder, string);
	scan->found(scan->context, tag, name->wire, path);
	free(path);
}

static int
scan_folder(const struct folders *folders, int folder, struct scan *scan,
    struct err *err)
{
	struct stat st;

	if (fstatat(folders->root, folders_names[folder], &st, 0) == -1 &&
	    errno == ENOENT)
		return 0;
	scan->folder = folders_names[folder];
	return folders_visit(folders, folder, scan_visit, scan, err);
}

static int
maildir_scan(const struct deliver_params *params, deliver_found *found,
    void *context, struct err *err)
{
	struct folders folders = {.fds = {-1, -1, -1}};
	struct scan scan = {.found = found, .context = context};
	int status = 0;

	folders.path = realpath(params->target, NULL);
	if (folders.path == NULL && errno == ENOENT)
		return 0;
	folders.root = folders.path == NULL
	    ? -1
	    : open(folders.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (folders.root == -1) {
		err_set_errno(err, err_class_of_errno(errno),
		    "cannot open Maildir %s", params->target);
		free(folders.path);
		return -1;
	}
	scan.path = folders.path;
	for (int f = FOLDER_NEW; status == 0 && f < N_FOLDERS; f++)
		status = scan_folder(&folders, f, &scan, err);
	folders_close(&folders);
	return status;
}

const struct deliver_backend maildir_backend = {
    .word = "maildir",
    .batch_max = BATCH_MAX,
    .batch_octets = BATCH_OCTETS,
    .open = maildir_open,
    .begin = maildir_begin,
    .write = maildir_write,
    .stage = maildir_stage,
    .abort = maildir_abort,
    .sync = maildir_sync,
    .publish = maildir_publish,
    .close = maildir_close,
    .recover = maildir_recover,
    .scan = maildir_scan,
};
