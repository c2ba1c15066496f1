/* SPDX-License-Identifier: ISC */
#include "base/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"
#include "base/wait.h"

#define KILL_GRACE 2000	  /* milliseconds from SIGTERM to SIGKILL */
#define STOP_GRACE 1700	  /* milliseconds to end by itself at a stop */
#define STOP_KILL 200	  /* milliseconds from SIGTERM to SIGKILL then */
#define GROUP_INTERVAL 20 /* milliseconds from one look at it to the next */
#define GATE 3		  /* the descriptor that holds a command back */
#define DRAIN_CHUNKS 256  /* read at once of one that never stops writing */

extern char **environ;

/* A running command. */
struct child {
	pid_t pid;
	bool own_group;
	int out; /* our ends of its outputs, -1 once closed */
	int err;
};

static bool
same_name(const char *a, const char *b)
{
	size_t n = strcspn(a, "=");

	return strncmp(a, b, n + 1) == 0;
}

static bool
is_replaced(const char *variable, const char *const *extra)
{
	for (; extra != NULL && *extra != NULL; extra++)
		if (same_name(*extra, variable))
			return true;
	return false;
}

/* Of two equal names some shells take the first and some the last. */
static char **
make_environment(const char *const *extra)
{
	char **env = NULL;
	size_t n = 0;

	for (size_t i = 0; environ[i] != NULL; i++) {
		if (is_replaced(environ[i], extra))
			continue;
		env = mem_room(env, n, sizeof(*env));
		env[n++] = mem_dup(environ[i]);
	}
	for (size_t i = 0; extra != NULL && extra[i] != NULL; i++) {
		env = mem_room(env, n, sizeof(*env));
		env[n++] = mem_dup(extra[i]);
	}
	env = mem_room(env, n, sizeof(*env));
	env[n] = NULL;
	return env;
}

static void
free_environment(char **env)
{
	for (size_t i = 0; env[i] != NULL; i++)
		free(env[i]);
	free(env);
}

static void
make_attributes(posix_spawnattr_t *attr, const struct spawn *spawn)
{
	short flags = POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK;
	sigset_t set;

	posix_spawnattr_init(attr);
	sigfillset(&set);
	posix_spawnattr_setsigdefault(attr, &set);
	sigemptyset(&set);
	posix_spawnattr_setsigmask(attr, &set);
#ifdef POSIX_SPAWN_SETSID
	if (spawn->own_session)
		flags |= POSIX_SPAWN_SETSID;
#else
	if (spawn->own_session)
		flags |= POSIX_SPAWN_SETPGROUP;
#endif
	if (spawn->own_group)
		flags |= POSIX_SPAWN_SETPGROUP;
	posix_spawnattr_setflags(attr, flags);
}

