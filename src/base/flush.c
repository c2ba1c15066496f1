/* SPDX-License-Identifier: ISC */
#include "base/flush.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"

#define HELPERS_MAX 31
#define BURST 128 /* so many are begun together: one by one costs more */
#define FILES_PER_HELPER 4 /* fewer are not worth a thread */
#define STACK_SIZE ((size_t)64 << 10)

struct flush {
	pthread_mutex_t mutex;
	pthread_cond_t work;
	pthread_cond_t progress;
	/* since flush_wait last returned, the larger first: */
	size_t added;
	size_t released; /* helpers may take them */
	size_t taken;
	size_t finished;
	size_t awaited; /* who waits wants so many finished */
	int error;	/* errno of the first failure */
	size_t failed;	/* which it was */
	bool ending;
	size_t n_idle;
	size_t n_helpers;
	size_t max_helpers;
	pthread_t helpers[HELPERS_MAX];
	size_t room;
	int fds[]; /* a ring */
};

/* Returns 0, or errno. */
static int
make_durable(int fd, bool in_vain)
{
	int error = !in_vain && fdatasync(fd) == -1 ? errno : 0;

	if (close(fd) == -1 && error == 0 && !in_vain)
		error = errno;
	return error;
}

/* The mutex is locked before and after, not while the disk is at work. */
static void
take_next(struct flush *flush)
{
	size_t i = flush->taken++;
	int fd = flush->fds[i % flush->room];
	bool in_vain = flush->error != 0;
	int error;

	pthread_mutex_unlock(&flush->mutex);
	error = make_durable(fd, in_vain);
	pthread_mutex_lock(&flush->mutex);
	if (error != 0 && flush->error == 0) {
		flush->error = error;
		flush->failed = i;
	}
	if (++flush->finished == flush->awaited)
		pthread_cond_signal(&flush->progress);
}

static void *
help(void *context)
{
	struct flush *flush = context;

	pthread_mutex_lock(&flush->mutex);
	while (!flush->ending) {
		if (flush->taken < flush->released) {
			take_next(flush);
			continue;
		}
		flush->n_idle++;
		pthread_cond_wait(&flush->work, &flush->mutex);
		flush->n_idle--;
	}
	pthread_mutex_unlock(&flush->mutex);
	return NULL;
}

/* Signals are for the thread that waits for them. */
static void
start_helper(struct flush *flush)
{
	sigset_t all, before;
	pthread_attr_t attr;

	if (pthread_attr_init(&attr) != 0)
		return;
	pthread_attr_setstacksize(&attr, STACK_SIZE);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	if (pthread_create(
		&flush->helpers[flush->n_helpers], &attr, help, flush) == 0)
		flush->n_helpers++;
	else
		flush->max_helpers = flush->n_helpers;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
}

struct flush *
flush_new(size_t room, bool helpers)
{
	struct flush *flush =
	    mem_zero(1, sizeof(*flush) + room * sizeof(flush->fds[0]));

	pthread_mutex_init(&flush->mutex, NULL);
	pthread_cond_init(&flush->work, NULL);
	pthread_cond_init(&flush->progress, NULL);
	flush->room = room;
	flush->max_helpers = helpers ? HELPERS_MAX : 0;
	return flush;
}

/* All that were added may be taken. */
static void
release(struct flush *flush)
{
	size_t wanted = (flush->added - flush->taken) / FILES_PER_HELPER;

	flush->released = flush->added;
	while (
	    flush->n_helpers < wanted && flush->n_helpers < flush->max_helpers)
		start_helper(flush);
	if (flush->n_idle > 0)
		pthread_cond_broadcast(&flush->work);
}

/* Until so many are finished. */
static void
wait_for(struct flush *flush, size_t n)
{
	while (flush->finished < n) {
		if (flush->taken < flush->added) {
			take_next(flush);
			continue;
		}
		flush->awaited = n;
		pthread_cond_wait(&flush->progress, &flush->mutex);
		flush->awaited = SIZE_MAX;
	}
}

void
flush_add(struct flush *flush, int fd)
{
	pthread_mutex_lock(&flush->mutex);
	if (flush->added - flush->finished == flush->room) {
		release(flush);
		wait_for(flush, flush->finished + 1);
	}
	flush->fds[flush->added++ % flush->room] = fd;
	if (flush->added - flush->released >= BURST)
		release(flush);
	if (flush->max_helpers == 0)
		take_next(flush);
	pthread_mutex_unlock(&flush->mutex);
}

int
flush_wait(struct flush *flush, size_t *failed)
{
	int error;

	pthread_mutex_lock(&flush->mutex);
	release(flush);
	wait_for(flush, flush->added);
	flush->added = flush->released = flush->taken = flush->finished = 0;
	error = flush->error;
	*failed = flush->failed;
	flush->error = 0;
	pthread_mutex_unlock(&flush->mutex);
	errno = error;
	return error == 0 ? 0 : -1;
}

void
flush_free(struct flush *flush)
{
	size_t ignored;

	if (flush == NULL)
		return;
	flush_wait(flush, &ignored);
	pthread_mutex_lock(&flush->mutex);
	flush->ending = true;
	pthread_cond_broadcast(&flush->work);
	pthread_mutex_unlock(&flush->mutex);
	for (size_t i = 0; i < flush->n_helpers; i++)
		pthread_join(flush->helpers[i], NULL);
	pthread_cond_destroy(&flush->progress);
	pthread_cond_destroy(&flush->work);
	pthread_mutex_destroy(&flush->mutex);
	free(flush);
}
