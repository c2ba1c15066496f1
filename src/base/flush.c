/* SPDX-License-Identifier: ISC */
#include "base/flush.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"

#define HELPERS_MAX 15
#define BURST 128 /* so many are begun together: one by one costs more */
#define FILES_PER_HELPER 4 /* fewer are not worth a thread */
#define IDLE_TIME 1 /* second; a thread counts against the user's limit */
#define STACK_SIZE ((size_t)64 << 10)

struct flush {
	pthread_mutex_t mutex;
	pthread_cond_t work;	 /* for helpers */
	pthread_cond_t progress; /* for the caller */
	/* Since flush_wait last returned; finished <= taken <= begun <=
	 * released <= added <= finished + room. */
	size_t added;
	size_t released; /* helpers may work on them */
	size_t begun;	 /* their data is on its way */
	size_t taken;
	size_t finished;
	size_t awaited; /* the caller waits for so many finished */
	int error;	/* errno of the first failure */
	size_t failed;	/* which it was */
	bool beginning; /* somebody begins those released */
	bool ending;
	size_t n_idle;
	size_t n_helpers;
	size_t max_helpers;
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
	if (++flush->finished >= flush->awaited)
		pthread_cond_signal(&flush->progress);
}

/* A file system with a journal makes all durable in one commit, if that is
 * asked for when the data of all are on their way. */
static void
begin_released(struct flush *flush)
{
	size_t first = flush->begun, end = flush->released;
	bool in_vain = flush->error != 0;

	flush->beginning = true;
	pthread_mutex_unlock(&flush->mutex);
	for (size_t i = first; i < end && !in_vain; i++)
		file_start_write_out(flush->fds[i % flush->room], 0, 0);
	pthread_mutex_lock(&flush->mutex);
	flush->beginning = false;
	flush->begun = end;
	pthread_cond_broadcast(&flush->work);
}

/* False if there is nothing to be done now. */
static bool
do_some_work(struct flush *flush)
{
	if (flush->taken < flush->begun)
		take_next(flush);
	else if (flush->begun < flush->released && !flush->beginning)
		begin_released(flush);
	else
		return false;
	return true;
}

/* False if none came for long enough. */
static bool
wait_for_work(struct flush *flush)
{
	struct timespec end;
	int error;

	clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_sec += IDLE_TIME;
	flush->n_idle++;
	error = pthread_cond_timedwait(&flush->work, &flush->mutex, &end);
	flush->n_idle--;
	return error != ETIMEDOUT;
}

static void *
help(void *context)
{
	struct flush *flush = context;

	pthread_mutex_lock(&flush->mutex);
	while (!flush->ending && (do_some_work(flush) || wait_for_work(flush)))
		;
	if (--flush->n_helpers == 0)
		pthread_cond_signal(&flush->progress);
	pthread_mutex_unlock(&flush->mutex);
	return NULL;
}

/* Signals are for the thread that waits for them. */
static void
start_helper(struct flush *flush)
{
	sigset_t all, before;
	pthread_attr_t attr;
	pthread_t helper;

	if (pthread_attr_init(&attr) != 0)
		return;
	/* Where that is too little, there is a default. */
	pthread_attr_setstacksize(&attr, STACK_SIZE);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	if (pthread_create(&helper, &attr, help, flush) == 0)
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
	pthread_condattr_t attr;

	pthread_mutex_init(&flush->mutex, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&flush->work, &attr);
	pthread_condattr_destroy(&attr);
	pthread_cond_init(&flush->progress, NULL);
	flush->room = room;
	flush->awaited = SIZE_MAX;
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

static void
wait_until_finished(struct flush *flush, size_t n)
{
	while (flush->finished < n) {
		if (do_some_work(flush))
			continue;
		flush->awaited = n;
		pthread_cond_wait(&flush->progress, &flush->mutex);
		flush->awaited = SIZE_MAX;
	}
}

/* There is nobody for whom it could be begun. */
static void
do_at_once(struct flush *flush)
{
	flush->begun = flush->released = flush->added;
	while (flush->taken < flush->added)
		take_next(flush);
}

void
flush_add(struct flush *flush, int fd)
{
	pthread_mutex_lock(&flush->mutex);
	if (flush->added - flush->finished == flush->room) {
		release(flush);
		wait_until_finished(flush, flush->finished + 1);
	}
	flush->fds[flush->added++ % flush->room] = fd;
	if (flush->added - flush->released >= BURST)
		release(flush);
	if (flush->max_helpers == 0)
		do_at_once(flush);
	pthread_mutex_unlock(&flush->mutex);
}

int
flush_wait(struct flush *flush, size_t *failed)
{
	int error;

	pthread_mutex_lock(&flush->mutex);
	release(flush);
	wait_until_finished(flush, flush->added);
	flush->added = flush->released = flush->begun = 0;
	flush->taken = flush->finished = 0;
	error = flush->error;
	*failed = flush->failed;
	flush->error = 0;
	pthread_mutex_unlock(&flush->mutex);
	errno = error;
	return error == 0 ? 0 : -1;
}

void
flush_drop(struct flush *flush)
{
	size_t ignored;

	pthread_mutex_lock(&flush->mutex);
	if (flush->error == 0)
		flush->error = ECANCELED;
	pthread_mutex_unlock(&flush->mutex);
	flush_wait(flush, &ignored);
}

void
flush_free(struct flush *flush)
{
	if (flush == NULL)
		return;
	flush_drop(flush);
	pthread_mutex_lock(&flush->mutex);
	flush->ending = true;
	pthread_cond_broadcast(&flush->work);
	while (flush->n_helpers > 0)
		pthread_cond_wait(&flush->progress, &flush->mutex);
	pthread_mutex_unlock(&flush->mutex);
	pthread_cond_destroy(&flush->progress);
	pthread_cond_destroy(&flush->work);
	pthread_mutex_destroy(&flush->mutex);
	free(flush);
}
