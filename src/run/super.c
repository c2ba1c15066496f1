/* SPDX-License-Identifier: ISC */
#include "run/super.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"
#include "base/wait.h"
#include "run/worker.h"
#include "wire/trust.h"

#define STOP_TIME 5000	   /* milliseconds that workers get to end */
#define DESCRIPTORS_OWN 64 /* of the parent, beside one for each worker */

enum job_state {
	JOB_WAITING,
	JOB_RUNNING,
	JOB_DONE,
};

struct job {
	const struct account *account;
	char *state_file; /* resolved: the same for whatever way to it */
	enum job_state state;
	pid_t pid;
	int events;
	struct buf received;
	bool told_end; /* EVENT_END has come */
	enum err_class class;
};

struct super {
	const struct super_params *params;
	struct job *jobs;
	size_t n;
	size_t running;
	size_t most;   /* may run at a time */
	bool stopping; /* the workers have STOP_TIME to end */
};

static void
show(struct super *super, const struct job *job, const struct event *event)
{
	const struct super_screen *screen = super->params->screen;

	screen->show(screen->context, (size_t)(job - super->jobs),
	    job->account->name, event);
}

static void
show_error(struct super *super, struct job *job, const struct err *err)
{
	struct event event = {.type = EVENT_ERROR, .err = *err};

	job->class = err->class;
	show(super, job, &event);
}

static void
show_end(struct super *super, const struct job *job)
{
	struct event event = {.type = EVENT_END};

	event.err.class = job->class;
	show(super, job, &event);
}

/* Two writers of one state: the lock would turn the second away. */
static bool
shares_state_with_running(const struct super *super, const struct job *job)
{
	for (size_t i = 0; i < super->n; i++)
		if (super->jobs[i].state == JOB_RUNNING &&
		    strcmp(super->jobs[i].state_file, job->state_file) == 0)
			return true;
	return false;
}

static void
start_job(struct super *super, struct job *job)
{
	const struct worker_params params = {
	    .conf = super->params->conf,
	    .account = job->account,
	    .options = super->params->options,
	    .level = super->params->level,
	};
	struct err err;

	job->pid = worker_start(&params, &job->events, &err);
	if (job->pid == -1 && super->running > 0) {
		/* The system allows no more. */
		super->most = super->running;
		return;
	}
	if (job->pid == -1) {
		show_error(super, job, &err);
		show_end(super, job);
		job->state = JOB_DONE;
		return;
	}
	job->state = JOB_RUNNING;
	super->running++;
}

static void
start_jobs(struct super *super)
{
	for (size_t i = 0; i < super->n; i++) {
		struct job *job = &super->jobs[i];

		if (super->running >= super->most)
			return;
		if (job->state == JOB_WAITING &&
		    !shares_state_with_running(super, job))
			start_job(super, job);
	}
}

static void
answer_prompt(
    struct super *super, const struct job *job, const struct event *event)
{
	const struct super_screen *screen = super->params->screen;
	char *secret =
	    screen->prompt(screen->context, job->account->name, event);

	event_send_secret(job->events, secret);
	mem_free_secret(secret);
}

static void
take_event(struct super *super, struct job *job, const struct event *event)
{
	if (event->type == EVENT_PROMPT) {
		answer_prompt(super, job, event);
		return;
	}
	if (event->type == EVENT_END) {
		job->told_end = true;
		job->class = event->err.class;
	}
	show(super, job, event);
}

/* A worker that ended without a word crashed, and harmed nobody else. */
static void
judge_death(struct super *super, struct job *job, int status)
{
	char name[16];
	struct err err;

	if (job->told_end)
		return;
	if (super->stopping && WIFSIGNALED(status))
		err_set(&err, ERR_TEMPFAIL, "stopped in the middle");
	else if (WIFSIGNALED(status))
		err_set(&err, ERR_SOFTWARE, "worker: killed by %s",
		    text_of_signal(name, sizeof(name), WTERMSIG(status)));
	else if (WEXITSTATUS(status) == EX_OSERR)
		err_set(&err, ERR_OS, "worker: out of memory");
	else
		err_set(&err, ERR_SOFTWARE, "worker: ended with %d, unasked",
		    WEXITSTATUS(status));
	show_error(super, job, &err);
	show_end(super, job);
}

static void
reap(struct super *super, struct job *job)
{
	int status;

	while (waitpid(job->pid, &status, 0) == -1 && errno == EINTR)
		continue;
	judge_death(super, job, status);
	close(job->events);
	buf_free(&job->received);
	job->state = JOB_DONE;
	super->running--;
}

/* Read what a worker tells; at the end of its words it has died. */
static void
hear(struct super *super, struct job *job)
{
	struct event event;
	ssize_t n = recv(
	    job->events, buf_room(&job->received, 65536), 65536, MSG_DONTWAIT);

	if (n == -1 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0) {
		int taken;

		job->received.len += (size_t)n;
		while ((taken = event_take(&job->received, &event)) == 1)
			take_event(super, job, &event);
		if (taken == 0)
			return;
		kill(job->pid, SIGKILL);
	}
	reap(super, job);
}

