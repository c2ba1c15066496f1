/* SPDX-License-Identifier: ISC */
#include "base/wait.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#include "base/text.h"

static const int stop_signals[] = {SIGTERM, SIGINT, SIGHUP};

#define N_STOP_SIGNALS (sizeof(stop_signals) / sizeof(stop_signals[0]))

static volatile sig_atomic_t stop_signal;

static struct {
	sigset_t while_waiting; /* the mask that lets the signals in */
	int parent;		/* -1: none to watch */
	int64_t grace;		/* no wait goes beyond; 0: not in grace */
} waits = {.parent = -1};

int64_t
wait_clock(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void
on_stop(int signo)
{
	stop_signal = signo;
}

static void
on_child(int signo)
{
	(void)signo;
}

static sigset_t
all_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	for (size_t i = 0; i < N_STOP_SIGNALS; i++)
		sigaddset(&set, stop_signals[i]);
	return set;
}

void
wait_let_signals_in(bool in)
{
	sigset_t set = all_signals();

	sigprocmask(in ? SIG_UNBLOCK : SIG_BLOCK, &set, NULL);
}

void
wait_open(void)
{
	struct sigaction stop = {.sa_handler = on_stop};
	struct sigaction child = {
	    .sa_handler = on_child, .sa_flags = SA_NOCLDSTOP};
	struct sigaction ignore = {.sa_handler = SIG_IGN};

	for (size_t i = 0; i < N_STOP_SIGNALS; i++)
		sigaction(stop_signals[i], &stop, NULL);
	sigaction(SIGCHLD, &child, NULL);
	sigaction(SIGPIPE, &ignore, NULL);
	sigaction(SIGXFSZ, &ignore, NULL);
	wait_let_signals_in(false);
	sigemptyset(&waits.while_waiting);
}

void
wait_watch_parent(int parent)
{
	waits.parent = parent;
	stop_signal = 0;
}

int
wait_stop_signal(void)
{
	return stop_signal;
}

void
wait_grace(int64_t milliseconds)
{
	if (waits.grace == 0)
		waits.grace = wait_clock() + milliseconds;
}

static int
stopped(struct err *err)
{
	char name[16];

	return err_set(err, ERR_TEMPFAIL, "stopped by %s",
	    text_of_signal(name, sizeof(name), stop_signal));
}

int
wait_check(struct err *err)
{
	return stop_signal != 0 ? stopped(err) : 0;
}

static struct timespec
until_to_timeout(int64_t until)
{
	int64_t left = until - wait_clock();
	struct timespec timeout = {0, 0};

	if (left > 0) {
		timeout.tv_sec = (time_t)(left / 1000);
		timeout.tv_nsec = (long)(left % 1000) * 1000000;
	}
	return timeout;
}

int
wait_for(struct pollfd *fds, nfds_t n, int64_t until, struct err *err)
{
	struct pollfd all[WAIT_FDS_MAX + 1];
	struct timespec timeout;
	int ready;

	if (stop_signal != 0 && wait_clock() >= waits.grace)
		return stopped(err);
	if (waits.grace != 0 && waits.grace < until)
		until = waits.grace;
	timeout = until_to_timeout(until);
	for (nfds_t i = 0; i < n; i++)
		all[i] = fds[i];
	all[n] = (struct pollfd){.fd = waits.grace != 0 ? -1 : waits.parent};
	ready = ppoll(all, n + 1, until == WAIT_FOREVER ? NULL : &timeout,
	    &waits.while_waiting);
	if (ready == -1 && errno != EINTR)
		return err_set_errno(err, ERR_OS, "poll");
	if (ready > 0 && all[n].revents != 0) {
		stop_signal = SIGHUP;
		ready--;
	}
	if (stop_signal != 0 && waits.grace == 0)
		return stopped(err);
	for (nfds_t i = 0; i < n; i++)
		fds[i].revents = ready > 0 ? all[i].revents : 0;
	return ready > 0 ? ready : 0;
}

int
wait_for_fd(int fd, short events, int64_t until, struct err *err)
{
	struct pollfd one = {.fd = fd, .events = events};

	return wait_for(&one, 1, until, err);
}
