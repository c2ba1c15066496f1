/* SPDX-License-Identifier: ISC */
#include "wire/tunnel.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/spawn.h"
#include "base/text.h"
#include "base/wait.h"

#define GRACE 1000 /* milliseconds to end by itself, and from SIGTERM on */
#define STOP_GRACE 200
#define EXPLAIN_GRACE 200  /* its end follows that of its output */
#define SAID_MAX 400	   /* of the last bytes of its standard error */
#define SAID_MASKED 131072 /* in so many a secret is looked for */

struct tunnel {
	pid_t pid;
	int errors; /* a file: however much it says, it never blocks */
	bool ended;
	int status; /* as of waitpid(2), once it has ended */
};

struct tunnel *
tunnel_open(const char *command, int *fd, struct err *err)
{
	struct spawn spawn = {.command = command, .own_session = true};
	struct tunnel *tunnel = mem_zero(1, sizeof(*tunnel));
	int ends[2];

	tunnel->errors = file_unnamed(err);
	if (tunnel->errors == -1)
		goto failed;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == -1) {
		err_set_errno(err, ERR_OS, "cannot make a socket pair");
		goto failed;
	}
	spawn.input = ends[1];
	if (spawn_start(&spawn, ends[1], tunnel->errors, &tunnel->pid) == -1) {
		err_set_errno(err, ERR_OS, "cannot run /bin/sh");
		close(ends[0]);
		close(ends[1]);
		goto failed;
	}
	close(ends[1]);
	fcntl(ends[0], F_SETFL, O_NONBLOCK);
	*fd = ends[0];
	return tunnel;
failed:
	if (tunnel->errors != -1)
		close(tunnel->errors);
	free(tunnel);
	return NULL;
}

/* Has it ended, or does it within so many milliseconds? */
static bool
wait_for_end(struct tunnel *tunnel, int64_t patience)
{
	int64_t until = wait_clock() + patience;
	struct err ignored;

	while (!tunnel->ended) {
		pid_t pid = waitpid(tunnel->pid, &tunnel->status, WNOHANG);

		if (pid == tunnel->pid || (pid == -1 && errno == ECHILD))
			tunnel->ended = true;
		else if (wait_clock() >= until ||
		    wait_for(NULL, 0, until, &ignored) == -1)
			break;
	}
	return tunnel->ended;
}

/* The end of what it said, escaped; "" if it said nothing.  A command that
 * shows what passes through it (socat -v) shows the password as well, and of
 * one that is cut in half nobody would know it any more. */
static char *
last_words(const struct tunnel *tunnel, char *dst, size_t size)
{
	char *said = mem_alloc(SAID_MASKED);
	off_t length = lseek(tunnel->errors, 0, SEEK_END);
	off_t from = length > SAID_MASKED ? length - SAID_MASKED : 0;
	ssize_t got = pread(tunnel->errors, said, SAID_MASKED, from);
	size_t n = got > 0 ? log_masked(said, (size_t)got) : 0;
	size_t start;

	while (n > 0 && (said[n - 1] == '\n' || said[n - 1] == '\r'))
		n--;
	start = n > SAID_MAX ? n - SAID_MAX : 0;
	for (size_t i = start; i < n; i++)
		if (said[i] == '\n' || said[i] == '\r')
			said[i] = ' ';
	text_escape(dst, size, said + start, n - start);
	explicit_bzero(said, SAID_MASKED);
	free(said);
	return dst;
}

void
tunnel_explain(struct tunnel *tunnel, struct err *err)
{
	bool ended = wait_for_end(tunnel, EXPLAIN_GRACE);
	struct spawn_result result = {.status = tunnel->status};
	char how[64] = "", said[4 * SAID_MAX + 1], text[ERR_TEXT_MAX];

	last_words(tunnel, said, sizeof(said));
	if (ended)
		spawn_describe(&result, how, sizeof(how));
	if (!ended && said[0] == '\0')
		return;
	strlcpy(text, err->text, sizeof(text));
	err_set(err, err->class, "%s (the tunnel%s%s%s%s)", text,
	    ended ? " " : "", how, said[0] != '\0' ? ": " : "", said);
	/* sh(1): found and not executable, not found */
	if (ended && WIFEXITED(tunnel->status) &&
	    (WEXITSTATUS(tunnel->status) == 126 ||
		WEXITSTATUS(tunnel->status) == 127))
		err->class = ERR_CONFIG;
}

void
tunnel_close(struct tunnel *tunnel)
{
	int64_t patience = GRACE;

	if (tunnel == NULL)
		return;
	if (wait_stop_signal() != 0) {
		wait_grace(2 * (int64_t)STOP_GRACE);
		patience = STOP_GRACE;
	}
	if (!wait_for_end(tunnel, patience)) {
		kill(-tunnel->pid, SIGTERM);
		wait_for_end(tunnel, patience);
	}
	/* Whatever is left of its process group goes with it. */
	kill(-tunnel->pid, SIGKILL);
	if (!tunnel->ended)
		waitpid(tunnel->pid, &tunnel->status, 0);
	close(tunnel->errors);
	free(tunnel);
}
