/* SPDX-License-Identifier: ISC */
/* The mailbox mode: what all sessions share. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "mailbox.h"
#include "pop3.h"
#include "sasl.h"
#include "server.h"
#include "session.h"
#include "text.h"

struct pop3 {
	const struct options *options;
	struct store *store;
	pthread_mutex_t mutex;	/* for what follows */
	int64_t used[LIST_MAX]; /* of each answer */
	char **held;		/* users, NULL where free */
	size_t held_count;
};

bool
pop3_run(const struct options *o)
{
	struct pop3 *p = text_alloc(1, sizeof(*p));
	struct service service = {
	    .handle = session_serve,
	    .context = p,
	    .limit = o->max_connections,
	};
	struct ending_of_server ending;

	sasl_check(o);
	p->options = o;
	p->store = store_open(o);
	pthread_mutex_init(&p->mutex, NULL);
	ending = server_run(o, &service);
	if (ending.busy)
		_exit(ending.late);
	store_close(p->store);
	pthread_mutex_destroy(&p->mutex);
	free(p->held);
	free(p);
	return !ending.late;
}

struct mailbox *
pop3_open_mailbox(struct pop3 *p)
{
	return mailbox_open(p->store);
}

/* The place of a user among those held, else a free place. */
static size_t
place_of(const struct pop3 *p, const char *user)
{
	size_t free_place = p->held_count;

	for (size_t i = 0; i < p->held_count; i++) {
		if (p->held[i] == NULL)
			free_place = i;
		else if (strcmp(p->held[i], user) == 0)
			return i;
	}
	return free_place;
}

static bool
take_place(struct pop3 *p, const char *user)
{
	size_t i = place_of(p, user);

	if (i < p->held_count && p->held[i] != NULL)
		return false;
	if (i == p->held_count)
		p->held = text_grow(p->held, ++p->held_count, sizeof(*p->held));
	p->held[i] = text_copy(user);
	return true;
}

bool
pop3_hold(struct pop3 *p, const char *user)
{
	bool ok;

	if (!p->options->lock)
		return true;
	pthread_mutex_lock(&p->mutex);
	ok = take_place(p, user);
	pthread_mutex_unlock(&p->mutex);
	return ok;
}

void
pop3_release(struct pop3 *p, const char *user)
{
	size_t i;

	if (!p->options->lock)
		return;
	pthread_mutex_lock(&p->mutex);
	if ((i = place_of(p, user)) < p->held_count) {
		free(p->held[i]);
		p->held[i] = NULL;
	}
	pthread_mutex_unlock(&p->mutex);
}

bool
pop3_means(const char *key, const char *line)
{
	size_t len = strlen(key);

	if (strncasecmp(key, line, len) != 0)
		return false;
	if (line[len] == '\0')
		return true;
	return line[len] == ' ' && strchr(key, ' ') == NULL;
}

/* One with an argument of its own goes before one for the verb. */
static size_t
find_answer(const struct pop3 *p, const char *line)
{
	const struct options *o = p->options;
	size_t found = o->answer_count;

	for (size_t i = 0; i < o->answer_count; i++) {
		const struct answer *a = &o->answers[i];

		if (a->times >= 0 && p->used[i] >= a->times)
			continue;
		if (!pop3_means(a->command, line))
			continue;
		if (strchr(a->command, ' ') != NULL)
			return i;
		if (found == o->answer_count)
			found = i;
	}
	return found;
}

const struct answer *
pop3_answer(struct pop3 *p, const char *line)
{
	const struct answer *a = NULL;
	size_t i;

	if (p->options->answer_count == 0)
		return NULL;
	pthread_mutex_lock(&p->mutex);
	if ((i = find_answer(p, line)) < p->options->answer_count) {
		a = &p->options->answers[i];
		p->used[i]++;
	}
	pthread_mutex_unlock(&p->mutex);
	return a;
}
