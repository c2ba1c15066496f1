/* SPDX-License-Identifier: ISC */
/* Passwords from descriptors that the program was started with. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/wait.h"
#include "run/secret.h"

#define TIMEOUT 60000 /* milliseconds */
#define SECRET_MAX 65536

/* What came from a descriptor; one of secret and why is NULL. */
struct reading {
	int fd;
	char *secret;
	const char *why;
};

static bool
is_complete(const struct buf *line)
{
	return memchr(line->data, '\n', line->len) != NULL ||
	    line->len == SECRET_MAX;
}

/* Up to the end of the line or the file.  Returns why not. */
static const char *
read_line(int fd, struct buf *line)
{
	int64_t until = wait_clock() + TIMEOUT;
	struct err err;
	ssize_t n = 1;

	/* Room at once: a buffer that grows leaves copies behind. */
	buf_room(line, SECRET_MAX);
	while (n > 0 && !is_complete(line)) {
		int ready = wait_for_fd(fd, POLLIN, until, &err);

		if (ready == -1)
			return "stopped while waiting";
		if (ready == 0 && wait_clock() >= until)
			return "nothing came within 60 seconds";
		if (ready == 0)
			continue;
		n = read(fd, line->data + line->len, SECRET_MAX - line->len);
		if (n == -1)
			return strerror(errno);
		line->len += (size_t)n;
	}
	return NULL;
}

static const char *
take_line(const struct buf *line, char **secret)
{
	const char *end = memchr(line->data, '\n', line->len);
	size_t n = end != NULL ? (size_t)(end - line->data) : line->len;

	if (n == 0)
		return "nothing came";
	if (n == SECRET_MAX)
		return "a line without end";
	if (memchr(line->data, '\0', n) != NULL)
		return "it holds a NUL";
	*secret = mem_zero(n + 1, 1);
	memcpy(*secret, line->data, n);
	return NULL;
}

static struct reading
read_descriptor(int fd)
{
	struct reading reading = {.fd = fd};
	struct buf line = {0};

	/* There it would be seen as it is typed. */
	if (isatty(fd))
		reading.why = "a terminal; without passwordfd it is asked for";
	else
		reading.why = read_line(fd, &line);
	if (reading.why == NULL)
		reading.why = take_line(&line, &reading.secret);
	buf_wipe(&line);
	if (fd > STDERR_FILENO)
		close(fd);
	return reading;
}

static const struct reading *
find_reading(struct reading *readings, size_t *n, int fd)
{
	for (size_t i = 0; i < *n; i++)
		if (readings[i].fd == fd)
			return &readings[i];
	readings[*n] = read_descriptor(fd);
	return &readings[(*n)++];
}

void
secret_read_descriptors(const struct conf *conf)
{
	struct reading *readings = mem_zero(conf->n, sizeof(*readings));
	size_t n = 0;

	for (size_t i = 0; i < conf->n; i++) {
		struct account *account = conf->accounts[i];
		const struct reading *reading;

		if (!account->passwordfd.given || account->password != NULL ||
		    account->passwordeval != NULL)
			continue;
		reading = find_reading(readings, &n, account->passwordfd.fd);
		account->passwordfd.why = reading->why;
		if (reading->secret != NULL)
			account->password = mem_dup(reading->secret);
	}
	for (size_t i = 0; i < n; i++)
		mem_free_secret(readings[i].secret);
	free(readings);
}
