/* SPDX-License-Identifier: ISC */
/* The parent: workers side by side, their events, one exit code. */
#ifndef RUN_SUPER_H
#define RUN_SUPER_H

#include <stddef.h>

#include "base/err.h"
#include "base/log.h"
#include "conf/conf.h"
#include "run/event.h"
#include "run/fetch.h"

/* Who shows what the workers tell; index counts the accounts of the run. */
struct super_screen {
	void (*show)(void *context, size_t index, const char *account,
	    const struct event *event);
	/* A secret from the terminal for event->text, or NULL; freed with
	 * mem_free_secret.  One at a time. */
	char *(*prompt)(
	    void *context, const char *account, const struct event *event);
	void *context;
};

struct super_params {
	const struct conf *conf;
	const struct fetch_options *options;
	enum log_level level;
	size_t jobs; /* workers at a time */
	const struct super_screen *screen;
};

/*
 * Run all accounts and return the exit code: 0 if all are 0, else the first
 * one in the order of the rc file that is not 75, else 75.  Accounts that
 * share a state file run one after another.
 */
int super_run(const struct super_params *params);

#endif
