/* SPDX-License-Identifier: ISC */
/*
 * Both locks are tried at once and given up together: who holds one while
 * waiting for the other may wait for somebody who does it the other way
 * round.  A stale dotlock is removed only under the fcntl lock, so that two
 * of us never remove each other's.
 */
#include "mail/mboxlock.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"
#include "base/wait.h"
#include "mail/owner.h"

#define POLL_INTERVAL 100 /* milliseconds */
#define CONTENT_MAX 512
#define BOOT_MAX 64

enum attempt {
	FAILED = -1,
	BUSY,
	GOT
};

/* What one attempt needs beside the lock. */
struct quest {
	struct mboxlock *lock;
	char *dotlock; /* its path */
	const char *heir;
	char host[OWNER_HOST_MAX];
	char boot[BOOT_MAX]; /* tells this run of the machine, "-": unknown */
	char holder[160];    /* who was in the way */
};

static ssize_t
read_small(const char *path, char *dst, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
	ssize_t n;

	if (fd == -1)
		return -1;
	n = read(fd, dst, size - 1);
	dst[n > 0 ? n : 0] = '\0';
	close(fd);
	return n;
}

static void
know_host(struct quest *quest)
{
	owner_host(quest->host);
	strlcpy(quest->boot, "-", sizeof(quest->boot));
#ifdef __linux__
	if (read_small("/proc/sys/kernel/random/boot_id", quest->boot,
		sizeof(quest->boot)) <= 0)
		strlcpy(quest->boot, "-", sizeof(quest->boot));
	quest->boot[strcspn(quest->boot, " \n")] = '\0';
#endif
}

/* -- the dotlock: "PID:HOST", and a line of ours behind -- */

/* Our line: token and boot. */
static void
split_line(char *line, char **token, char **boot)
{
	static const char mark[] = "poplar ";
	char *rest = line;

	*token = *boot = NULL;
	if (line == NULL || strncmp(line, mark, sizeof(mark) - 1) != 0)
		return;
	rest += sizeof(mark) - 1;
	*token = strsep(&rest, " \n");
	*boot = strsep(&rest, " \n");
}

static bool
is_stale(struct quest *quest, char *content)
{
	char *line = content, *host, *token, *boot;
	size_t digits;
	uint64_t pid;

	host = strsep(&line, "\n");
	split_line(line, &token, &boot);
	if (token != NULL && quest->heir != NULL &&
	    strcmp(token, quest->heir) == 0) {
		quest->lock->inherited = true;
		return true;
	}
	host += strspn(host, " ");
	digits = strspn(host, "0123456789");
	if (!text_to_number(host, digits, INT_MAX, &pid) || pid == 0)
		return false;
	host += digits;
	host += strspn(host, ": \t");
	host[strcspn(host, " \t\r")] = '\0';
	if (host[0] != '\0' && strcmp(host, quest->host) != 0)
		return false;
	if (boot != NULL && strcmp(boot, "-") != 0 &&
	    strcmp(quest->boot, "-") != 0 && strcmp(boot, quest->boot) != 0)
		return true;
	return owner_is_gone(pid);
}

static void
note_holder(struct quest *quest, const char *content)
{
	char who[64];

	text_escape(who, sizeof(who), content, strcspn(content, "\n"));
	snprintf(quest->holder, sizeof(quest->holder), "%s%s%s",
	    who[0] != '\0' ? ", held by " : "", who,
	    ": a lock file is beside it");
}

/* GOT if the dotlock in the way is gone now, or is ours to take over. */
static enum attempt
break_stale(struct quest *quest, struct err *err)
{
	char content[CONTENT_MAX], kept[CONTENT_MAX];

	note_holder(quest, "");
	if (read_small(quest->dotlock, content, sizeof(content)) == -1)
		return errno == ENOENT ? GOT : BUSY;
	strlcpy(kept, content, sizeof(kept));
	if (!is_stale(quest, content)) {
		note_holder(quest, kept);
		return BUSY;
	}
	if (quest->lock->inherited || unlink(quest->dotlock) == 0 ||
	    errno == ENOENT)
		return GOT;
	err_set_errno(err, err_class_of_errno(errno),
	    "cannot remove the stale lock file %s", quest->dotlock);
	return FAILED;
}

/* A file that has no name yet, or a name of its own for *temporary. */
static int
make_unlinked(const struct quest *quest, char **temporary)
{
	int fd = -1;

	*temporary = NULL;
#ifdef O_TMPFILE
	if (access("/proc/self/fd", X_OK) == 0) {
		char *dir = file_parent(quest->dotlock);

		fd = open(dir, O_TMPFILE | O_WRONLY | O_CLOEXEC, 0644);
		free(dir);
	}
	if (fd != -1)
		return fd;
#endif
	*temporary = mem_printf(
	    "%s.%ld.%s", quest->dotlock, (long)getpid(), quest->host);
	unlink(*temporary);
	fd = open(*temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd == -1) {
		free(*temporary);
		*temporary = NULL;
	}
	return fd;
}

