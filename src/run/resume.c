/* SPDX-License-Identifier: ISC */
/* From the state of the last run to one that can be relied on. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "mail/msg.h"
#include "run/fetch.h"
#include "run/headers.h"

#define HEADER_MAX (1 << 20) /* octets of a file that are looked at */

/* 1: there is something, 0: there is nothing, -1: nobody knows. */
static int
exists(const char *path, struct err *err)
{
	struct stat st;

	if (stat(path, &st) == 0)
		return 1;
	if (errno == ENOENT)
		return 0;
	err_set_errno(err, err_class_of_errno(errno), "cannot open %s", path);
	return err_prefix(err, "state");
}

/* The path in the rc file may name mpop's own list, which stays as it is.  Who
 * removes that one day has not lost the state beside it. */
static char *
state_path(const struct account *account, bool *is_mpop_list, struct err *err)
{
	const char *named = account->uidls_file;
	char *beside = mem_printf("%s.poplar", named);
	int there = exists(named, err);

	*is_mpop_list = there == 1 && seen_is_mpop_list(named);
	if (*is_mpop_list)
		return beside;
	if (there == 0) {
		there = exists(beside, err);
		if (there == 1)
			return beside;
	}
	free(beside);
	return there == -1 ? NULL : mem_dup(named);
}

static int
open_state(struct fetch *fetch, const char *path, struct err *err)
{
	struct seen_params params = {
	    .path = path,
	    .user = fetch->account->user,
	    .host = fetch->account->server,
	    .require = fetch->account->require_state == CONF_ON,
	    .read_only = fetch->options->verb == FETCH_DRY_RUN,
	    .now = fetch->now,
	};

	fetch->seen = seen_open(&params, err);
	return fetch->seen != NULL ? 0 : err_prefix(err, "state");
}

/* What became of the batch whose record says neither yes nor no? */
static int
settle_pending(struct fetch *fetch, struct err *err)
{
	const struct seen_pending *pending;
	const char *where;
	size_t n = seen_pending(fetch->seen, &where, &pending), undone = 0;
	struct deliver_recovery *items;
	struct deliver_lock *lock = NULL;
	uint32_t *indexes;
	int status;

	if (n == 0) {
		if (seen_settled(fetch->seen) != NULL)
			deliver_tidy(seen_settled(fetch->seen));
		return 0;
	}
	items = mem_zero(n, sizeof(*items));
	indexes = mem_zero(n, sizeof(*indexes));
	for (size_t i = 0; i < n; i++) {
		items[i].place = pending[i].place;
		indexes[i] = pending[i].index;
	}
	/* The records that recovery goes by may not have reached the disk. */
	status = seen_flush(fetch->seen, true, err);
	if (status == 0)
		status = deliver_recover(where, items, n, &lock, err);
	for (size_t i = 0; i < n && status == 0; i++) {
		if (items[i].delivered)
			continue;
		seen_undo(fetch->seen, indexes[i]);
		undone++;
	}
	if (status == 0) {
		seen_published(fetch->seen);
		status = seen_flush(fetch->seen, true, err);
		log_say(LOG_AT_VERBOSE,
		    "state: the last run ended early: %zu of its messages are "
		    "here, %zu will be fetched again",
		    n - undone, undone);
	}
	deliver_recovery_release(lock);
	free(items);
	free(indexes);
	return status == 0 ? 0 : err_prefix(err, "recovery");
}

static int
import_list(struct fetch *fetch, const char *path, struct err *err)
{
	size_t count;

	if (seen_import_mpop(fetch->seen, path, &count, err) == -1)
		return err_prefix(err, "import");
	if (count == 0)
		return 0;
	log_say(LOG_AT_NOTICE, "state: took %zu known messages from %s", count,
	    path);
	if (fetch->options->verb == FETCH_DRY_RUN)
		return 0;
	return seen_flush(fetch->seen, true, err);
}

/* At first use, what mpop knows of the same user and host. */
static int
import_from_mpop(struct fetch *fetch, bool named_in_rc, struct err *err)
{
	const struct account *account = fetch->account;
	char *path, *list;
	int status = 0;

	if (named_in_rc)
		return import_list(fetch, account->uidls_file, err);
	list = mem_printf(
	    "~/.mpop_uidls/%s_at_%s", account->user, account->server);
	path = file_expand_home(list);
	if (seen_is_mpop_list(path))
		status = import_list(fetch, path, err);
	free(path);
	free(list);
	return status;
}

