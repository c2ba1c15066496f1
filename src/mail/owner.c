/* SPDX-License-Identifier: ISC */
#include "mail/owner.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void
owner_host(char host[OWNER_HOST_MAX])
{
	if (gethostname(host, OWNER_HOST_MAX) == -1 || host[0] == '\0')
		strlcpy(host, "localhost", OWNER_HOST_MAX);
	host[OWNER_HOST_MAX - 1] = '\0';
}

/* "PID (COMMAND) Z ..." in its /proc/PID/stat; COMMAND may hold anything. */
static bool
is_zombie(uint64_t pid)
{
#ifdef __linux__
	char path[64], text[256];
	const char *paren;
	ssize_t n;
	int fd;

	snprintf(
	    path, sizeof(path), "/proc/%llu/stat", (unsigned long long)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd == -1)
		return false;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	text[n > 0 ? n : 0] = '\0';
	paren = strrchr(text, ')');
	return paren != NULL &&
	    (strncmp(paren, ") Z", 3) == 0 || strncmp(paren, ") X", 3) == 0);
#else
	(void)pid;
	return false;
#endif
}

bool
owner_is_gone(uint64_t pid)
{
	if (pid == 0 || pid > INT_MAX)
		return false;
	if (pid == (uint64_t)getpid())
		return true;
	if (kill((pid_t)pid, 0) == -1)
		return errno == ESRCH;
	return is_zombie(pid);
}
