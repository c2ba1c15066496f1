/* SPDX-License-Identifier: ISC */
#include "mail/deliver.h"

#include <string.h>

#include "mail/backend.h"

static const struct deliver_backend *const backends[] = {
    [DELIVER_MAILDIR] = &maildir_backend,
    [DELIVER_MBOX] = &mbox_backend,
    [DELIVER_MDA] = &mda_backend,
};

#define N_BACKENDS (sizeof(backends) / sizeof(backends[0]))

const char *
deliver_kind_word(enum deliver_kind kind)
{
	return backends[kind]->word;
}

bool
deliver_kind_from_word(const char *word, enum deliver_kind *kind)
{
	for (size_t i = 0; i < N_BACKENDS; i++)
		if (strcmp(backends[i]->word, word) == 0) {
			*kind = (enum deliver_kind)i;
			return true;
		}
	return false;
}

struct deliver *
deliver_open(const struct deliver_params *params, struct err *err)
{
	return backends[params->kind]->open(params, err);
}

void
deliver_close(struct deliver *deliver)
{
	if (deliver != NULL)
		deliver->backend->close(deliver);
}

bool
deliver_wants_tag(const struct deliver *deliver)
{
	return deliver->backend->scan != NULL;
}

int
deliver_begin(struct deliver *deliver, const struct deliver_message *message,
    struct err *err)
{
	return deliver->backend->begin(deliver, message, err);
}

int
deliver_write(
    struct deliver *deliver, const char *data, size_t n, struct err *err)
{
	return deliver->backend->write(deliver, data, n, err);
}

int
deliver_stage(struct deliver *deliver, const struct deliver_facts *facts,
    char place[DELIVER_PLACE_MAX], struct err *err)
{
	return deliver->backend->stage(deliver, facts, place, err);
}

void
deliver_abort(struct deliver *deliver)
{
	deliver->backend->abort(deliver);
}

int
deliver_sync(
    struct deliver *deliver, char where[DELIVER_WHERE_MAX], struct err *err)
{
	return deliver->backend->sync(deliver, where, err);
}

int
deliver_publish(struct deliver *deliver, struct err *err)
{
	if (deliver->backend->publish == NULL)
		return 0;
	return deliver->backend->publish(deliver, err);
}

bool
deliver_holds_lock(const struct deliver *deliver)
{
	return deliver->backend->holds_lock;
}

void
deliver_release(struct deliver *deliver)
{
	if (deliver->backend->release != NULL)
		deliver->backend->release(deliver);
}

size_t
deliver_batch_max(const struct deliver *deliver)
{
	return deliver->backend->batch_max;
}

uint64_t
deliver_batch_octets(const struct deliver *deliver)
{
	return deliver->backend->batch_octets;
}

const char *
deliver_note(const struct deliver *deliver)
{
	if (deliver->backend->note == NULL)
		return NULL;
	return deliver->backend->note(deliver);
}

/* The back end that said where; what it said is behind its word. */
static const struct deliver_backend *
backend_of(const char *where, const char **rest)
{
	size_t word = strcspn(where, " ");

	*rest = where + word + (where[word] == ' ');
	for (size_t i = 0; i < N_BACKENDS; i++)
		if (strlen(backends[i]->word) == word &&
		    memcmp(backends[i]->word, where, word) == 0)
			return backends[i];
	return NULL;
}

int
deliver_recover(const char *where, struct deliver_recovery *items, size_t n,
    struct deliver_lock **lock, struct err *err)
{
	const char *rest;
	const struct deliver_backend *backend = backend_of(where, &rest);

	*lock = NULL;
	if (backend != NULL)
		return backend->recover(rest, items, n, lock, err);
	return err_set(err, ERR_IO,
	    "the state names an unknown kind of delivery (%.20s)", where);
}

void
deliver_tidy(const char *where)
{
	const char *rest;
	const struct deliver_backend *backend = backend_of(where, &rest);

	if (backend != NULL && backend->tidy != NULL)
		backend->tidy(rest);
}

void
deliver_recovery_release(struct deliver_lock *lock)
{
	if (lock != NULL)
		lock->backend->recovery_release(lock);
}

int
deliver_scan(const struct deliver_params *params, deliver_found *found,
    void *context, struct err *err)
{
	if (backends[params->kind]->scan == NULL)
		return 0;
	return backends[params->kind]->scan(params, found, context, err);
}
