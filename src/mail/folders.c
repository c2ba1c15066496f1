/* SPDX-License-Identifier: ISC */
#include "mail/folders.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"
#include "mail/owner.h"

/* The path is not to fill all the room that a place and a word leave. */
#define PATH_LIMIT (DELIVER_WHERE_MAX - 64)

const char *const folders_names[N_FOLDERS] = {"tmp", "new", "cur"};

/* -- names -- */

/* What Maildir practice makes of "/" and ":", for all that is not plain. */
void
folders_host(char dst[FOLDERS_HOST_MAX])
{
	char host[OWNER_HOST_MAX];
	size_t used = 0;

	owner_host(host);
	for (const char *s = host; *s != '\0' && used + 5 < FOLDERS_HOST_MAX;
	     s++) {
		unsigned char c = (unsigned char)*s;

		if (c < 0x80 && (isalnum(c) || strchr("._-", c) != NULL))
			dst[used++] = *s;
		else
			used += (size_t)snprintf(dst + used, 5, "\\%03o", c);
	}
	dst[used] = '\0';
}

/* The letter and the number behind it. */
static bool
take_number(const char **s, char letter, uint64_t *value)
{
	size_t digits;

	if (letter != '\0' && *(*s)++ != letter)
		return false;
	digits = strspn(*s, "0123456789");
	if (!text_to_number(*s, digits, UINT64_MAX, value))
		return false;
	*s += digits;
	return true;
}

static bool
take_tag(const char **s, const char **tag)
{
	if (**s != 'U' || strspn(*s + 1, "0123456789abcdef") != FOLDERS_TAG_LEN)
		return false;
	*tag = *s + 1;
	*s += 1 + FOLDERS_TAG_LEN;
	return true;
}

/* False for all that poplar did not name. */
bool
folders_parse_name(const char *string, struct folders_name *name)
{
	const char *s = string;
	uint64_t ignored;

	if (!take_number(&s, '\0', &name->seconds) || *s++ != '.' ||
	    !take_number(&s, 'M', &ignored) ||
	    !take_number(&s, 'P', &name->pid) ||
	    !take_number(&s, 'Q', &ignored) || !take_tag(&s, &name->tag) ||
	    *s++ != '.')
		return false;
	name->host = s;
	name->host_len = strcspn(s, ",:");
	s += name->host_len;
	name->base = (size_t)(s - string);
	name->has_sizes = strncmp(s, ",S=", 3) == 0;
	if (!name->has_sizes)
		return name->host_len > 0;
	s += 2;
	name->has_sizes =
	    take_number(&s, '=', &name->size) && strncmp(s, ",W=", 3) == 0;
	s += name->has_sizes ? 2 : 0;
	/* What mail readers put behind it begins with one of many marks: ":" or
	 * ";" or "!" before flags, "," before what else they want to know. */
	name->has_sizes = name->has_sizes && take_number(&s, '=', &name->wire);
	return name->host_len > 0;
}

/* -- the directories -- */

void
folders_close(struct folders *folders)
{
	if (folders->root != -1)
		close(folders->root);
	for (size_t i = 0; i < N_FOLDERS; i++)
		if (folders->fds[i] != -1)
			close(folders->fds[i]);
	free(folders->path);
}

int
folders_sync(
    const struct folders *folders, int fd, const char *name, struct err *err)
{
	if (fsync(fd) == -1)
		return err_set_errno(err, ERR_IO,
		    "cannot flush directory %s%s%s", folders->path,
		    name[0] != '\0' ? "/" : "", name);
	return 0;
}

/* Where the parent may not be opened, its directory can only be flushed with
 * the rest of the file system, if at all. */
static int
sync_parent(const char *path, int fd, struct err *err)
{
	if (file_sync_parent(path, err) == 0)
		return 0;
	if (err->class != ERR_CANTCREAT)
		return -1;
#ifdef __linux__
	if (syncfs(fd) == -1)
		return err_set_errno(err, ERR_IO, "cannot flush %s", path);
#else
	(void)fd;
#endif
	return 0;
}

