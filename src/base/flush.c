/* SPDX-License-Identifier: ISC */
#include "base/flush.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

#define HELPERS_MAX 7
#define FILES_PER_HELPER 8 /* fewer are not worth a thread */
#define STACK_SIZE ((size_t)64 << 10)

struct flush {
	const int *fds;
	size_t n;
	atomic_size_t next;
	atomic_int error; /* errno of the first failure */
	size_t failed;	  /* who set error sets this, too */
};

/* Take one file after the other, as all the others do. */
static void *
work(void *context)
{
	struct flush *flush = context;
	size_t i;

	while (flush->error == 0 && (i = flush->next++) < flush->n) {
		int none = 0;

		if (fdatasync(flush->fds[i]) == -1 &&
		    atomic_compare_exchange_strong(&flush->error, &none, errno))
			flush->failed = i;
	}
	return NULL;
}

/* Signals are for the thread that waits for them. */
static size_t
start_helpers(
    struct flush *flush, pthread_t helpers[HELPERS_MAX], size_t wanted)
{
	size_t n = 0;
	sigset_t all, before;
	pthread_attr_t attr;

	if (wanted == 0 || pthread_attr_init(&attr) != 0)
		return 0;
	pthread_attr_setstacksize(&attr, STACK_SIZE);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	while (
	    n < wanted && pthread_create(&helpers[n], &attr, work, flush) == 0)
		n++;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	return n;
}

int
flush_files(const int *fds, size_t n, size_t *failed)
{
	struct flush flush = {.fds = fds, .n = n};
	size_t wanted = n / FILES_PER_HELPER, started;
	pthread_t helpers[HELPERS_MAX];

	started = start_helpers(
	    &flush, helpers, wanted < HELPERS_MAX ? wanted : HELPERS_MAX);
	work(&flush);
	while (started > 0)
		pthread_join(helpers[--started], NULL);
	*failed = flush.failed;
	errno = flush.error;
	return flush.error == 0 ? 0 : -1;
}
