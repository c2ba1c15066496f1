/* SPDX-License-Identifier: ISC */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

#define DESCRIPTORS 4096 /* that anybody may have left open */

int
file_write(int fd, const void *data, size_t n)
{
	const char *from = data;

	while (n > 0) {
		ssize_t done = write(fd, from, n);

		if (done == -1 && errno == EINTR)
			continue;
		if (done == -1)
			return -1;
		from += done;
		n -= (size_t)done;
	}
	return 0;
}

int
file_pwrite(int fd, const void *data, size_t n, off_t at)
{
	const char *from = data;

	while (n > 0) {
		ssize_t done = pwrite(fd, from, n, at);

		if (done == -1 && errno == EINTR)
			continue;
		if (done == -1)
			return -1;
		from += done;
		at += done;
		n -= (size_t)done;
	}
	return 0;
}

void
file_start_write_out(int fd, uint64_t at, uint64_t n)
{
#ifdef __linux__
	sync_file_range(fd, (off_t)at, (off_t)n, SYNC_FILE_RANGE_WRITE);
#else
	(void)fd;
	(void)at;
	(void)n;
#endif
}

int
file_write_named(
    int fd, const void *data, size_t n, const char *path, struct err *err)
{
	if (file_write(fd, data, n) == -1)
		return err_set_errno(err, ERR_IO, "cannot write %s", path);
	return 0;
}

int
file_sync(int fd, const char *path, struct err *err)
{
	if (fdatasync(fd) == -1)
		return err_set_errno(err, ERR_IO, "cannot flush %s", path);
	return 0;
}

char *
file_parent(const char *path)
{
	const char *slash = strrchr(path, '/');

	if (slash == NULL)
		return mem_dup(".");
	if (slash == path)
		return mem_dup("/");
	return mem_printf("%.*s", (int)(slash - path), path);
}

char *
file_resolve(const char *path)
{
	char *real = realpath(path, NULL), *parent, *dir;
	const char *slash = strrchr(path, '/');

	if (real != NULL || errno != ENOENT)
		return real;
	parent = file_parent(path);
	dir = realpath(parent, NULL);
	free(parent);
	if (dir == NULL)
		return NULL;
	real = mem_printf("%s/%s", strcmp(dir, "/") == 0 ? "" : dir,
	    slash != NULL ? slash + 1 : path);
	free(dir);
	return real;
}

static int
sync_dir(const char *dir, struct err *err)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), status;

	if (fd == -1)
		return err_set_errno(err, err_class_of_errno(errno),
		    "cannot open directory %s", dir);
	status = fsync(fd);
	if (status == -1)
		err_set_errno(err, ERR_IO, "cannot flush directory %s", dir);
	close(fd);
	return status;
}

int
file_sync_parent(const char *path, struct err *err)
{
	char *parent = file_parent(path);
	int status = sync_dir(parent, err);

	free(parent);
	return status;
}

int
file_make_parents(const char *path, struct err *err)
{
	char *parent = file_parent(path);
	struct stat st;
	int status = 0;

	if (stat(parent, &st) == -1) {
		if (errno != ENOENT)
			status = err_set_errno(err, err_class_of_errno(errno),
			    "cannot look at directory %s", parent);
		if (status == 0)
			status = file_make_parents(parent, err);
		if (status == 0 && mkdir(parent, 0700) == -1 && errno != EEXIST)
			status = err_set_errno(err, err_class_of_errno(errno),
			    "cannot make directory %s", parent);
		if (status == 0)
			status = file_sync_parent(parent, err);
	}
	free(parent);
	return status;
}

int
file_open(const char *path, int flags, mode_t mode, struct err *err)
{
	int fd = open(path, flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, mode);
	struct stat st;

	if (fd == -1)
		return err_set_errno(
		    err, err_class_of_errno(errno), "cannot open %s", path);
	if (fstat(fd, &st) == -1)
		err_set_errno(err, ERR_IO, "cannot look at %s", path);
	else if (!S_ISREG(st.st_mode))
		err_set(err, ERR_CANTCREAT, "%s is not a regular file", path);
	else
		return fd;
	close(fd);
	return -1;
}

void
file_keep_from(int first)
{
#ifdef CLOSE_RANGE_CLOEXEC
	if (close_range((unsigned int)first, ~0U, CLOSE_RANGE_CLOEXEC) == 0)
		return;
#endif
	for (int fd = first; fd < DESCRIPTORS; fd++)
		fcntl(fd, F_SETFD, FD_CLOEXEC);
}

static const char *
temporary_dir(void)
{
	const char *dir = getenv("TMPDIR");

	return dir != NULL && dir[0] != '\0' ? dir : "/var/tmp";
}

int
file_unnamed_failed(const char *verb, struct err *err)
{
	return err_set_errno(err, err_class_of_errno(errno),
	    "cannot %s a temporary file in %s", verb, temporary_dir());
}

int
file_unnamed(struct err *err)
{
	const char *dir = temporary_dir();
	char *name;
	int fd = -1;

#ifdef O_TMPFILE
	fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd != -1)
		return fd;
#endif
	name = mem_printf("%s/poplar.XXXXXXXXXX", dir);
	fd = mkostemp(name, O_CLOEXEC);
	if (fd == -1)
		file_unnamed_failed("make", err);
	else
		unlink(name);
	free(name);
	return fd;
}

static const char *
home(void)
{
	const char *dir = getenv("HOME");
	struct passwd *entry;

	if (dir != NULL && dir[0] != '\0')
		return dir;
	entry = getpwuid(getuid());
	return entry != NULL ? entry->pw_dir : "/";
}

char *
file_expand_home(const char *path)
{
	if (path[0] == '~' && (path[1] == '/' || path[1] == '\0'))
		return mem_printf("%s%s", home(), path + 1);
	return mem_dup(path);
}
