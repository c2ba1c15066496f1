/* SPDX-License-Identifier: ISC */
#include "run/super.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/wait.h"
#include "tap.h"

#define ACCOUNTS 5

/* What parent and workers share. */
struct shared {
	atomic_size_t runs;
};

static struct shared *noted;

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

int
main(void)
{
	noted = mmap(NULL, sizeof(*noted), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (noted == MAP_FAILED)
		return 99;
	wait_open();
	test_limits();
	return tap_done();
}