static int
compare_found(const void *a, const void *b)
{
	const struct resume_found *x = a, *y = b;

	return (x->tag > y->tag) - (x->tag < y->tag);
}

static void
note_found(
    void *context, const char *tag, uint64_t wire_octets, const char *path)
{
	struct fetch *fetch = context;
	struct resume_found *found;

	fetch->found =
	    mem_room(fetch->found, fetch->n_found, sizeof(*fetch->found));
	found = &fetch->found[fetch->n_found++];
	found->tag = strtoull(tag, NULL, 16);
	found->wire_octets = wire_octets;
	found->path = mem_dup(path);
}

static int
look_into_place(struct fetch *fetch, struct err *err)
{
	struct deliver_params params = {
	    .kind = fetch->account->delivery.kind,
	    .target = fetch->account->delivery.target,
	};

	if (deliver_scan(&params, note_found, fetch, err) == -1)
		return err_prefix(err, "recovery");
	if (fetch->n_found > 0)
		qsort(fetch->found, fetch->n_found, sizeof(*fetch->found),
		    compare_found);
	return 0;
}

int
resume_state(struct fetch *fetch, struct err *err)
{
	bool is_mpop_list;
	char *path = state_path(fetch->account, &is_mpop_list, err);
	int status = path != NULL ? open_state(fetch, path, err) : -1;

	free(path);
	if (status == -1)
		return -1;
	fetch->state_was_new = seen_is_new(fetch->seen);
	if (fetch->state_was_new) {
		if (import_from_mpop(fetch, is_mpop_list, err) == -1)
			return -1;
		return look_into_place(fetch, err);
	}
	if (fetch->options->verb == FETCH_DRY_RUN)
		return 0;
	return settle_pending(fetch, err);
}

/* The header hash of a delivered message, 0 if it cannot be read. */
static uint64_t
hash_file(const char *path)
{
	char chunk[16384];
	struct err ignored;
	int fd = file_open(path, O_RDONLY, 0, &ignored);
	struct msg *msg;
	uint64_t hash;
	ssize_t n = 0;

	if (fd == -1)
		return 0;
	msg = msg_new();
	while (msg_size(msg) < HEADER_MAX &&
	    (n = read(fd, chunk, sizeof(chunk))) > 0)
		msg_feed(msg, chunk, (size_t)n);
	hash = n >= 0 ? msg_header_hash(msg) : 0;
	msg_free(msg);
	close(fd);
	return hash;
}

/* The messages in the Maildir that have the tag of this id, *n of them. */
static struct resume_found *
find_all(struct fetch *fetch, const char *id, size_t *n)
{
	struct resume_found key, *at, *end = fetch->found + fetch->n_found;
	char tag[17];

	*n = 0;
	seen_tag(fetch->seen, id, tag);
	key.tag = strtoull(tag, NULL, 16);
	at = bsearch(
	    &key, fetch->found, fetch->n_found, sizeof(key), compare_found);
	if (at == NULL)
		return NULL;
	while (at > fetch->found && at[-1].tag == key.tag)
		at--;
	while (at + *n < end && at[*n].tag == key.tag)
		++*n;
	return at;
}

/* Names begin with the time. */
static bool
is_newer(const struct resume_found *found, const struct resume_found *other)
{
	return strcmp(strrchr(found->path, '/'), strrchr(other->path, '/')) > 0;
}

/* One of them that no record stands for yet: the newest, as a unique-id that
 * was used again calls the later message. */
static struct resume_found *
take_found(struct fetch *fetch, const char *id, uint64_t octets)
{
	size_t n;
	struct resume_found *all = find_all(fetch, id, &n), *newest = NULL;

	if (n <= seen_copies(fetch->seen, id))
		return NULL;
	for (size_t i = 0; i < n; i++)
		if (all[i].path != NULL && all[i].wire_octets == octets &&
		    (newest == NULL || is_newer(&all[i], newest)))
			newest = &all[i];
	return newest;
}