/* Asked to stop: the workers are told, and get the time to settle. */
static void
pass_stop_on(struct super *super)
{
	for (size_t i = 0; i < super->n; i++) {
		if (super->jobs[i].state == JOB_RUNNING)
			kill(super->jobs[i].pid, SIGTERM);
		if (super->jobs[i].state != JOB_WAITING)
			continue;
		super->jobs[i].state = JOB_DONE;
		super->jobs[i].class = ERR_TEMPFAIL;
	}
	wait_grace(STOP_TIME);
	super->stopping = true;
}

/* One that waits for a slow disk ends only behind that. */
static void
kill_stubborn(const struct super *super, struct pollfd *fds, nfds_t n)
{
	for (size_t i = 0; i < super->n; i++)
		if (super->jobs[i].state == JOB_RUNNING)
			kill(super->jobs[i].pid, SIGKILL);
	poll(fds, n, -1);
}

/* Wait until a worker has something to tell. */
static void
attend(struct super *super)
{
	struct pollfd fds[WAIT_FDS_MAX];
	struct job *jobs[WAIT_FDS_MAX];
	struct err err;
	nfds_t n = 0;

	for (size_t i = 0; i < super->n && n < WAIT_FDS_MAX; i++) {
		if (super->jobs[i].state != JOB_RUNNING)
			continue;
		jobs[n] = &super->jobs[i];
		/* Where there is no answer from poll, hear all. */
		fds[n++] = (struct pollfd){.fd = super->jobs[i].events,
		    .events = POLLIN,
		    .revents = POLLIN};
	}
	if (wait_for(fds, n, WAIT_FOREVER, &err) == -1) {
		if (!super->stopping)
			pass_stop_on(super);
		else
			kill_stubborn(super, fds, n);
	}
	for (nfds_t i = 0; i < n; i++)
		if (fds[i].revents != 0)
			hear(super, jobs[i]);
}

static bool
deliver_alike(const struct account *a, const struct account *b)
{
	return a->delivery.kind == b->delivery.kind &&
	    strcmp(a->delivery.target, b->delivery.target) == 0;
}

/* What one of them has delivered, the other takes for known. */
static void
warn_of_shared_states(struct super *super)
{
	struct event event = {.type = EVENT_LOG, .level = LOG_AT_WARNING};

	for (size_t i = 1; i < super->n; i++) {
		const struct account *account = super->jobs[i].account;

		for (size_t j = 0; j < i; j++) {
			const struct account *other = super->jobs[j].account;

			if (strcmp(super->jobs[i].state_file,
				super->jobs[j].state_file) != 0 ||
			    strcmp(account->user, other->user) != 0 ||
			    strcmp(account->server, other->server) != 0 ||
			    deliver_alike(account, other))
				continue;
			snprintf(event.text, sizeof(event.text),
			    "has its state in common with account %s, but "
			    "delivers elsewhere: each message goes to one of "
			    "them",
			    other->name);
			show(super, &super->jobs[i], &event);
		}
	}
}

/* A worker needs one descriptor here; hundreds may run.  No more than that: a
 * command inherits the limit, and some close each descriptor up to it. */
static void
raise_descriptor_limit(size_t jobs)
{
	rlim_t needed = jobs + DESCRIPTORS_OWN;
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < needed) {
		limit.rlim_cur =
		    needed < limit.rlim_max ? needed : limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

/* Parsed once for all workers, if more than one may need it. */
static void
preload_trust(const struct super *super)
{
	size_t wanting = 0;

	for (size_t i = 0; i < super->n; i++) {
		const struct account *account = super->jobs[i].account;

		wanting += account->tls == CONF_ON &&
		    account->tls_certcheck == CONF_ON &&
		    account->tls_trust_file == NULL &&
		    account->tls_crl_file == NULL &&
		    account->tls_cert_file == NULL &&
		    account->tls_fingerprint.n == 0;
	}
	if (wanting > 1)
		trust_preload_system();
}

static int
merge_exit_codes(const struct super *super)
{
	int merged = EX_OK;

	for (size_t i = 0; i < super->n; i++) {
		int code = err_exit_code(super->jobs[i].class);

		if (code == EX_OK)
			continue;
		if (code != EX_TEMPFAIL)
			return code;
		merged = code;
	}
	return merged;
}

static void
open_jobs(struct super *super)
{
	super->jobs = mem_zero(super->n, sizeof(*super->jobs));
	for (size_t i = 0; i < super->n; i++) {
		const struct account *account =
		    super->params->conf->accounts[i];
		struct job *job = &super->jobs[i];

		job->account = account;
		job->state_file = file_resolve(account->uidls_file);
		if (job->state_file == NULL)
			job->state_file = mem_dup(account->uidls_file);
	}
}

static void
close_jobs(struct super *super)
{
	for (size_t i = 0; i < super->n; i++)
		free(super->jobs[i].state_file);
	free(super->jobs);
}

int
super_run(const struct super_params *params)
{
	struct super super = {
	    .params = params, .n = params->conf->n, .most = params->jobs};
	int code;

	open_jobs(&super);
	raise_descriptor_limit(params->jobs < super.n ? params->jobs : super.n);
	warn_of_shared_states(&super);
	preload_trust(&super);
	for (start_jobs(&super); super.running > 0; start_jobs(&super))
		attend(&super);
	code = merge_exit_codes(&super);
	close_jobs(&super);
	return code;
}
