/* SPDX-License-Identifier: ISC */
/* Run a command for /bin/sh and wait for it, never longer than allowed. */
#ifndef BASE_SPAWN_H
#define BASE_SPAWN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"

struct spawn {
	const char *command;
	int input;		/* its standard input; -1: /dev/null */
	const char *const *env; /* "NAME=value", NULL at the end; may be NULL */
	int64_t timeout;	/* milliseconds */
	size_t output_max;	/* so much is kept of each output, no more */
	int gate;		/* becomes its descriptor 3; 0: none */
	bool own_group;		/* in a process group of its own */
	bool own_session;	/* and without the terminal, where it can be */
};

struct spawn_result {
	int status; /* as of waitpid(2) */
	bool timed_out;
	struct buf out;
	struct buf err;
};

/*
 * Runs it with default signals, no descriptor of ours beyond 0 to 2.  The end
 * is that of the command itself: children that it leaves behind are not
 * waited for.  One that runs too long gets SIGTERM and two seconds later
 * SIGKILL.  When poplar is asked to stop, it has not quite two seconds to end
 * by itself before that.  Returns 0 with *result filled whatever the command
 * did, -1 if it could not be run or had to be ended for a stop.
 * spawn_result_free in either case.
 */
int spawn_run(
    const struct spawn *spawn, struct spawn_result *result, struct err *err);
void spawn_result_free(struct spawn_result *result);

/*
 * Only start it, with these descriptors as its standard output and error;
 * timeout and output_max do not matter.  The caller waits for *pid, which is
 * also the process group of a group of its own.  -1 with errno.
 */
int spawn_start(const struct spawn *spawn, int out, int errors, pid_t *pid);

/*
 * The same in steps, for a shell that costs no time once its command is due.
 * spawn_hold starts the shell, but the command waits, and never begins if
 * this process ends, until spawn_let_go gives the values of the variables
 * with these names (both NULL at the end; no line ends in them; exported).
 * Then spawn_wait waits as spawn_run does.  gate is set here.
 */
struct spawn_held;
struct spawn_held *spawn_hold(
    const struct spawn *spawn, const char *const *names, struct err *err);
void spawn_let_go(struct spawn_held *held, const char *const *values);

/* Frees held, in milliseconds from now on. */
int spawn_wait(struct spawn_held *held, int64_t timeout,
    struct spawn_result *result, struct err *err);

/* Its command is not wanted any more; NULL is nothing to do. */
void spawn_drop(struct spawn_held *held);

/* "exited with 3", "killed by SIGSEGV", "ran too long": a printable phrase. */
char *spawn_describe(const struct spawn_result *result, char *dst, size_t size);

#endif
