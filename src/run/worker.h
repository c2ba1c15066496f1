/* SPDX-License-Identifier: ISC */
/* The child side: one process, one account. */
#ifndef RUN_WORKER_H
#define RUN_WORKER_H

#include <stdnoreturn.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/log.h"
#include "conf/conf.h"
#include "run/fetch.h"

struct worker_params {
	const struct conf *conf;
	const struct account *account; /* one of them */
	const struct fetch_options *options;
	enum log_level level; /* what the parent wants to hear */
};

/*
 * Fork a worker for one account.  *events becomes the descriptor on which it
 * tells what happens; it is readable at its end until EVENT_END, and the
 * exit code is the account's.  Returns its process id, or -1 (ERR_OS).
 */
pid_t worker_start(
    const struct worker_params *params, int *events, struct err *err);

#endif
