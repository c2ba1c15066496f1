/* SPDX-License-Identifier: ISC */
#include "base/spawn.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/wait.h"
#include "tap.h"

static struct spawn_result result;

static int
run(const char *command, int64_t timeout)
{
	struct spawn spawn = {
	    .command = command,
	    .input = -1,
	    .timeout = timeout,
	    .output_max = 100,
	    .own_group = true,
	};
	struct err err;

	spawn_result_free(&result);
	return spawn_run(&spawn, &result, &err);
}

static void
test_ends(void)
{
	char how[64];

	tap_ok(run("exit 3", 10000) == 0 && WEXITSTATUS(result.status) == 3,
	    "the exit status");
	tap_is(spawn_describe(&result, how, sizeof(how)), "exited with 3",
	    "in words");
	tap_ok(run("kill -SEGV $$", 10000) == 0, "a signal");
	tap_is(spawn_describe(&result, how, sizeof(how)), "killed by SIGSEGV",
	    "in words");
	tap_ok(run("kill -35 $$", 10000) == 0, "a signal without a name");
	tap_is(spawn_describe(&result, how, sizeof(how)), "killed by signal 35",
	    "in words");
	tap_ok(run("exec sleep 100", 50) == 0 && result.timed_out,
	    "one that never ends");
	tap_is(spawn_describe(&result, how, sizeof(how)), "ran too long",
	    "in words");
	tap_ok(run("sleep 100 & echo done", 10000) == 0 &&
		strcmp(buf_string(&result.out), "done\n") == 0,
	    "a child that holds the pipe is not waited for");
}

static void
test_outputs(void)
{
	run("echo out; echo err >&2", 10000);
	tap_is(buf_string(&result.out), "out\n", "standard output");
	tap_is(buf_string(&result.err), "err\n", "standard error");
	run("yes | head -c 1000000", 10000);
	tap_ok(result.out.len == 100 && result.status == 0,
	    "no more is kept than allowed, and nobody blocks");
}

static void
test_surroundings(void)
{
	static const char *const env[] = {"SPAWN_TEST=ours", NULL};
	struct spawn spawn = {
	    .command = "echo $SPAWN_TEST; ls /proc/self/fd | wc -l; "
		       "trap - PIPE; kill -PIPE $$; echo not reached",
	    .input = -1,
	    .env = env,
	    .timeout = 10000,
	    .output_max = 100,
	};
	struct err err;
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	setenv("SPAWN_TEST", "theirs", 1);
	spawn_result_free(&result);
	spawn_run(&spawn, &result, &err);
	/* 0 to 2 and the one that ls reads. */
	tap_is(buf_string(&result.out), "ours\n4\n",
	    "our variables, no descriptors of ours");
	tap_ok(WIFSIGNALED(result.status) && WTERMSIG(result.status) == SIGPIPE,
	    "default signals");
	close(fd);
}

/* -- held back -- */

static const char *const names[] = {"SPAWN_A", "SPAWN_B", NULL};

static struct spawn_held *
hold(const char *command, int input)
{
	const struct spawn spawn = {
	    .command = command,
	    .input = input,
	    .output_max = 1000,
	    .own_group = true,
	};
	struct err err;

	return spawn_hold(&spawn, names, &err);
}

static void
run_held(const char *command)
{
	static const char *const values[] = {"\\a b\\ ", "", NULL};
	struct spawn_held *held = hold(command, -1);
	struct err err;

	spawn_result_free(&result);
	spawn_let_go(held, values);
	spawn_wait(held, 10000, &result, &err);
}

/* A command that is held back is like any other. */
static void
test_held(void)
{
	static const char *const wrong[] = {"no-such-program",
	    "echo 'unfinished", "exit 3", "kill -9 $$",
	    "false || { echo x >&2; exit 75; }", ": # nothing", "! true"};

	run_held("env | grep ^SPAWN_ | sort; echo \"$0 $#\"; "
		 "ls /proc/self/fd | wc -l");
	tap_is(buf_string(&result.out),
	    "SPAWN_A=\\a b\\ \nSPAWN_B=\nSPAWN_TEST=theirs\nsh 0\n4\n",
	    "let go, with its variables and no descriptor more");
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		char *said;
		int status;

		run_held(wrong[i]);
		status = result.status;
		said = strdup(buf_string(&result.err));
		run(wrong[i], 10000);
		tap_ok(status == result.status, "the same end: %s", wrong[i]);
		tap_is(said, buf_string(&result.err), "in the same words");
		free(said);
	}
}

/* Until the shell, which has the other end as its input, has ended. */
static bool
is_over(int end)
{
	int64_t until = wait_clock() + 10000;
	struct err err;
	char byte;

	/* A child that ends interrupts it. */
	while (wait_clock() < until)
		if (wait_for_fd(end, POLLIN, until, &err) == 1)
			return read(end, &byte, 1) == 0;
	return false;
}

static void
test_never_let_go(void)
{
	int ends[2];
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC) == -1)
		return;
	pid = fork();
	if (pid == 0) {
		hold("echo begun >&0", ends[1]);
		raise(SIGKILL);
	}
	close(ends[1]);
	waitpid(pid, NULL, 0);
	tap_ok(is_over(ends[0]), "held by one that is killed");
	close(ends[0]);
	if (pipe2(ends, O_CLOEXEC) == -1)
		return;
	spawn_drop(hold("echo begun >&0", ends[1]));
	close(ends[1]);
	tap_ok(is_over(ends[0]), "dropped");
	tap_ok(waitpid(-1, NULL, WNOHANG) == -1, "and gone");
	close(ends[0]);
	spawn_drop(NULL);
}

/* Longer than any argument may be. */
static void
test_no_start(void)
{
	size_t n = (size_t)4 << 20;
	char *command = malloc(n + 1);
	int before = dup(STDIN_FILENO), after;

	memset(command, ':', n);
	command[n] = '\0';
	close(before);
	tap_ok(run(command, 10000) == -1, "one that cannot be started");
	after = dup(STDIN_FILENO);
	tap_ok(after == before, "leaves no descriptor behind");
	close(after);
	free(command);
}

int
main(void)
{
	closefrom(STDERR_FILENO + 1);
	wait_open();
	test_ends();
	test_outputs();
	test_surroundings();
	test_held();
	test_never_let_go();
	test_no_start();
	spawn_result_free(&result);
	return tap_done();
}
