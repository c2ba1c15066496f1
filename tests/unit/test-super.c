/* SPDX-License-Identifier: ISC */
#include "run/super.h"

#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/wait.h"
#include "tap.h"

#define ACCOUNTS 5
#define KILLS_MANY 1000

/* What parent and workers share. */
struct shared {
	atomic_size_t stops;
	atomic_size_t kills;
	atomic_size_t runs;
};

static struct shared *noted;

static bool stubborn;	   /* the workers are so */
static time_t clock_leaps; /* seconds for each look at it, once they stop */
static time_t clock_ahead;

/* In place of the system's: nobody ends by it. */
int
kill(pid_t pid, int signo)
{
	(void)pid;
	if (signo == SIGKILL)
		noted->kills++;
	else
		noted->stops++;
	clock_leaps = 10;
	return 0;
}

int
clock_gettime(clockid_t id, struct timespec *now)
{
	struct timeval real;

	(void)id;
	gettimeofday(&real, NULL);
	clock_ahead += clock_leaps;
	now->tv_sec = real.tv_sec + clock_ahead;
	now->tv_nsec = 0;
	return 0;
}

/* The kernel ends a process that waits for a disk when the disk has answered:
 * here soon, or when it has been killed far too often. */
static void
wait_for_disk(void)
{
	const struct timeval answer = {.tv_usec = 100000};
	struct timeval now, end;

	while (noted->kills == 0)
		sched_yield();
	gettimeofday(&now, NULL);
	timeradd(&now, &answer, &end);
	do
		gettimeofday(&now, NULL);
	while (noted->kills < KILLS_MANY && timercmp(&now, &end, <));
}

/* In place of run/fetch.c's. */
enum err_class
fetch_account(const struct account *account,
    const struct fetch_options *options, int parent,
    struct event_counts *counts)
{
	(void)account;
	(void)options;
	(void)parent;
	(void)counts;
	noted->runs++;
	if (stubborn)
		wait_for_disk();
	return ERR_NONE;
}

static size_t n_errors;

static void
show(
    void *context, size_t index, const char *account, const struct event *event)
{
	(void)context;
	(void)index;
	(void)account;
	n_errors += event->type == EVENT_ERROR;
}

static int
run(size_t n)
{
	static char name[] = "account";
	static char files[ACCOUNTS][2] = {"a", "b", "c", "d", "e"};
	struct account accounts[ACCOUNTS] = {{.name = NULL}}, *all[ACCOUNTS];
	struct conf conf = {.accounts = all, .n = n};
	const struct fetch_options options = {.verb = FETCH_ALL};
	const struct super_screen screen = {.show = show};
	const struct super_params params = {
	    .conf = &conf, .options = &options, .jobs = n, .screen = &screen};

	for (size_t i = 0; i < n; i++) {
		all[i] = &accounts[i];
		accounts[i] = (struct account){.name = name,
		    .user = name,
		    .server = name,
		    .uidls_file = files[i],
		    .delivery.target = files[i]};
	}
	return super_run(&params);
}

/* Of what a worker needs in the parent there is enough for two. */
static bool
run_with_few_descriptors(void)
{
	int next = dup(STDERR_FILENO);
	const struct rlimit few = {(rlim_t)next + 3, (rlim_t)next + 3};

	close(next);
	setrlimit(RLIMIT_NOFILE, &few);
	return run(ACCOUNTS) == 0 && n_errors == 0 && noted->runs == ACCOUNTS;
}

/* What a command inherits may be a limit that it takes for a number of
 * descriptors to close. */
static bool
run_with_low_limit(void)
{
	struct rlimit limit;

	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = 6;
	setrlimit(RLIMIT_NOFILE, &limit);
	return run(ACCOUNTS) == 0 && noted->runs == ACCOUNTS &&
	    getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur > 6 &&
	    limit.rlim_cur < 100;
}

/* In a process of its own. */
static bool
is_good_there(bool (*check)(void))
{
	int status;
	pid_t pid;

	noted->runs = 0;
	pid = fork();
	if (pid == 0)
		_exit(check() ? 0 : 1);
	return waitpid(pid, &status, 0) == pid && status == 0;
}

static void
test_limits(void)
{
	tap_ok(is_good_there(run_with_few_descriptors),
	    "fewer at a time, where the system allows no more");
	tap_ok(is_good_there(run_with_low_limit),
	    "no higher limit than is needed");
}

static void
test_stubborn(void)
{
	stubborn = true;
	raise(SIGTERM);
	tap_ok(run(1) == 0 && noted->stops == 1, "one that does not stop");
	tap_ok(noted->kills > 0 && noted->kills < KILLS_MANY,
	    "is killed, and waited for");
}

int
main(void)
{
	noted = mmap(NULL, sizeof(*noted), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (noted == MAP_FAILED)
		return 99;
	wait_open();
	test_limits();
	test_stubborn();
	return tap_done();
}
