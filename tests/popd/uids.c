/* SPDX-License-Identifier: ISC */
/* The file .uids of a mailbox directory: "NAME UID" lines, UID with %NN. */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text.h"
#include "uids.h"

struct pair {
	char *name;
	char *uid; /* in the same memory */
	size_t uid_len;
};

struct uids {
	struct pair *list;
	size_t count;
};

static int
by_name(const void *a, const void *b)
{
	const struct pair *left = a, *right = b;

	return strcmp(left->name, right->name);
}

static void
add(struct uids *u, const char *line)
{
	struct pair p = {.name = text_copy(line)};
	ssize_t len;

	p.name[strcspn(p.name, "\n")] = '\0';
	p.uid = p.name + strcspn(p.name, " ");
	if (*p.uid == ' ')
		*p.uid++ = '\0';
	if ((len = text_unpercent(p.uid)) == -1)
		errx(1, ".uids: %s: bad %% escape", p.name);
	p.uid_len = (size_t)len;
	u->list = text_grow(u->list, u->count + 1, sizeof(*u->list));
	u->list[u->count++] = p;
}

struct uids *
uids_load(int dir)
{
	struct uids *u = text_alloc(1, sizeof(*u));
	int fd = openat(dir, ".uids", O_RDONLY | O_CLOEXEC);
	char *line = NULL;
	size_t size = 0;
	FILE *f;

	if (fd == -1 && errno == ENOENT)
		return u;
	if (fd == -1 || (f = fdopen(fd, "r")) == NULL)
		err(1, ".uids");
	while (getline(&line, &size, f) != -1)
		if (line[0] != '\n' && line[0] != '#')
			add(u, line);
	free(line);
	fclose(f);
	if (u->count > 0)
		qsort(u->list, u->count, sizeof(*u->list), by_name);
	return u;
}

void
uids_free(struct uids *u)
{
	for (size_t i = 0; i < u->count; i++)
		free(u->list[i].name);
	free(u->list);
	free(u);
}

char *
uids_find(const struct uids *u, const char *name, size_t *len)
{
	struct pair key = {.name = text_copy(name)};
	const struct pair *found = NULL;

	if (u->count > 0)
		found = bsearch(&key, u->list, u->count, sizeof(key), by_name);
	if (found == NULL) {
		*len = strlen(key.name);
		return key.name;
	}
	free(key.name);
	*len = found->uid_len;
	return memcpy(
	    text_alloc(found->uid_len + 1, 1), found->uid, found->uid_len);
}
