/* SPDX-License-Identifier: ISC */
/* The record of all conversations: a line an event, one write each. */
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "log.h"
#include "text.h"

/* Opened once, before the first connection. */
static int log_fd = -1;

void
log_open(const char *path)
{
	int flags = O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC;

	if (path != NULL && (log_fd = open(path, flags, 0600)) == -1)
		err(1, "%s", path);
}

static void
write_line(int connection, const char *mark, const char *text)
{
	char *line;
	int len;

	if ((len = asprintf(&line, "%d %s%s\n", connection, mark, text)) == -1)
		err(1, "memory");
	if (write(log_fd, line, (size_t)len) != len)
		warn("log");
	free(line);
}

void
log_event(int connection, const char *event)
{
	if (log_fd != -1)
		write_line(connection, "", event);
}

void
log_line(int connection, const char *line, size_t len)
{
	char *text;

	if (log_fd == -1)
		return;
	text = text_escape(line, len);
	write_line(connection, "C: ", text);
	free(text);
}
