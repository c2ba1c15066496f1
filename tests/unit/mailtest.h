/* SPDX-License-Identifier: ISC */
/* What the tests of the delivery back ends have in common. */
#ifndef TESTS_UNIT_MAILTEST_H
#define TESTS_UNIT_MAILTEST_H

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/wait.h"
#include "mail/deliver.h"
#include "tap.h"

#define TAG "0123456789abcdef"

static char place_dir[64]; /* where the test may do as it likes */

__attribute__((unused)) static int
remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

__attribute__((unused)) static void
remove_tree(const char *path)
{
	nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

__attribute__((unused)) static void
enter_place(void)
{
	char template[] = "/tmp/poplar-test.XXXXXX";

	if (mkdtemp(template) == NULL || chdir(template) == -1 ||
	    getcwd(place_dir, sizeof(place_dir)) == NULL)
		exit(99);
	signal(SIGXFSZ, SIG_IGN);
	wait_open();
}

__attribute__((unused)) static int
leave_place(void)
{
	if (chdir("/") == 0)
		remove_tree(place_dir);
	return tap_done();
}

__attribute__((unused)) static void
put_file(const char *path, const char *data, size_t n)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	if (fd == -1 || write(fd, data, n) != (ssize_t)n)
		exit(98);
	close(fd);
}

__attribute__((unused)) static void
put_text(const char *path, const char *text)
{
	put_file(path, text, strlen(text));
}

/* All of a file; len stays 0 for a missing one. */
__attribute__((unused)) static struct buf
get_file(const char *path)
{
	struct buf content = {0};
	int fd = open(path, O_RDONLY);
	ssize_t n;

	while (fd != -1 && (n = read(fd, buf_room(&content, 65536), 65536)) > 0)
		content.len += (size_t)n;
	if (fd != -1)
		close(fd);
	return content;
}

__attribute__((unused)) static bool
file_is(const char *path, const char *data, size_t n)
{
	struct buf content = get_file(path);
	bool same =
	    content.len == n && (n == 0 || memcmp(content.data, data, n) == 0);

	buf_free(&content);
	return same;
}

/* How many files; the name of the last one in *name if that is not NULL. */
__attribute__((unused)) static int
count_files(const char *path, char *name)
{
	DIR *dir = opendir(path);
	const struct dirent *entry;
	int n = 0;

	while (dir != NULL && (entry = readdir(dir)) != NULL)
		if (entry->d_name[0] != '.') {
			n++;
			if (name != NULL)
				strlcpy(name, entry->d_name, NAME_MAX + 1);
		}
	if (dir != NULL)
		closedir(dir);
	return n;
}

/* begin, write in pieces, stage. */
__attribute__((unused)) static int
stage(struct deliver *deliver, const struct buf *message, size_t piece,
    char place[DELIVER_PLACE_MAX], struct err *err)
{
	const struct deliver_message about = {
	    .tag = deliver_wants_tag(deliver) ? TAG : NULL, .uid = "u%201"};
	const struct deliver_facts facts = {
	    .wire_octets = message->len + 7, .sender = "me@example.org"};
	int status = deliver_begin(deliver, &about, err);

	for (size_t at = 0; status == DELIVER_OK && at < message->len;) {
		size_t n =
		    message->len - at < piece ? message->len - at : piece;

		status = deliver_write(deliver, message->data + at, n, err);
		at += n;
	}
	return status == DELIVER_OK ? deliver_stage(deliver, &facts, place, err)
				    : status;
}

__attribute__((unused)) static int
stage_text(struct deliver *deliver, const char *text,
    char place[DELIVER_PLACE_MAX], struct err *err)
{
	struct buf message = {0};
	int status;

	buf_puts(&message, text);
	status = stage(deliver, &message, 4096, place, err);
	buf_free(&message);
	return status;
}

/* A process that has ended and was waited for: nobody has its pid. */
__attribute__((unused)) static pid_t
dead_pid(void)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	waitpid(pid, NULL, 0);
	return pid;
}

/* NUL, 8-bit, bare CR, From_ lines, a line of 1 MiB, no final newline. */
__attribute__((unused)) static void
make_odd_message(struct buf *message)
{
	static const char odd[] =
	    "Subject: odd\n\nFrom here\n>From there\n>>>From \nFromage\n"
	    "\0\xff\x80\r bare\r\n.\n..\n \nFrom\n>Fro";

	buf_append(message, odd, sizeof(odd) - 1);
	buf_puts(message, "\n");
	memset(buf_room(message, 1 << 20), 'x', 1 << 20);
	message->len += 1 << 20;
	buf_puts(message, "\nFrom");
}

#endif
