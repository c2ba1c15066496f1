/* SPDX-License-Identifier: ISC */
#include "base/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tap.h"

static bool
can_write(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT, 0600);

	if (fd != -1)
		close(fd);
	return fd != -1;
}

static bool
can_read(const char *path)
{
	int fd = open(path, O_RDONLY);

	if (fd != -1)
		close(fd);
	return fd != -1;
}

static bool
can_run(const char *path)
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		execl(path, path, (char *)NULL);
		_exit(1);
	}
	return waitpid(pid, &status, 0) == pid && status == 0;
}

/* Each step is a bit of the exit status: what is allowed that should not be,
 * or the other way round. */
static int
try_all(enum sandbox_level level)
{
	static const char *const directories[] = {"inside", "missing"};
	int wrong = 0;

	if (!sandbox_enter(level, directories, 2))
		return 128;
	wrong |= can_write("outside/new") ? 1 : 0;
	wrong |= can_write("outside/old") ? 2 : 0;
	wrong |= unlink("outside/old") == 0 ? 4 : 0;
	wrong |= rename("inside/old", "outside/there") == 0 ? 8 : 0;
	wrong |= can_write("inside/tmp/new") ? 0 : 16;
	wrong |= rename("inside/tmp/new", "inside/new/new") == 0 ? 0 : 32;
	wrong |= can_read("outside/old") == (level == SANDBOX_WRITES) ? 0 : 64;
	wrong |= can_read("inside/old") ? 0 : 64;
	wrong |= can_run("/bin/true") == (level == SANDBOX_WRITES) ? 0 : 64;
	return wrong;
}

static void
test_level(enum sandbox_level level, const char *name)
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0)
		_exit(try_all(level));
	waitpid(pid, &status, 0);
	if (WEXITSTATUS(status) == 128)
		printf("ok # skip nothing of the kind on this system\n");
	else
		tap_ok(status == 0, "%s: %d", name, WEXITSTATUS(status));
}

int
main(void)
{
	char dir[] = "/tmp/test-sandbox.XXXXXX", command[64];

	if (mkdtemp(dir) == NULL || chdir(dir) == -1)
		return 1;
	mkdir("inside", 0700);
	mkdir("inside/tmp", 0700);
	mkdir("inside/new", 0700);
	mkdir("outside", 0700);
	tap_ok(can_write("inside/old") && can_write("outside/old"),
	    "free at first");
	test_level(SANDBOX_WRITES, "writes only inside, reads everywhere");
	test_level(SANDBOX_ALL, "reads, writes and programs only inside");
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	tap_ok(system(command) == 0, "cleaned up");
	return tap_done();
}
