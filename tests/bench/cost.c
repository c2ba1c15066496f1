/* SPDX-License-Identifier: ISC */
/*
 * cost: run a command and tell what it cost.
 *
 *	cost SECONDS COMMAND ...
 *
 * The last line on standard output is "STATUS WALL CPU KIB": how it ended as
 * a shell says it (124: killed after so many seconds), seconds of time and of
 * processors, and the most memory that it or one of its children had.  A small
 * program has to do that: a child begins with the peak of its parent.
 */
#include <err.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <stdnoreturn.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t late;

static void
on_alarm(int signo)
{
	(void)signo;
	late = 1;
}

static double
now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static double
seconds(const struct timeval *time)
{
	return (double)time->tv_sec + (double)time->tv_usec / 1e6;
}

static noreturn void
run(char **argv)
{
	int null = open("/dev/null", O_RDWR);

	setpgid(0, 0);
	dup2(null, STDIN_FILENO);
	dup2(null, STDOUT_FILENO);
	execvp(argv[0], argv);
	err(127, "%s", argv[0]);
}

int
main(int argc, char **argv)
{
	const struct sigaction action = {.sa_handler = on_alarm};
	struct rusage usage = {0};
	int status = 0;
	double start;
	pid_t pid;

	if (argc < 3)
		return 64;
	sigaction(SIGALRM, &action, NULL);
	start = now();
	pid = fork();
	if (pid == -1)
		err(1, "fork");
	if (pid == 0)
		run(argv + 2);
	alarm((unsigned int)strtoul(argv[1], NULL, 10));
	while (wait4(pid, &status, 0, &usage) == -1)
		if (late)
			kill(-pid, SIGKILL);
	printf("%d %.6f %.6f %ld\n",
	    late		    ? 124
		: WIFEXITED(status) ? WEXITSTATUS(status)
				    : 128 + WTERMSIG(status),
	    now() - start, seconds(&usage.ru_utime) + seconds(&usage.ru_stime),
	    usage.ru_maxrss);
	return 0;
}
