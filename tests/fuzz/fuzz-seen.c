/* SPDX-License-Identifier: ISC */
/*
 * Any bytes as a state file.  Input that begins with "+" is taken line by
 * line and gets the first line, the owner and right checksums, so that the
 * records themselves are reached; an "=" at the beginning of a line leaves
 * that line as it is.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "state/journal.h"
#include "state/seen.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
seal_lines(struct buf *file, const char *text, size_t n)
{
	static const char owner[] = "owner alice pop.example.org";
	uint64_t seed = journal_owner_seed(owner, strlen(owner));
	const char *end = text + n, *next;

	journal_first_line(file);
	buf_puts(file, owner);
	journal_seal(file, file->len - strlen(owner), 0);
	for (; text < end; text = next) {
		const char *line_end = memchr(text, '\n', (size_t)(end - text));
		size_t start = file->len;

		if (line_end == NULL)
			line_end = end;
		next = line_end < end ? line_end + 1 : end;
		if (*text == '=') {
			buf_append(file, text + 1, (size_t)(next - text) - 1);
			continue;
		}
		buf_append(file, text, (size_t)(line_end - text));
		journal_seal(file, start, seed);
	}
}

/* Look at everything, record something. */
static void
use(struct seen *seen)
{
	const struct seen_pending *pending;
	const char *where;
	struct buf id = {0};
	struct err err;
	size_t n = seen_pending(seen, &where, &pending);

	for (size_t i = 0; i < n; i++) {
		id.len = 0;
		buf_puts(&id, pending[i].place);
		seen_match(seen, pending[i].id, strlen(pending[i].id));
	}
	for (uint32_t i = 0; i < seen_count(seen); i++) {
		id.len = 0;
		if (seen_read_id(seen, i, &id, &err) == 0 && i % 2 == 0)
			seen_match(seen, id.data, id.len);
		seen_header_hash(seen, i);
		if (i % 5 == 0)
			seen_deleted(seen, i);
		if (i % 7 == 0)
			seen_update(seen, i, "renamed", 1, 2);
	}
	seen_delivered_to(seen, "maildir /m");
	if (where != NULL)
		seen_published(seen);
	seen_batch(seen, "maildir /m", "maildir /m");
	seen_delivered(seen, "fuzz", 1, 2, "place");
	seen_published(seen);
	if (seen_count(seen) % 3 == 0)
		seen_login_delayed(seen, 600);
	seen_session_done(seen, 1, 2);
	buf_free(&id);
}

static size_t
count_live(struct seen *seen)
{
	size_t live = 0;

	for (uint32_t i = 0; i < seen_count(seen); i++)
		live += (seen_at(seen, i)->flags & SEEN_UNDONE) == 0;
	return live;
}

/* What is recorded now must be there the next time. */
static void
run_twice(const struct seen_params *params)
{
	struct seen *seen;
	struct err err;
	size_t live;

	seen = seen_open(params, &err);
	if (seen == NULL)
		return;
	use(seen);
	live = count_live(seen);
	if (seen_flush(seen, false, &err) == -1)
		abort();
	seen_close(seen);
	seen = seen_open(params, &err);
	if (seen == NULL || count_live(seen) != live ||
	    seen_match(seen, "fuzz", 4) == NULL)
		abort();
	seen_close(seen);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char dir[] = "fuzz-seen.XXXXXX", path[64];
	struct seen_params params = {.path = path,
	    .user = "alice",
	    .host = "pop.example.org",
	    .now = 1700000000};
	struct buf file = {0};
	int fd;

	if (path[0] == '\0') {
		if (mkdtemp(dir) == NULL)
			abort();
		snprintf(path, sizeof(path), "%s/state", dir);
	}
	if (size > 0 && data[0] == '+')
		seal_lines(&file, (const char *)data + 1, size - 1);
	else
		buf_append(&file, data, size);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (fd == -1 || write(fd, file.data, file.len) != (ssize_t)file.len)
		abort();
	close(fd);
	run_twice(&params);
	unlink(path);
	buf_free(&file);
	return 0;
}