/* Make a listed message known, if it lies in the Maildir. */
static bool
recognise(
    struct fetch *fetch, struct listing_message *message, size_t recognised)
{
	const char *id = listing_id(&fetch->listing, message);
	struct resume_found *found;
	uint32_t index;

	if (*listing_seen(&fetch->listing, message) != LISTING_NONE ||
	    id[0] == '\0')
		return false;
	found = take_found(fetch, id, message->octets);
	if (found == NULL)
		return false;
	if (recognised == 0)
		seen_import_begin(fetch->seen, "maildir");
	index = seen_imported(fetch->seen, id, message->octets,
	    hash_file(found->path), fetch->now, SEEN_REBUILT);
	seen_at(fetch->seen, index)->flags |= SEEN_MATCHED;
	*listing_seen(&fetch->listing, message) = index;
	free(found->path);
	found->path = NULL;
	return true;
}

/* Where the state is not lost, a unique-id that it does not know may well be
 * one that it has forgotten: then only the header tells. */
static bool
must_confirm(const struct fetch *fetch)
{
	return !fetch->state_was_new;
}

/* That of TOP, or else that of RETR. */
static void
leave_to_header(struct fetch *fetch, struct listing_message *message)
{
	uint32_t *index = listing_seen(&fetch->listing, message);

	if (headers_can_be_had(fetch)) {
		message->doubt = LISTING_DUE;
		return;
	}
	seen_release(fetch->seen, *index);
	*index = LISTING_NONE;
}

static bool
has_unknown(struct listing *listing)
{
	for (size_t i = 0; i < listing->n_messages; i++)
		if (*listing_seen(listing, &listing->messages[i]) ==
		    LISTING_NONE)
			return true;
	return false;
}

static void
tell_recognised(const struct fetch *fetch, size_t n)
{
	const char *target = fetch->account->delivery.target;

	if (must_confirm(fetch))
		log_say(LOG_AT_WARNING,
		    "state: it lacks %zu listed messages that lie in %s "
		    "already; where the header agrees they are taken for "
		    "delivered",
		    n, target);
	else
		log_say(LOG_AT_WARNING,
		    "state: there is none, but %zu listed messages lie in %s "
		    "already; they are taken for delivered",
		    n, target);
}

int
resume_recognise(struct fetch *fetch, struct err *err)
{
	struct listing *listing = &fetch->listing;
	size_t recognised = 0;

	if (must_confirm(fetch) && seen_may_lack(fetch->seen) &&
	    has_unknown(listing) && look_into_place(fetch, err) == -1)
		return -1;
	fetch->recognised = (uint32_t)seen_count(fetch->seen);
	for (size_t i = 0; fetch->n_found > 0 && i < listing->n_messages; i++) {
		if (!recognise(fetch, &listing->messages[i], recognised))
			continue;
		recognised++;
		if (must_confirm(fetch))
			leave_to_header(fetch, &listing->messages[i]);
	}
	if (recognised > 0) {
		fetch->confirming = must_confirm(fetch);
		if (!fetch->confirming)
			seen_import_end(fetch->seen);
		tell_recognised(fetch, recognised);
	}
	return 0;
}

bool
resume_is_unconfirmed(const struct fetch *fetch, uint32_t index)
{
	const uint64_t both = SEEN_REBUILT | SEEN_UNDONE;

	return fetch->confirming && index >= fetch->recognised &&
	    (seen_at(fetch->seen, index)->flags & both) == SEEN_REBUILT;
}

void
resume_confirmed(struct fetch *fetch)
{
	size_t n = seen_count(fetch->seen);
	uint32_t i = fetch->recognised;

	while (i < n && !resume_is_unconfirmed(fetch, i))
		i++;
	if (!fetch->confirming || i < n)
		return;
	seen_import_end(fetch->seen);
	fetch->confirming = false;
}

/* Behind the session this tells the next run that records may be missing. */
void
resume_leave_unconfirmed(struct fetch *fetch)
{
	if (fetch->confirming)
		seen_import_undo(fetch->seen);
}

void
resume_free(struct fetch *fetch)
{
	for (size_t i = 0; i < fetch->n_found; i++)
		free(fetch->found[i].path);
	free(fetch->found);
	fetch->found = NULL;
	fetch->n_found = 0;
}