/* All descriptors of ours are close-on-exec: only 0 to 2 pass, and a gate. */
int
spawn_start(const struct spawn *spawn, int out, int errors, pid_t *pid)
{
	/* posix_spawn promises not to write to these. */
	char shell[] = "sh", dash_c[] = "-c";
	char *command = mem_dup(spawn->command);
	char *argv[] = {shell, dash_c, command, NULL};
	char **env = make_environment(spawn->env);
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	int error;

	make_attributes(&attr, spawn);
	posix_spawn_file_actions_init(&actions);
	if (spawn->input == -1)
		posix_spawn_file_actions_addopen(
		    &actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	else
		posix_spawn_file_actions_adddup2(
		    &actions, spawn->input, STDIN_FILENO);
	posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
	posix_spawn_file_actions_adddup2(&actions, errors, STDERR_FILENO);
	if (spawn->gate != 0)
		posix_spawn_file_actions_adddup2(&actions, spawn->gate, GATE);
	error = posix_spawn(pid, "/bin/sh", &actions, &attr, argv, env);
	posix_spawn_file_actions_destroy(&actions);
	posix_spawnattr_destroy(&attr);
	free_environment(env);
	free(command);
	errno = error;
	return error == 0 ? 0 : -1;
}

static void
close_outputs(struct child *child)
{
	if (child->out != -1)
		close(child->out);
	if (child->err != -1)
		close(child->err);
	child->out = -1;
	child->err = -1;
}

static int
start_with_pipes(
    const struct spawn *spawn, struct child *child, struct err *err)
{
	int out[2], errors[2], status;

	if (pipe2(out, O_CLOEXEC) == -1)
		return err_set_errno(err, ERR_OS, "cannot make a pipe");
	if (pipe2(errors, O_CLOEXEC) == -1) {
		err_set_errno(err, ERR_OS, "cannot make a pipe");
		close(out[0]);
		close(out[1]);
		return -1;
	}
	child->out = out[0];
	child->err = errors[0];
	fcntl(child->out, F_SETFL, O_NONBLOCK);
	fcntl(child->err, F_SETFL, O_NONBLOCK);
	status = spawn_start(spawn, out[1], errors[1], &child->pid);
	if (status == -1) {
		err_set_errno(err, ERR_OS, "cannot run /bin/sh");
		close_outputs(child);
	}
	close(out[1]);
	close(errors[1]);
	return status;
}

/* Take what is there; closes *fd at its end. */
static void
drain(int *fd, struct buf *kept, size_t max)
{
	char chunk[4096];
	ssize_t n = 1;

	if (*fd == -1)
		return;
	for (int i = 0; i < DRAIN_CHUNKS && n > 0; i++) {
		size_t room = max - kept->len;

		n = read(*fd, chunk, sizeof(chunk));
		if (n > 0)
			buf_append(
			    kept, chunk, (size_t)n < room ? (size_t)n : room);
	}
	explicit_bzero(chunk, sizeof(chunk)); /* perhaps a password */
	if (n > 0)
		return;
	if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
		close(*fd);
		*fd = -1;
	}
}

static void
send_signal(const struct child *child, int signo)
{
	kill(child->own_group ? -child->pid : child->pid, signo);
}

/* 1 when it has ended, 0 when time is up, -1 when asked to stop. */
static int
wait_for_end(struct child *child, struct spawn_result *result, size_t max,
    int64_t until, struct err *err)
{
	struct pollfd fds[2];

	for (;;) {
		pid_t pid = waitpid(child->pid, &result->status, WNOHANG);

		drain(&child->out, &result->out, max);
		drain(&child->err, &result->err, max);
		if (pid == child->pid)
			return 1;
		if (wait_clock() >= until)
			return 0;
		fds[0] = (struct pollfd){.fd = child->out, .events = POLLIN};
		fds[1] = (struct pollfd){.fd = child->err, .events = POLLIN};
		if (wait_for(fds, 2, until, err) == -1)
			return -1;
	}
}

/* What the command started may outlive it, and do its work after all. */
static void
end_others(const struct child *child, int64_t until)
{
	struct err ignored;

	if (!child->own_group)
		return;
	while (kill(-child->pid, 0) == 0 && wait_clock() < until)
		if (wait_for_fd(
			-1, 0, wait_clock() + GROUP_INTERVAL, &ignored) == -1)
			break;
	kill(-child->pid, SIGKILL);
}

static void
end_child(struct child *child, struct spawn_result *result, size_t max,
    int64_t patience)
{
	int64_t until = wait_clock() + patience;
	struct err ignored;

	send_signal(child, SIGTERM);
	if (wait_for_end(child, result, max, until, &ignored) == 1) {
		end_others(child, until);
		return;
	}
	send_signal(child, SIGKILL);
	waitpid(child->pid, &result->status, 0);
}

/* What it does is not known to be done before it ends: at a request to stop
 * it may still end by itself. */
static int
let_end(struct child *child, struct spawn_result *result, size_t max)
{
	struct err ignored;

	wait_grace(STOP_GRACE + STOP_KILL);
	if (wait_for_end(
		child, result, max, wait_clock() + STOP_GRACE, &ignored) == 1)
		return 0;
	end_child(child, result, max, STOP_KILL);
	return -1;
}