/* The content must not come after the name on the disk: an empty dotlock
 * would tell nobody that it is stale. */
static int
fill_dotlock(const struct quest *quest, int fd)
{
	char *content = mem_printf("%ld:%s\npoplar %s %s\n", (long)getpid(),
	    quest->host, quest->lock->token, quest->boot);
	int status = file_write(fd, content, strlen(content));

	free(content);
	return status == 0 ? fdatasync(fd) : -1;
}

static int
link_dotlock(const struct quest *quest, int fd, const char *temporary)
{
	char self[64];

	if (temporary != NULL)
		return link(temporary, quest->dotlock);
	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	return linkat(
	    AT_FDCWD, self, AT_FDCWD, quest->dotlock, AT_SYMLINK_FOLLOW);
}

/* -1 with errno. */
static int
create_dotlock(struct quest *quest)
{
	struct mboxlock *lock = quest->lock;
	char *temporary;
	struct stat st;
	int fd = make_unlinked(quest, &temporary), status, error;

	if (fd == -1)
		return -1;
	status = fill_dotlock(quest, fd);
	if (status == 0)
		status = link_dotlock(quest, fd, temporary);
	/* Over NFS the answer may get lost, the link count does not. */
	if (fstat(fd, &st) == 0) {
		lock->device = st.st_dev;
		lock->inode = st.st_ino;
		if (status == -1 && temporary != NULL && st.st_nlink == 2)
			status = 0;
	}
	error = errno;
	if (temporary != NULL)
		unlink(temporary);
	close(fd);
	free(temporary);
	errno = error;
	return status;
}

/* Make the heir's dotlock ours.  It is not gone for a moment: should this run
 * die as well, the next one sees that nobody else has written since. */
