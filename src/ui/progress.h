/* SPDX-License-Identifier: ISC */
/* Progress on a terminal: a line for each running account, at the bottom. */
#ifndef UI_PROGRESS_H
#define UI_PROGRESS_H

#include <stddef.h>

#include "run/event.h"

struct progress;

struct progress *progress_open(size_t accounts);

/* Takes the lines away; NULL is nothing to do. */
void progress_close(struct progress *progress);

/* Remember what an event says about progress; draws nothing. */
void progress_note(struct progress *progress, size_t index, const char *account,
    const struct event *event);

/* Make room for other output, and come back. */
void progress_hide(struct progress *progress);
void progress_draw(struct progress *progress);

/* Draw again, but not as often as many accounts together would have it. */
void progress_redraw(struct progress *progress);

#endif
