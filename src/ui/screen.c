/* SPDX-License-Identifier: ISC */
#include "ui/screen.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <readpassphrase.h>

#include "base/mem.h"
#include "base/text.h"
#include "base/wait.h"
#include "ui/progress.h"

#define SECRET_MAX 8192 /* more than a terminal takes in a line */

struct screen {
	struct screen_params params;
	struct progress *progress;  /* NULL: none is shown */
	struct event_counts *plans; /* of each account */
	bool has_results;	    /* that may not be written yet */
};

struct screen *
screen_open(const struct screen_params *params)
{
	struct screen *screen = mem_zero(1, sizeof(*screen));

	screen->params = *params;
	screen->plans = mem_zero(params->accounts, sizeof(*screen->plans));
	if (params->progress)
		screen->progress = progress_open(params->accounts);
	return screen;
}

static void
print_error(const char *account, const struct err *err)
{
	const char *colon = account[0] != '\0' ? ": " : "";

	fprintf(stderr, "poplar: %s%s%s\n", account, colon, err->text);
	if (err->hint[0] != '\0')
		fprintf(stderr, "poplar: %s%shint: %s\n", account, colon,
		    err->hint);
}

void
screen_error(const struct err *err)
{
	print_error("", err);
}

static void
print_count(uint64_t n, const char *what)
{
	printf(", %llu %s", (unsigned long long)n, what);
}

static void
print_summary(const struct screen *screen, const char *account,
    const struct event_counts *counts)
{
	bool plan = screen->params.is_plan;
	char size[16];

	printf("%s: ", account);
	if (counts->messages == 0)
		printf("nothing %s", counts->failed > 0 ? "delivered" : "new");
	else
		printf("%llu %s%s%s (%s)", (unsigned long long)counts->messages,
		    plan ? "" : "new ",
		    counts->messages == 1 ? "message" : "messages",
		    plan ? " to fetch" : "",
		    text_of_size(size, sizeof(size), counts->octets));
	if (counts->deleted > 0)
		print_count(counts->deleted, plan ? "to delete" : "deleted");
	if (counts->failed > 0)
		print_count(counts->failed, "failed");
	print_count(counts->listed, "on the server");
	putchar('\n');
	fflush(stdout);
}

static void
show_end(struct screen *screen, size_t index, const char *account,
    const struct event *event)
{
	const struct event_counts *counts =
	    screen->params.is_plan ? &screen->plans[index] : &event->counts;

	/* An account that failed as a whole has said so. */
	if (screen->params.summaries &&
	    (event->err.class == ERR_NONE || event->counts.messages > 0 ||
		event->counts.failed > 0))
		print_summary(screen, account, counts);
}

static void
print_event(struct screen *screen, size_t index, const char *account,
    const struct event *event)
{
	switch (event->type) {
	case EVENT_LOG:
		if (event->level <= screen->params.level)
			fprintf(
			    stderr, "poplar: %s: %s\n", account, event->text);
		break;
	case EVENT_RESULT:
		printf("%s: %s\n", account, event->text);
		screen->has_results = true;
		break;
	case EVENT_ERROR:
		if (!event->err.quiet || screen->params.verbose)
			print_error(account, &event->err);
		break;
	case EVENT_END:
		show_end(screen, index, account, event);
		break;
	case EVENT_PLAN:
	case EVENT_PROGRESS:
	case EVENT_PROMPT:
		break;
	}
}

/* A reader that stands still holds up the run, but must not keep it from being
 * stopped: what it does not take then is not said. */
static bool
can_be_said(int fd)
{
	struct pollfd reader = {.fd = fd, .events = POLLOUT};
	struct err ignored;

	while (wait_stop_signal() == 0 &&
	    wait_for_fd(fd, POLLOUT, WAIT_FOREVER, &ignored) == 0)
		continue;
	return wait_stop_signal() == 0 || poll(&reader, 1, 0) != 0;
}

static bool
is_result(const struct screen *screen, const struct event *event)
{
	return event->type == EVENT_RESULT ||
	    (event->type == EVENT_END && screen->params.summaries);
}

void
screen_close(struct screen *screen)
{
	progress_close(screen->progress);
	if (screen->has_results && !can_be_said(STDOUT_FILENO))
		fpurge(stdout);
	free(screen->plans);
	free(screen);
}

void
screen_show(
    void *context, size_t index, const char *account, const struct event *event)
{
	struct screen *screen = context;

	if (event->type == EVENT_PLAN)
		screen->plans[index] = event->counts;
	if (!can_be_said(STDERR_FILENO) ||
	    (is_result(screen, event) && !can_be_said(STDOUT_FILENO)))
		return;
	if (screen->progress == NULL) {
		print_event(screen, index, account, event);
		return;
	}
	progress_note(screen->progress, index, account, event);
	if (event->type == EVENT_PROGRESS) {
		progress_redraw(screen->progress);
		return;
	}
	progress_hide(screen->progress);
	print_event(screen, index, account, event);
	progress_draw(screen->progress);
}

char *
screen_prompt(void *context, const char *account, const struct event *event)
{
	struct screen *screen = context;
	char *question = mem_printf("%s: %s: ", account, event->text);
	char answer[SECRET_MAX], *secret = NULL;

	if (screen->progress != NULL)
		progress_hide(screen->progress);
	wait_let_signals_in(true);
	if (readpassphrase(question, answer, sizeof(answer),
		RPP_ECHO_OFF | RPP_REQUIRE_TTY) != NULL)
		secret = mem_dup(answer);
	wait_let_signals_in(false);
	explicit_bzero(answer, sizeof(answer));
	free(question);
	return secret;
}
