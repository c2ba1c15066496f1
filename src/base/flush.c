/* SPDX-License-Identifier: ISC */
#include "base/flush.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"

#define HELPERS_MAX 7
#define FILES_PER_HELPER 8 /* fewer are not worth a thread */
#define STACK_SIZE ((size_t)64 << 10)

struct flush {
	atomic_size_t next;
	atomic_int error; /* errno of the first failure */
	size_t failed;	  /* who set error sets this, too */
	size_t n_helpers;
	pthread_t helpers[HELPERS_MAX];
	size_t n;
	int fds[];
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
static void
start_helpers(struct flush *flush, size_t wanted)
{
	sigset_t all, before;
	pthread_attr_t attr;

	if (wanted == 0 || pthread_attr_init(&attr) != 0)
		return;
	pthread_attr_setstacksize(&attr, STACK_SIZE);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	while (flush->n_helpers < wanted &&
	    pthread_create(
		&flush->helpers[flush->n_helpers], &attr, work, flush) == 0)
		flush->n_helpers++;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
}

struct flush *
flush_begin(const int *fds, size_t n, bool helpers)
{
	struct flush *flush =
	    mem_zero(1, sizeof(*flush) + n * sizeof(flush->fds[0]));
	size_t wanted = helpers ? n / FILES_PER_HELPER : 0;

	flush->n = n;
	memcpy(flush->fds, fds, n * sizeof(flush->fds[0]));
	start_helpers(flush, wanted < HELPERS_MAX ? wanted : HELPERS_MAX);
	return flush;
}

int
flush_end(struct flush *flush, size_t *failed)
{
	int error;

	work(flush);
	for (size_t i = 0; i < flush->n_helpers; i++)
		pthread_join(flush->helpers[i], NULL);
	*failed = flush->failed;
	error = flush->error;
	free(flush);
	errno = error;
	return error == 0 ? 0 : -1;
}
