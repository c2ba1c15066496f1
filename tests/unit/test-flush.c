/* SPDX-License-Identifier: ISC */
#include "base/flush.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tap.h"

#define FILES 300
#define ROOM 200

static int fds[FILES];
static atomic_size_t n_flushed;

/* In place of the system's. */
int
fdatasync(int fd)
{
	n_flushed++;
	return fcntl(fd, F_GETFD) == -1 ? -1 : 0;
}

static void
open_files(size_t n)
{
	char name[32];

	for (size_t i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "flush.%d", getpid());
		fds[i] = open(name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
		unlink(name);
	}
}

static bool
are_closed(size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (fcntl(fds[i], F_GETFD) != -1 || errno != EBADF)
			return false;
	return true;
}

static void
add(struct flush *flush, size_t n)
{
	for (size_t i = 0; i < n; i++)
		flush_add(flush, fds[i]);
}

static bool
flush_files(struct flush *flush, size_t n)
{
	size_t failed;

	open_files(n);
	add(flush, n);
	return flush_wait(flush, &failed) == 0 && are_closed(n);
}

/* Where the system does not say, as many as there should be. */
static size_t
count_threads(void)
{
	DIR *tasks = opendir("/proc/self/task");
	const struct dirent *entry;
	size_t n = 0;

	if (tasks == NULL)
		return FILES;
	while ((entry = readdir(tasks)) != NULL)
		n += entry->d_name[0] != '.';
	closedir(tasks);
	return n;
}

/* Of those that a user may have, threads that wait would take too many. */
static void
test_idle(void)
{
	struct flush *flush = flush_new(ROOM, true);
	time_t end = time(NULL) + 20;

	flush_files(flush, FILES);
	while (
	    count_threads() > 1 && count_threads() != FILES && time(NULL) < end)
		sched_yield();
	tap_ok(time(NULL) < end, "helpers without work end");
	tap_ok(flush_files(flush, FILES), "and others take their places");
	flush_free(flush);
}

static void
test_all(void)
{
	struct flush *flush = flush_new(ROOM, true);

	tap_ok(flush_files(flush, 0), "none");
	tap_ok(flush_files(flush, 1), "one");
	tap_ok(count_threads() == 1 || count_threads() == FILES,
	    "few need no threads");
	tap_ok(flush_files(flush, FILES), "many, by threads");
	tap_ok(count_threads() > 8, "that are there");
	tap_ok(flush_files(flush, FILES), "once more, by the same threads");
	flush_free(flush);
	flush = flush_new(ROOM, false);
	tap_ok(flush_files(flush, FILES), "many, one after the other");
	flush_free(flush);
	flush = flush_new(3, true);
	tap_ok(flush_files(flush, FILES), "more than there is room for");
	flush_free(flush);
	flush_free(NULL);
}

static void
test_free(void)
{
	struct flush *flush = flush_new(ROOM, true);

	open_files(FILES);
	add(flush, FILES);
	flush_free(flush);
	tap_ok(are_closed(FILES), "nothing stays open at the end");
}

/* Fewer than a burst: nobody has begun with them. */
static void
test_drop(void)
{
	struct flush *flush = flush_new(ROOM, true);

	open_files(100);
	add(flush, 100);
	n_flushed = 0;
	flush_drop(flush);
	tap_ok(n_flushed == 0, "what is dropped is not flushed");
	tap_ok(are_closed(100), "but closed");
	tap_ok(flush_files(flush, FILES), "and then all is as before");
	tap_ok(n_flushed == FILES, "each is flushed once");
	open_files(100);
	add(flush, 100);
	n_flushed = 0;
	flush_free(flush);
	tap_ok(n_flushed == 0 && are_closed(100), "nor at the end");
}

static void
test_failure(bool helpers)
{
	struct flush *flush = flush_new(ROOM, helpers);
	size_t failed = FILES;
	int good, status;

	open_files(FILES);
	good = fds[270];
	fds[270] = -1;
	add(flush, FILES);
	errno = 0;
	status = flush_wait(flush, &failed);
	tap_ok(status == -1 && errno == EBADF && failed == 270,
	    "which one failed, and why");
	tap_ok(are_closed(FILES), "and all are closed");
	close(good);
	tap_ok(flush_files(flush, FILES), "then they go on");
	flush_free(flush);
}

/* Of the caller's threads, not of ours. */
static void
test_signals(void)
{
	struct flush *flush = flush_new(ROOM, true);
	sigset_t before, after;

	pthread_sigmask(SIG_SETMASK, NULL, &before);
	flush_files(flush, FILES);
	pthread_sigmask(SIG_SETMASK, NULL, &after);
	tap_ok(sigismember(&before, SIGTERM) == sigismember(&after, SIGTERM),
	    "signals are blocked in the helpers only");
	flush_free(flush);
}

static bool
flush_without_threads(void)
{
	const struct rlimit none = {0, 0};
	struct flush *flush = flush_new(ROOM, true);
	size_t failed;

	open_files(FILES);
	if (getuid() == 0 && setuid(65534) == -1)
		return true;
	setrlimit(RLIMIT_NPROC, &none);
	add(flush, FILES);
	if (flush_wait(flush, &failed) == -1)
		return false;
	flush_free(flush);
	return are_closed(FILES);
}

/* Threads are processes to this limit; for root there is none. */
static void
test_no_threads(void)
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(flush_without_threads() ? 0 : 1);
	tap_ok(waitpid(pid, &status, 0) == pid && status == 0,
	    "many, without threads");
}

int
main(void)
{
	test_all();
	test_idle();
	test_free();
	test_drop();
	test_failure(true);
	test_failure(false);
	test_signals();
	test_no_threads();
	return tap_done();
}
