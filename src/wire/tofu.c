/* SPDX-License-Identifier: ISC */
#include "wire/tofu.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/text.h"

#define FILE_SIZE_MAX (1024 * 1024)
#define PATH_SHOWN_MAX 256
#define SERVER_MAX 1024

static int
fail(const char *file, const char *why, enum err_class class, struct err *err)
{
	char name[PATH_SHOWN_MAX];

	return err_set(err, class, "server keys %s: %s",
	    text_escape(name, sizeof(name), file, strlen(file)), why);
}

static int
read_all(int fd, const char *file, struct buf *text, struct err *err)
{
	ssize_t n = 1;

	while (n != 0) {
		n = read(fd, buf_room(text, 4096), 4096);
		if (n == -1 && errno != EINTR)
			return fail(file, strerror(errno), ERR_IO, err);
		if (n > 0)
			text->len += (size_t)n;
		if (text->len > FILE_SIZE_MAX)
			return fail(file, "larger than 1 MiB", ERR_CONFIG, err);
	}
	return 0;
}

/* "SERVER KEY DATE"; whose is it? */
static bool
parse_line(const char *line, size_t n, char server[SERVER_MAX],
    struct tofu_known *known)
{
	char copy[SERVER_MAX + sizeof(*known) + 2], *rest = copy;
	const char *words[3];

	if (n >= sizeof(copy) || memchr(line, '\0', n) != NULL)
		return false;
	memcpy(copy, line, n);
	copy[n] = '\0';
	for (size_t i = 0; i < 3; i++) {
		words[i] = strsep(&rest, " ");
		if (words[i] == NULL || words[i][0] == '\0')
			return false;
	}
	return rest == NULL && strncmp(words[1], "sha256/", 7) == 0 &&
	    strlcpy(server, words[0], SERVER_MAX) < SERVER_MAX &&
	    strlcpy(known->key, words[1], sizeof(known->key)) ==
	    sizeof(known->key) - 1 &&
	    strlcpy(known->since, words[2], sizeof(known->since)) <
	    sizeof(known->since);
}

/*
 * Any of the server's lines will do.  The last one need not end: an editor may
 * have left it so, and whoever cut it off must not get the server trusted anew.
 * Only one that was torn before its date does not count.
 */
static enum tofu_answer
look_through(const struct buf *text, const char *file, const char *server,
    const char *key, struct tofu_known *known, struct err *err)
{
	enum tofu_answer answer = TOFU_UNKNOWN;
	const char *at = text->data, *end = at + text->len, *lf;
	struct tofu_known one;
	char whose[SERVER_MAX], why[64];
	size_t n;

	for (unsigned int line = 1; at < end; line++, at += n + (lf != NULL)) {
		lf = memchr(at, '\n', (size_t)(end - at));
		n = (size_t)((lf != NULL ? lf : end) - at);
		if (n == 0 || at[0] == '#')
			continue;
		if (!parse_line(at, n, whose, &one)) {
			if (lf == NULL)
				break;
			snprintf(why, sizeof(why),
			    "line %u is no server, key and date", line);
			fail(file, why, ERR_CONFIG, err);
			return TOFU_FAILED;
		}
		if (strcmp(whose, server) != 0)
			continue;
		if (strcmp(one.key, key) == 0)
			return TOFU_SAME;
		*known = one;
		answer = TOFU_OTHER;
	}
	return answer;
}

enum tofu_answer
tofu_ask(const char *file, const char *server, const char *key,
    struct tofu_known *known, struct err *err)
{
	enum tofu_answer answer = TOFU_FAILED;
	struct buf text = {0};
	int fd;

	if (access(file, F_OK) == -1 && errno == ENOENT)
		return TOFU_UNKNOWN;
	fd = file_open(file, O_RDONLY, 0, err);
	if (fd == -1)
		return TOFU_FAILED;
	if (read_all(fd, file, &text, err) == 0)
		answer = look_through(&text, file, server, key, known, err);
	close(fd);
	buf_free(&text);
	return answer;
}

/* Does the last line, which has no end, still say something? */
static bool
is_worth_an_end(const char *line, size_t n)
{
	struct tofu_known known;
	char whose[SERVER_MAX];

	return line[0] == '#' || parse_line(line, n, whose, &known);
}

/* What a crash has left of a line was never believed, nor is it now. */
static int
end_last_line(int fd, const char *file, struct err *err)
{
	struct buf text = {0};
	size_t whole;
	int status = read_all(fd, file, &text, err);

	for (whole = text.len; whole > 0 && text.data[whole - 1] != '\n';)
		whole--;
	if (status == 0 && whole < text.len) {
		if (is_worth_an_end(text.data + whole, text.len - whole))
			status = file_write_named(fd, "\n", 1, file, err);
		else if (ftruncate(fd, (off_t)whole) == -1)
			status = fail(file, strerror(errno), ERR_IO, err);
	}
	buf_free(&text);
	return status;
}

int
tofu_remember(
    const char *file, const char *server, const char *key, struct err *err)
{
	time_t now = time(NULL);
	struct buf line = {0};
	char date[16] = "-";
	struct tm tm;
	int fd, status;

	fd = file_open(file, O_RDWR | O_CREAT | O_APPEND, 0600, err);
	if (fd == -1)
		return -1;
	if (gmtime_r(&now, &tm) != NULL)
		strftime(date, sizeof(date), "%Y-%m-%d", &tm);
	buf_printf(&line, "%s %s %s\n", server, key, date);
	status = end_last_line(fd, file, err);
	if (status == 0)
		status = file_write_named(fd, line.data, line.len, file, err);
	if (status == 0)
		status = file_sync(fd, file, err);
	if (status == 0)
		status = file_sync_parent(file, err);
	buf_free(&line);
	close(fd);
	return status;
}
