/* SPDX-License-Identifier: ISC */
/*
 * Every wait of the program: all have a deadline, and a request to stop
 * (SIGTERM, SIGINT, SIGHUP, or the parent gone) ends all of them.  These
 * signals are blocked everywhere but inside of a wait, so that they never
 * interrupt anything half done.
 */
#ifndef BASE_WAIT_H
#define BASE_WAIT_H

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

/* Milliseconds of a clock that only goes forward. */
int64_t wait_clock(void);

#define WAIT_FOREVER INT64_MAX

/* Block the signals and install their handlers; once, early in main.  The
 * signals of a broken pipe and of a file that grows over its limit are ignored:
 * the write fails, and says so. */
void wait_open(void);

/* In a worker: parent is a descriptor whose other end the parent holds; its
 * hangup is a request to stop.  Forgets signals that the parent got. */
void wait_watch_parent(int parent);

/* The signal that asked to stop, SIGHUP for a lost parent; 0 for none. */
int wait_stop_signal(void);

/* -1 (ERR_TEMPFAIL) when asked to stop, even if waits are still allowed. */
int wait_check(struct err *err);

/* Let signals interrupt, or no longer, what is no wait: a prompt. */
void wait_let_signals_in(bool in);

/*
 * After a request to stop: allow waits again, for so many milliseconds from
 * now; beyond that they fail as before.
 */
void wait_grace(int64_t milliseconds);

/*
 * Until one of n descriptors is ready, a child has ended, or the clock
 * stands at until.  Returns the number of ready ones, 0 if there is none
 * (the caller looks at its children and the clock), -1 when asked to stop
 * (ERR_TEMPFAIL) or on failure.  At most WAIT_FDS_MAX descriptors.
 */
#define WAIT_FDS_MAX 1024
int wait_for(struct pollfd *fds, nfds_t n, int64_t until, struct err *err);

/* The same for one descriptor. */
int wait_for_fd(int fd, short events, int64_t until, struct err *err);

#endif
