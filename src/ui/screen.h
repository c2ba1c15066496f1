/* SPDX-License-Identifier: ISC */
/* What people see: errors, lines, progress, a summary of each account. */
#ifndef UI_SCREEN_H
#define UI_SCREEN_H

#include <stdbool.h>
#include <stddef.h>

#include "run/event.h"

struct screen_params {
	enum log_level level;
	size_t accounts;
	bool progress;	/* standard error is a terminal */
	bool summaries; /* a line for each account at its end */
	bool verbose;	/* also what the exit code says well enough */
	bool is_plan;	/* of a dry run: the summary speaks of the future */
};

struct screen;

/* For super_run; screen_close takes the progress away. */
struct screen *screen_open(const struct screen_params *params);
void screen_close(struct screen *screen);

/* Show an event of the account with this index. */
void screen_show(
    void *screen, size_t index, const char *account, const struct event *event);

/* Ask on the terminal, without echo; NULL if there is none. */
char *screen_prompt(
    void *screen, const char *account, const struct event *event);

/* An error that belongs to no account. */
void screen_error(const struct err *err);

#endif
