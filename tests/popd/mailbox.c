/* SPDX-License-Identifier: ISC */
/* What is to be had: a directory of files, or messages made up. */
#include <sys/stat.h>

#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "body.h"
#include "mailbox.h"
#include "synthetic.h"
#include "text.h"
#include "uids.h"

struct store {
	const struct options *options;
	struct synthetic *synthetic; /* or NULL */
	int dir;		     /* or -1 */
	pthread_mutex_t mutex;	     /* for what follows */
	struct mailbox known;	     /* sizes that were found out before */
	bool *gone;		     /* deleted messages of synthetic */
};

struct store *
store_open(const struct options *o)
{
	struct store *s = text_alloc(1, sizeof(*s));

	s->options = o;
	s->dir = -1;
	pthread_mutex_init(&s->mutex, NULL);
	if (o->synthetic_count >= 0) {
		s->synthetic = synthetic_new(o->synthetic_size);
		s->gone =
		    text_alloc((size_t)o->synthetic_count, sizeof(*s->gone));
	} else {
		s->dir = open(o->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (s->dir == -1)
			err(1, "%s", o->dir);
	}
	return s;
}

static int
by_name(const void *a, const void *b)
{
	const struct message *left = a, *right = b;

	return strcmp(left->name, right->name);
}

static struct message *
add_message(struct mailbox *m)
{
	if ((m->count & (m->count + 1)) == 0)
		m->list =
		    text_grow(m->list, 2 * m->count + 2, sizeof(*m->list));
	m->list[m->count] = (struct message){0};
	return &m->list[m->count++];
}

/* Files whose names do not begin with a dot, sorted. */
static bool
read_names(const struct store *s, struct mailbox *m)
{
	int fd = openat(s->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct dirent *entry;
	DIR *dir;

	if (fd == -1)
		return false;
	if ((dir = fdopendir(fd)) == NULL) {
		close(fd);
		return false;
	}
	while ((entry = readdir(dir)) != NULL)
		if (entry->d_name[0] != '.')
			add_message(m)->name = text_copy(entry->d_name);
	closedir(dir);
	if (m->count > 0)
		qsort(m->list, m->count, sizeof(*m->list), by_name);
	return true;
}

/* The size on the wire of a file that was never looked at. */
static bool
find_size(const struct store *s, struct message *e)
{
	int fd = openat(s->dir, e->name, O_RDONLY | O_CLOEXEC);
	int64_t added;

	if (fd == -1)
		return false;
	added = body_added(fd, s->options->lf);
	close(fd);
	e->size = e->stored + added;
	return added >= 0;
}

/* False: it is no message (any more). */
static bool
fill_in(const struct store *s, struct message *e)
{
	const struct message *known = NULL;
	struct stat st;

	if (fstatat(s->dir, e->name, &st, 0) == -1 || !S_ISREG(st.st_mode))
		return false;
	e->stored = st.st_size;
	e->time = st.st_mtim.tv_sec * 1000000000LL + st.st_mtim.tv_nsec;
	if (s->known.count > 0)
		known = bsearch(
		    e, s->known.list, s->known.count, sizeof(*e), by_name);
	if (known == NULL || known->stored != e->stored ||
	    known->time != e->time)
		return find_size(s, e);
	e->size = known->size;
	return true;
}

static void
clear(struct mailbox *m)
{
	for (size_t i = 0; i < m->count; i++) {
		free(m->list[i].name);
		free(m->list[i].uid);
	}
	free(m->list);
	m->list = NULL;
	m->count = 0;
}

static void
remember(struct store *s, const struct mailbox *m)
{
	clear(&s->known);
	for (size_t i = 0; i < m->count; i++) {
		struct message *e = add_message(&s->known);

		*e = m->list[i];
		e->name = text_copy(e->name);
		e->uid = NULL;
	}
}

static bool
scan_directory(struct store *s, struct mailbox *m)
{
	struct uids *uids = uids_load(s->dir);
	size_t kept = 0;

	if (!read_names(s, m)) {
		uids_free(uids);
		return false;
	}
	for (size_t i = 0; i < m->count; i++) {
		struct message *e = &m->list[i];

		if (!fill_in(s, e)) {
			free(e->name);
			continue;
		}
		e->uid = uids_find(uids, e->name, &e->uid_len);
		m->list[kept++] = *e;
	}
	m->count = kept;
	uids_free(uids);
	remember(s, m);
	return true;
}

static void
make_up(struct store *s, struct mailbox *m)
{
	const struct options *o = s->options;

	for (size_t i = 0; i < (size_t)o->synthetic_count; i++) {
		if (!s->gone[i]) {
			struct message *e = add_message(m);

			e->index = i;
			e->size = o->synthetic_size;
		}
	}
}

/* Messages that the options want out of sight. */
static void
hide(struct mailbox *m)
{
	const struct options *o = m->store->options;

	for (int64_t i = 0; i < o->exclude_last && m->count > 0; i++) {
		m->count--;
		free(m->list[m->count].name);
		free(m->list[m->count].uid);
	}
	for (size_t i = 0; i < o->hide.count; i++) {
		size_t n = strtoul(o->hide.word[i], NULL, 10);

		if (n >= 1 && n <= m->count)
			m->list[n - 1].deleted = m->list[n - 1].hidden = true;
	}
}

void
store_close(struct store *s)
{
	if (s->dir != -1)
		close(s->dir);
	synthetic_free(s->synthetic);
	pthread_mutex_destroy(&s->mutex);
	clear(&s->known);
	free(s->gone);
	free(s);
}

struct mailbox *
mailbox_open(struct store *s)
{
	struct mailbox *m = text_alloc(1, sizeof(*m));
	bool ok = true;

	m->store = s;
	pthread_mutex_lock(&s->mutex);
	if (s->synthetic != NULL)
		make_up(s, m);
	else
		ok = scan_directory(s, m);
	pthread_mutex_unlock(&s->mutex);
	if (!ok) {
		mailbox_free(m);
		return NULL;
	}
	hide(m);
	return m;
}

void
mailbox_free(struct mailbox *m)
{
	if (m == NULL)
		return;
	clear(m);
	free(m);
}

void
mailbox_put_uid(const struct mailbox *m, size_t index, struct stream *stream)
{
	const struct message *e = &m->list[index];

	if (m->store->options->uid_prefix != NULL)
		stream_puts(stream, m->store->options->uid_prefix);
	if (e->uid != NULL)
		stream_put(stream, e->uid, e->uid_len);
	else
		synthetic_put_uid(e->index, stream);
}

static bool
send_file(const struct store *s, const struct message *e, struct body *b,
    const char *ok)
{
	int fd = openat(s->dir, e->name, O_RDONLY | O_CLOEXEC);

	if (fd == -1)
		return false;
	stream_puts(b->stream, ok);
	b->lf = s->options->lf;
	if (!body_file(b, fd))
		stream_end(b->stream, END_HARD);
	close(fd);
	return true;
}

bool
mailbox_send(const struct mailbox *m, size_t index, int64_t lines,
    const char *ok, struct stream *stream)
{
	const struct store *s = m->store;
	const struct message *e = &m->list[index];
	struct body b;

	if (s->synthetic != NULL && lines < 0 && !s->options->no_stuff) {
		stream_puts(stream, ok);
		synthetic_send(s->synthetic, e->index, stream);
		stream_puts(stream, ".\r\n");
		return true;
	}
	body_begin(&b, stream, lines);
	b.no_stuff = s->options->no_stuff;
	if (s->synthetic != NULL) {
		stream_puts(stream, ok);
		synthetic_send_body(s->synthetic, e->index, &b);
	} else if (!send_file(s, e, &b, ok)) {
		return false;
	}
	body_end(&b);
	return true;
}

void
mailbox_commit(struct mailbox *m)
{
	struct store *s = m->store;

	if (s->options->no_delete)
		return;
	pthread_mutex_lock(&s->mutex);
	for (size_t i = 0; i < m->count; i++) {
		const struct message *e = &m->list[i];

		if (!e->deleted || e->hidden)
			continue;
		if (s->synthetic != NULL)
			s->gone[e->index] = true;
		else if (unlinkat(s->dir, e->name, 0) == -1 && errno != ENOENT)
			warn("%s", e->name);
	}
	pthread_mutex_unlock(&s->mutex);
}