static int
adopt_dotlock(struct quest *quest)
{
	struct mboxlock *lock = quest->lock;
	int fd = open(quest->dotlock, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
	char own[MBOXLOCK_TOKEN_MAX];
	struct stat st;
	int status;

	if (fd == -1)
		return -1;
	strlcpy(own, lock->token, sizeof(own));
	strlcpy(lock->token, quest->heir, sizeof(lock->token));
	status = fill_dotlock(quest, fd);
	if (status == 0)
		status = ftruncate(fd, lseek(fd, 0, SEEK_CUR));
	if (status == 0)
		status = fstat(fd, &st);
	if (status == 0) {
		lock->device = st.st_dev;
		lock->inode = st.st_ino;
	} else {
		strlcpy(lock->token, own, sizeof(lock->token));
	}
	close(fd);
	return status;
}

static int
obtain_dotlock(struct quest *quest)
{
	if (!quest->lock->inherited)
		return create_dotlock(quest);
	if (adopt_dotlock(quest) == 0)
		return 0;
	unlink(quest->dotlock);
	return create_dotlock(quest);
}

static enum attempt
try_dotlock(struct quest *quest, struct err *err)
{
	struct mboxlock *lock = quest->lock;
	enum attempt broken = GOT;

	lock->inherited = false;
	/* Look first: to make one for nothing costs a flush. */
	if (access(quest->dotlock, F_OK) == 0)
		broken = break_stale(quest, err);
	if (broken != GOT)
		return broken;
	if (obtain_dotlock(quest) == 0) {
		lock->dotlock = true;
		return GOT;
	}
	switch (errno) {
	case EEXIST:
		note_holder(quest, "");
		return BUSY;
	case EACCES:
	case EPERM:
	case EROFS:
	case ENAMETOOLONG:
		snprintf(lock->note, sizeof(lock->note),
		    "no lock file beside the mbox (%s): locked by fcntl alone",
		    strerror(errno));
		strlcpy(lock->token, "-", sizeof(lock->token));
		return GOT;
	default:
		err_set_errno(err, err_class_of_errno(errno),
		    "cannot make lock file %s", quest->dotlock);
		return FAILED;
	}
}

/* -- both -- */

static enum attempt
try_fcntl(struct quest *quest, struct err *err)
{
	struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	int error;

	if (fcntl(quest->lock->fd, F_SETLK, &whole) == 0)
		return GOT;
	error = errno;
	if (error != EACCES && error != EAGAIN && error != EINTR) {
		err_set_errno(err, ERR_IO, "cannot lock %s", quest->lock->path);
		return FAILED;
	}
	strlcpy(
	    quest->holder, ", held by another program", sizeof(quest->holder));
	if (fcntl(quest->lock->fd, F_GETLK, &whole) == 0 &&
	    whole.l_type != F_UNLCK && whole.l_pid > 0)
		snprintf(quest->holder, sizeof(quest->holder),
		    ", held by process %ld", (long)whole.l_pid);
	return BUSY;
}

static void
unlock_fcntl(struct mboxlock *lock)
{
	struct flock whole = {.l_type = F_UNLCK, .l_whence = SEEK_SET};

	fcntl(lock->fd, F_SETLK, &whole);
}

/* A mail reader may have put another file in its place meanwhile. */
static bool
is_replaced(const struct mboxlock *lock)
{
	struct stat by_fd, by_path;

	return fstat(lock->fd, &by_fd) == -1 ||
	    stat(lock->path, &by_path) == -1 ||
	    by_fd.st_dev != by_path.st_dev || by_fd.st_ino != by_path.st_ino;
}

static enum attempt
attempt(struct quest *quest, struct err *err)
{
	struct mboxlock *lock = quest->lock;
	enum attempt got;

	if (lock->fd == -1)
		lock->fd = file_open(lock->path, O_RDWR | O_APPEND, 0, err);
	if (lock->fd == -1)
		return FAILED;
	got = try_fcntl(quest, err);
	if (got == GOT && is_replaced(lock)) {
		close(lock->fd);
		lock->fd = -1;
		strlcpy(quest->holder, ", which is being replaced",
		    sizeof(quest->holder));
		return BUSY;
	}
	if (got == GOT) {
		got = try_dotlock(quest, err);
		if (got == BUSY)
			unlock_fcntl(lock);
	}
	return got;
}

static int
wait_a_moment(int64_t until, struct err *err)
{
	struct pollfd none = {.fd = -1};
	int64_t next = wait_clock() + POLL_INTERVAL;

	return wait_for(&none, 1, next < until ? next : until, err);
}

static int
take(struct quest *quest, int64_t patience, struct err *err)
{
	int64_t until = wait_clock() + patience;
	enum attempt got;

	while ((got = attempt(quest, err)) == BUSY) {
		if (wait_clock() >= until) {
			err_set(err, ERR_TEMPFAIL, "%s is locked%s",
			    quest->lock->path, quest->holder);
			return err_hint(err, "if no program uses it, remove %s",
			    quest->dotlock);
		}
		if (wait_a_moment(until, err) == -1)
			return -1;
	}
	return got == GOT ? 0 : -1;
}

/* With its name durable, a dotlock that stands after a crash of the machine
 * tells that nobody else has written since. */
static int
sync_dotlock(const struct mboxlock *lock, struct err *err)
{
	if (!lock->dotlock || file_sync_parent(lock->path, err) == 0 ||
	    err->class == ERR_CANTCREAT)
		return 0;
	return -1;
}

struct mboxlock *
mboxlock_take(
    const char *path, int64_t patience, const char *heir, struct err *err)
{
	struct mboxlock *lock = mem_zero(1, sizeof(*lock));
	struct quest quest = {.lock = lock, .heir = heir};
	struct timespec now;
	int status;

	lock->path = path;
	lock->fd = -1;
	clock_gettime(CLOCK_REALTIME, &now);
	snprintf(lock->token, sizeof(lock->token), "%lld.%09ld.%ld",
	    (long long)now.tv_sec, now.tv_nsec, (long)getpid());
	know_host(&quest);
	quest.dotlock = mem_printf("%s.lock", path);
	status = take(&quest, patience, err);
	if (status == 0)
		status = sync_dotlock(lock, err);
	free(quest.dotlock);
	if (status == 0)
		return lock;
	mboxlock_release(lock);
	return NULL;
}

void
mboxlock_drop_left(const char *path, const char *token)
{
	struct mboxlock lock = {.path = path, .fd = -1};
	struct quest quest = {.lock = &lock, .heir = token};
	char content[CONTENT_MAX];
	struct err ignored;

	quest.dotlock = mem_printf("%s.lock", path);
	if (access(quest.dotlock, F_OK) == 0)
		lock.fd = file_open(path, O_RDWR, 0, &ignored);
	if (lock.fd != -1 && try_fcntl(&quest, &ignored) == GOT &&
	    read_small(quest.dotlock, content, sizeof(content)) > 0 &&
	    is_stale(&quest, content) && lock.inherited)
		unlink(quest.dotlock);
	if (lock.fd != -1)
		close(lock.fd);
	free(quest.dotlock);
}

static void
remove_dotlock(const struct mboxlock *lock)
{
	char *dotlock = mem_printf("%s.lock", lock->path);
	struct stat st;

	/* Somebody may have thought it stale and made one of their own; but
	 * one of ours that stays is worse than a doubt. */
	if (lock->inode == 0 || lstat(dotlock, &st) == -1 ||
	    (st.st_dev == lock->device && st.st_ino == lock->inode))
		unlink(dotlock);
	free(dotlock);
}

void
mboxlock_release(struct mboxlock *lock)
{
	if (lock == NULL)
		return;
	if (lock->dotlock)
		remove_dotlock(lock);
	if (lock->fd != -1)
		close(lock->fd);
	free(lock);
}
