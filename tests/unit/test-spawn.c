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
	test_no_start();
	spawn_result_free(&result);
	return tap_done();
}