static int
gone(const char *path, time_t delivered, struct err *err)
{
	char date[32] = "an earlier day";
	struct tm tm;

	if (delivered != FOLDERS_SOME_DAY &&
	    localtime_r(&delivered, &tm) != NULL)
		strftime(date, sizeof(date), "%Y-%m-%d", &tm);
	err_set(err, ERR_CANTCREAT,
	    "there is no Maildir %s: it was here on %s; is the disk mounted?",
	    path, date);
	return err_hint(err,
	    "if it is gone for good, make it anew: mkdir -p "
	    "%s/tmp %s/new %s/cur",
	    path, path, path);
}

/* Slashes at the end would hide the parent. */
static char *
trim_path(const char *target)
{
	char *path = mem_dup(target);
	size_t n = strlen(path);

	while (n > 1 && path[n - 1] == '/')
		path[--n] = '\0';
	return path;
}

static int
check_parent(const char *path, struct err *err)
{
	char *parent = file_parent(path);
	struct stat st;
	int status = 0;

	if (stat(parent, &st) == -1)
		status = err_set_errno(err, ERR_CANTCREAT,
		    "cannot make Maildir %s in %s", path, parent);
	else if (access(parent, W_OK | X_OK) == -1)
		status = err_set_errno(
		    err, ERR_CANTCREAT, "cannot make Maildir %s", path);
	free(parent);
	return status;
}

static int
make_root(const char *path, struct err *err)
{
	if (check_parent(path, err) == -1)
		return -1;
	if (mkdir(path, 0700) == -1 && errno != EEXIST)
		return err_set_errno(err, err_class_of_errno(errno),
		    "cannot make Maildir %s", path);
	return 0;
}

/* What is to be made there may appear at any time: another worker's doing. */
static bool
is_own_entry(const char *name)
{
	static const char *const own[] = {".", "..", "tmp", "new", "cur"};

	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		if (strcmp(name, own[i]) == 0)
			return true;
	return false;
}

