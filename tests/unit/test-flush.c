/* SPDX-License-Identifier: ISC */
#include "base/flush.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tap.h"

#define FILES 100

static int fds[FILES];

static void
open_files(void)
{
	char name[32];

	for (int i = 0; i < FILES; i++) {
		snprintf(name, sizeof(name), "flush.%d", getpid());
		fds[i] = open(name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
		unlink(name);
	}
}

static int
flush(size_t n, size_t *failed)
{
	return flush_end(flush_begin(fds, n, true), failed);
}

static void
test_all(void)
{
	size_t failed;

	tap_ok(flush(0, &failed) == 0, "none");
	tap_ok(flush(1, &failed) == 0, "one");
	tap_ok(flush(FILES, &failed) == 0, "many, by threads");
	tap_ok(flush_end(flush_begin(fds, FILES, false), &failed) == 0,
	    "many, one after the other");
}

static void
test_failure(void)
{
	size_t failed = FILES;
	int good = fds[70];

	fds[70] = -1;
	errno = 0;
	tap_ok(flush(FILES, &failed) == -1 && errno == EBADF && failed == 70,
	    "which one failed, and why");
	fds[70] = good;
}

/* Of the caller's threads, not of ours. */
static void
test_signals(void)
{
	sigset_t before, after;
	size_t failed;

	pthread_sigmask(SIG_SETMASK, NULL, &before);
	flush(FILES, &failed);
	pthread_sigmask(SIG_SETMASK, NULL, &after);
	tap_ok(sigismember(&before, SIGTERM) == sigismember(&after, SIGTERM),
	    "signals are blocked in the helpers only");
}

/* Threads are processes to this limit; for root there is none. */
static void
test_no_threads(void)
{
	const struct rlimit none = {0, 0};
	size_t failed;
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		if (getuid() == 0 && setuid(65534) == -1)
			_exit(0);
		setrlimit(RLIMIT_NPROC, &none);
		_exit(flush(FILES, &failed) == 0 ? 0 : 1);
	}
	tap_ok(waitpid(pid, &status, 0) == pid && status == 0,
	    "many, without threads");
}

int
main(void)
{
	open_files();
	test_all();
	test_failure();
	test_signals();
	test_no_threads();
	return tap_done();
}
