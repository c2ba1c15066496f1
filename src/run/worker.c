/* SPDX-License-Identifier: ISC */
#include "run/worker.h"

#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/text.h"
#include "base/wait.h"
#include "run/event.h"

static void
send_log(void *context, enum log_level level, const char *text)
{
	const int *parent = context;
	struct event event = {.type = EVENT_LOG, .level = level};

	strlcpy(event.text, text, sizeof(event.text));
	event_send(*parent, &event);
}

#define PARENT 3 /* the only descriptor of a worker but 0 to 2 */

/* The other workers' are not for this one. */
static void
keep_descriptor(int parent)
{
	if (parent != PARENT)
		dup3(parent, PARENT, O_CLOEXEC);
	closefrom(PARENT + 1);
}

static noreturn void
work(const struct worker_params *params, int socket)
{
	struct event end = {.type = EVENT_END};
	int parent = PARENT;

	keep_descriptor(socket);
	conf_forget_others(params->conf, params->account);
	wait_watch_parent(parent);
	log_open(params->level, send_log, &parent);
	end.err.class = fetch_account(
	    params->account, params->options, parent, &end.counts);
	event_send(parent, &end);
	_exit(err_exit_code(end.err.class));
}

pid_t
worker_start(const struct worker_params *params, int *events, struct err *err)
{
	int pair[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == -1)
		return err_set_errno(err, ERR_OS, "cannot make a socket pair");
	pid = fork();
	if (pid == 0) {
		close(pair[0]);
		work(params, pair[1]);
	}
	close(pair[1]);
	if (pid == -1) {
		err_set_errno(err, ERR_OS, "cannot fork");
		close(pair[0]);
		return -1;
	}
	fcntl(pair[0], F_SETFL, O_NONBLOCK);
	*events = pair[0];
	return pid;
}