static int
finish(struct child *child, int64_t timeout, struct spawn_result *result,
    size_t max, struct err *err)
{
	int ended, status = 0;

	ended = wait_for_end(child, result, max, wait_clock() + timeout, err);
	if (ended == -1)
		status = let_end(child, result, max);
	if (ended == 0)
		end_child(child, result, max, KILL_GRACE);
	result->timed_out = ended == 0;
	close_outputs(child);
	return status;
}

int
spawn_run(
    const struct spawn *spawn, struct spawn_result *result, struct err *err)
{
	struct child child = {.own_group = spawn->own_group};

	*result = (struct spawn_result){0};
	/* Perhaps a password: a buffer that grows leaves copies behind. */
	buf_room(&result->out, spawn->output_max);
	if (start_with_pipes(spawn, &child, err) == -1)
		return -1;
	return finish(&child, spawn->timeout, result, spawn->output_max, err);
}

/* -- held back -- */

struct spawn_held {
	struct child child;
	int gate; /* our end of it, -1 once closed */
	size_t output_max;
};

/* In one line with the command, whose errors name a line.  At the end of the
 * gate, which is that of this process at the latest, the shell just ends. */
static char *
hold_back(const char *command, const char *const *names)
{
	struct buf script = {0};

	for (size_t i = 0; names[i] != NULL; i++)
		buf_printf(&script, "IFS= read -r %s <&%d&&", names[i], GATE);
	buf_printf(&script, "exec %d<&-||exit;export", GATE);
	for (size_t i = 0; names[i] != NULL; i++)
		buf_printf(&script, " %s", names[i]);
	buf_printf(&script, ";%s", command);
	return buf_string(&script);
}

struct spawn_held *
spawn_hold(const struct spawn *spawn, const char *const *names, struct err *err)
{
	struct spawn_held *held = mem_zero(1, sizeof(*held));
	struct spawn script = *spawn;
	int gate[2], status;
	char *text;

	if (pipe2(gate, O_CLOEXEC) == -1) {
		err_set_errno(err, ERR_OS, "cannot make a pipe");
		free(held);
		return NULL;
	}
	text = hold_back(spawn->command, names);
	script.command = text;
	script.gate = gate[0];
	held->child.own_group = spawn->own_group;
	held->gate = gate[1];
	held->output_max = spawn->output_max;
	status = start_with_pipes(&script, &held->child, err);
	close(gate[0]);
	free(text);
	if (status == 0)
		return held;
	close(gate[1]);
	free(held);
	return NULL;
}

/* One that has ended over an error in its command reads nothing; its status
 * will tell. */
void
spawn_let_go(struct spawn_held *held, const char *const *values)
{
	struct buf lines = {0};

	for (size_t i = 0; values[i] != NULL; i++)
		buf_printf(&lines, "%s\n", values[i]);
	(void)file_write(held->gate, lines.data, lines.len);
	buf_free(&lines);
	close(held->gate);
	held->gate = -1;
}

int
spawn_wait(struct spawn_held *held, int64_t timeout,
    struct spawn_result *result, struct err *err)
{
	int status;

	*result = (struct spawn_result){0};
	status = finish(&held->child, timeout, result, held->output_max, err);
	free(held);
	return status;
}

void
spawn_drop(struct spawn_held *held)
{
	int ignored;

	if (held == NULL)
		return;
	send_signal(&held->child, SIGKILL);
	waitpid(held->child.pid, &ignored, 0);
	close_outputs(&held->child);
	close(held->gate);
	free(held);
}

void
spawn_result_free(struct spawn_result *result)
{
	buf_wipe(&result->out);
	buf_free(&result->err);
}

char *
spawn_describe(const struct spawn_result *result, char *dst, size_t size)
{
	char name[16];

	if (result->timed_out)
		strlcpy(dst, "ran too long", size);
	else if (WIFSIGNALED(result->status))
		snprintf(dst, size, "killed by %s",
		    text_of_signal(
			name, sizeof(name), WTERMSIG(result->status)));
	else
		snprintf(
		    dst, size, "exited with %d", WEXITSTATUS(result->status));
	return dst;
}
