/* SPDX-License-Identifier: ISC */
#include "ui/progress.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/text.h"
#include "base/wait.h"

#define ROWS_MAX 20    /* of more accounts than this, the first are shown */
#define REDRAW_TIME 80 /* milliseconds; less than one account takes */

struct row {
	char *account; /* NULL: not running */
	struct event_counts plan;
	struct event_counts counts;
	int64_t since; /* the clock when its plan came */
};

struct progress {
	struct row *rows;
	size_t n;
	size_t drawn;	  /* lines on the screen now */
	int64_t drawn_at; /* the clock */
};

struct progress *
progress_open(size_t accounts)
{
	struct progress *progress = mem_zero(1, sizeof(*progress));

	progress->rows = mem_zero(accounts, sizeof(*progress->rows));
	progress->n = accounts;
	return progress;
}

void
progress_close(struct progress *progress)
{
	if (progress == NULL)
		return;
	progress_hide(progress);
	for (size_t i = 0; i < progress->n; i++)
		free(progress->rows[i].account);
	free(progress->rows);
	free(progress);
}

void
progress_note(struct progress *progress, size_t index, const char *account,
    const struct event *event)
{
	struct row *row = &progress->rows[index];

	if (event->type == EVENT_PLAN && event->counts.messages > 0) {
		row->account = mem_dup(account);
		row->plan = event->counts;
		row->since = wait_clock();
	} else if (event->type == EVENT_PROGRESS) {
		row->counts = event->counts;
	} else if (event->type == EVENT_END) {
		free(row->account);
		row->account = NULL;
	}
}

void
progress_hide(struct progress *progress)
{
	if (progress->drawn == 0)
		return;
	/* Up so many lines, then clear to the end of the screen. */
	fprintf(stderr, "\033[%zuA\r\033[J", progress->drawn);
	progress->drawn = 0;
}

static struct winsize
terminal_size(void)
{
	struct winsize size;

	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 &&
	    size.ws_row > 0)
		return size;
	return (struct winsize){.ws_col = 80, .ws_row = 24};
}

static void
describe(const struct row *row, char *line, size_t size)
{
	int64_t elapsed = wait_clock() - row->since;
	uint64_t rate =
	    elapsed > 0 ? row->counts.octets * 1000 / (uint64_t)elapsed : 0;
	uint64_t left = row->plan.octets > row->counts.octets
	    ? row->plan.octets - row->counts.octets
	    : 0;
	uint64_t current = row->counts.messages < row->plan.messages
	    ? row->counts.messages + 1
	    : row->plan.messages;
	char done[16], total[16], speed[16], more[64] = "";

	if (rate > 0 && elapsed > 1000)
		snprintf(more, sizeof(more), ", %llu:%02llu left",
		    (unsigned long long)(left / rate / 60),
		    (unsigned long long)(left / rate % 60));
	snprintf(line, size, "%s: message %llu of %llu, %s of %s, %s/s%s",
	    row->account, (unsigned long long)current,
	    (unsigned long long)row->plan.messages,
	    text_of_size(done, sizeof(done), row->counts.octets),
	    text_of_size(total, sizeof(total), row->plan.octets),
	    text_of_size(speed, sizeof(speed), rate), more);
}

void
progress_draw(struct progress *progress)
{
	struct winsize size = terminal_size();
	size_t drawn = 0;
	char line[512];

	progress_hide(progress);
	/* What scrolls off cannot be cleared; the cursor needs a row too. */
	for (size_t i = 0;
	     i < progress->n && drawn < ROWS_MAX && drawn + 1 < size.ws_row;
	     i++) {
		if (progress->rows[i].account == NULL)
			continue;
		describe(&progress->rows[i], line, sizeof(line));
		fprintf(stderr, "%.*s\n", size.ws_col - 1, line);
		drawn++;
	}
	progress->drawn = drawn;
	progress->drawn_at = wait_clock();
}

void
progress_redraw(struct progress *progress)
{
	if (wait_clock() - progress->drawn_at >= REDRAW_TIME)
		progress_draw(progress);
}