/* Nothing may be in it but what is to be made there. */
static int
check_empty(const struct folders *folders, struct err *err)
{
	int fd = openat(folders->root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd != -1 ? fdopendir(fd) : NULL;
	const struct dirent *entry;
	bool empty = true;

	if (dir == NULL) {
		err_set_errno(err, err_class_of_errno(errno),
		    "cannot read directory %s", folders->path);
		if (fd != -1)
			close(fd);
		return -1;
	}
	while (empty && (entry = readdir(dir)) != NULL)
		empty = is_own_entry(entry->d_name);
	closedir(dir);
	if (empty)
		return 0;
	return err_set(err, ERR_CANTCREAT,
	    "%s is no Maildir: it holds other files, and no tmp, new and cur",
	    folders->path);
}

/* How many of the three are there; a failure for what is in their way. */
static int
count_folders(const struct folders *folders, struct err *err)
{
	struct stat st;
	int n = 0;

	for (size_t i = 0; i < N_FOLDERS; i++) {
		if (fstatat(folders->root, folders_names[i], &st, 0) == 0) {
			n++;
			errno = ENOTDIR;
			if (S_ISDIR(st.st_mode))
				continue;
		} else if (errno == ENOENT)
			continue;
		return err_set_errno(err, err_class_of_errno(errno),
		    "cannot use %s/%s", folders->path, folders_names[i]);
	}
	return n;
}

static int
make_folders(const struct folders *folders, struct err *err)
{
	for (size_t i = 0; i < N_FOLDERS; i++)
		if (mkdirat(folders->root, folders_names[i], 0700) == -1 &&
		    errno != EEXIST)
			return err_set_errno(err, err_class_of_errno(errno),
			    "cannot make directory %s/%s", folders->path,
			    folders_names[i]);
	return folders_sync(folders, folders->root, "", err);
}

static int
open_folders(struct folders *folders, struct err *err)
{
	for (size_t i = 0; i < N_FOLDERS; i++) {
		folders->fds[i] = openat(folders->root, folders_names[i],
		    O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (folders->fds[i] == -1)
			return err_set_errno(err, err_class_of_errno(errno),
			    "cannot open directory %s/%s", folders->path,
			    folders_names[i]);
		if (i != FOLDER_CUR &&
		    faccessat(
			folders->root, folders_names[i], W_OK | X_OK, 0) == -1)
			return err_set_errno(err, err_class_of_errno(errno),
			    "cannot write to %s/%s", folders->path,
			    folders_names[i]);
	}
	return 0;
}

/* The root is open: see that it is a Maildir, or make it one. */
static int
furnish(struct folders *folders, const struct deliver_params *params,
    struct err *err)
{
	int n = count_folders(folders, err);

	if (n == -1)
		return -1;
	if (n == 0 && check_empty(folders, err) == -1)
		return -1;
	if (n == 0 && params->delivered != 0)
		return gone(folders->path, params->delivered, err);
	if (n < N_FOLDERS && params->look_only)
		return 0;
	if (n < N_FOLDERS && make_folders(folders, err) == -1)
		return -1;
	return open_folders(folders, err);
}

/* A run before this one may have made it and died before it was durable. */
static int
sync_made(struct folders *folders, const struct deliver_params *params,
    struct err *err)
{
	if (params->delivered != 0 || params->look_only)
		return 0;
	if (folders_sync(folders, folders->root, "", err) == -1)
		return -1;
	return sync_parent(folders->path, folders->root, err);
}

static int
find_root(struct folders *folders, const struct deliver_params *params,
    const char *path, struct err *err)
{
	const int flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;

	folders->root = open(path, flags);
	if (folders->root == -1 && errno == ENOENT) {
		if (params->delivered != 0)
			return gone(path, params->delivered, err);
		if (params->look_only)
			return check_parent(path, err);
		if (make_root(path, err) == -1)
			return -1;
		folders->root = open(path, flags);
	}
	if (folders->root == -1)
		return err_set_errno(err, err_class_of_errno(errno),
		    "cannot open Maildir %s", path);
	folders->path = realpath(path, NULL);
	if (folders->path == NULL)
		return err_set_errno(err, err_class_of_errno(errno),
		    "cannot find the way to %s", path);
	if (strlen(folders->path) > PATH_LIMIT ||
	    strpbrk(folders->path, "\r\n") != NULL)
		return err_set(err, ERR_CONFIG,
		    "the path of the Maildir is too long or has a line end");
	return 0;
}

int
folders_open(struct folders *folders, const struct deliver_params *params,
    struct err *err)
{
	char *path = trim_path(params->target);
	int status;

	*folders = (struct folders){.root = -1, .fds = {-1, -1, -1}};
	status = find_root(folders, params, path, err);
	if (status == 0 && folders->root != -1)
		status = furnish(folders, params, err);
	if (status == 0 && folders->root != -1)
		status = sync_made(folders, params, err);
	free(path);
	if (status == -1)
		folders_close(folders);
	return status;
}

int
folders_visit(const struct folders *folders, int folder, folders_visitor *visit,
    void *context, struct err *err)
{
	int fd = openat(folders->root, folders_names[folder],
	    O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd != -1 ? fdopendir(fd) : NULL;
	const struct dirent *entry;
	struct folders_name name;
	int error;

	if (dir == NULL) {
		err_set_errno(err, err_class_of_errno(errno),
		    "cannot read directory %s/%s", folders->path,
		    folders_names[folder]);
		if (fd != -1)
			close(fd);
		return -1;
	}
	while (errno = 0, (entry = readdir(dir)) != NULL)
		if (folders_parse_name(entry->d_name, &name))
			visit(context, entry->d_name, &name);
	error = errno;
	closedir(dir);
	errno = error;
	if (error != 0)
		return err_set_errno(err, ERR_IO, "cannot read directory %s/%s",
		    folders->path, folders_names[folder]);
	return 0;
}
