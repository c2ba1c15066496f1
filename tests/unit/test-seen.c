/* SPDX-License-Identifier: ISC */
#include "state/seen.h"

#include <fcntl.h>
#include <ftw.h>
#include <glob.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "tap.h"

#define NOW 1700000000
#define DAY 86400
#define PUBLIC_FLAGS 127u

static char dir[] = "/tmp/test-seen.XXXXXX";
static char path[128];
static struct err err;

static struct {
	size_t n;
	char last[512];
	char first[512];
} warnings;

static void
count_warning(void *context, enum log_level level, const char *text)
{
	(void)context;
	if (level != LOG_AT_WARNING)
		return;
	if (warnings.n++ == 0)
		snprintf(warnings.first, sizeof(warnings.first), "%s", text);
	snprintf(warnings.last, sizeof(warnings.last), "%s", text);
}

static const char *
in_dir(const char *name)
{
	static char names[8][160];
	static unsigned int turn;
	char *full = names[turn++ % 8];

	snprintf(full, sizeof(names[0]), "%s/%s", dir, name);
	return full;
}

/* A name that no test has used, in path. */
static void
fresh(void)
{
	static unsigned int serial;

	snprintf(path, sizeof(path), "%s/state%u", dir, serial++);
	memset(&warnings, 0, sizeof(warnings));
}

static struct seen *
open_at(time_t now, const char *user, const char *host, bool read_only)
{
	struct seen_params params = {.path = path,
	    .user = user,
	    .host = host,
	    .read_only = read_only,
	    .now = now};

	return seen_open(&params, &err);
}

static struct seen *
open_seen(void)
{
	return open_at(NOW, "alice", "pop.example.org", false);
}

static bool
close_flushed(struct seen *seen)
{
	bool good = seen_flush(seen, true, &err) == 0;

	seen_close(seen);
	return good;
}

static struct seen_message *
match(struct seen *seen, const char *uid)
{
	struct buf id = {0};
	struct seen_message *message;

	seen_id_of_uid(&id, uid, strlen(uid));
	message = seen_match(seen, id.data, id.len);
	buf_free(&id);
	return message;
}

static uint32_t
deliver(struct seen *seen, const char *uid, uint64_t octets)
{
	struct buf id = {0};
	uint32_t index;

	seen_id_of_uid(&id, uid, strlen(uid));
	index = seen_delivered(seen, id.data, octets, octets + 1, "");
	buf_free(&id);
	return index;
}

static struct buf
read_file(const char *name)
{
	struct buf all = {0};
	int fd = open(name, O_RDONLY);
	ssize_t n;

	while (fd != -1 && (n = read(fd, buf_room(&all, 65536), 65536)) > 0)
		all.len += (size_t)n;
	close(fd);
	buf_string(&all);
	return all;
}

static void
write_file(const char *name, const char *data, size_t n)
{
	int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	if (fd == -1 || write(fd, data, n) != (ssize_t)n)
		abort();
	close(fd);
}

static bool
file_has(const char *name, const char *text)
{
	struct buf all = read_file(name);
	bool found = memmem(all.data, all.len, text, strlen(text)) != NULL;

	buf_free(&all);
	return found;
}

static void
test_new(void)
{
	struct seen *seen;
	struct stat st;
	mode_t mask = umask(0);

	fresh();
	strlcat(path, "/a/b", sizeof(path));
	seen = open_seen();
	umask(mask);
	tap_ok(seen != NULL && seen_is_new(seen),
	    "a new state, in a new "
	    "directory");
	tap_ok(seen_count(seen) == 0 && match(seen, "x") == NULL,
	    "nothing is known");
	tap_ok(seen_last_session(seen)->time == 0 &&
		seen_delivered_to(seen, "maildir /m") == 0,
	    "no session, no delivery");
	tap_ok(close_flushed(seen) && stat(path, &st) == 0 && st.st_size == 0 &&
		(st.st_mode & 0777) == 0600,
	    "no record, no line; mode 0600 with umask 0");
	fresh();
	umask(0777);
	seen = open_seen();
	umask(mask);
	tap_ok(
	    seen != NULL && stat(path, &st) == 0 && (st.st_mode & 0777) == 0600,
	    "mode 0600 with umask 0777");
	seen_close(seen);
}

static void
test_delivered(void)
{
	struct buf id = {0};
	struct seen_message *message;
	struct seen *seen;

	fresh();
	seen = open_seen();
	deliver(seen, "uid-1", 100);
	deliver(seen, "u i%d\xff\n", 200);
	tap_ok(match(seen, "uid-1") == NULL,
	    "what is delivered stands for its listed message");
	tap_ok(close_flushed(seen), "flush");
	seen = open_seen();
	tap_ok(!seen_is_new(seen) && seen_count(seen) == 2, "two are known");
	message = match(seen, "u i%d\xff\n");
	tap_ok(message != NULL && message->octets == 200 &&
		message->time == NOW && message->missing == 0 &&
		message->flags == SEEN_MATCHED,
	    "an odd unique-id is known, with size and time");
	tap_ok(message != NULL &&
		seen_header_hash(seen, seen_index(seen, message)) == 201,
	    "its header's hash");
	tap_ok(seen_read_id(seen, 1, &id, &err) == 0, "its id can be read");
	tap_is(id.data, "u%20i%25d%FF%0A", "it is %-encoded");
	tap_ok(match(seen, "u i%d\xff\n") == NULL, "once only");
	tap_ok(match(seen, "uid-1") == seen_at(seen, 0), "out of order");
	tap_ok(match(seen, "uid-2") == NULL, "another one is not known");
	seen_close(seen);
	buf_free(&id);
}

static void
test_ids(void)
{
	char uid[5000];
	struct buf a = {0}, b = {0};

	memset(uid, 'u', sizeof(uid));
	seen_id_of_uid(&a, uid, 1024);
	tap_ok(a.len == 1024, "1,024 bytes stay");
	a.len = 0;
	seen_id_of_uid(&a, uid, 1025);
	seen_id_of_uid(&b, uid, 1026);
	tap_ok(a.len == 66 && memcmp(a.data, "%%", 2) == 0 &&
		strcmp(a.data, b.data) != 0,
	    "more become a hash");
	a.len = b.len = 0;
	seen_id_of_uid(&a, "%h00000000000000ff", 18);
	seen_id_of_header(&b, 255);
	tap_is(b.data, "%h00000000000000ff", "the id of a header");
	tap_ok(strcmp(a.data, b.data) != 0, "no unique-id looks like it");
	for (size_t n = 1; n < 40; n++) {
		for (size_t at = 0; at < n; at++) {
			static const char odd[] = " %\x7f\x80\xff\t";

			memset(uid, '~', n);
			uid[at] = odd[(n + at) % (sizeof(odd) - 1)];
			a.len = 0;
			seen_id_of_uid(&a, uid, n);
			if (a.len != n + 2)
				tap_ok(false, "length %zu, byte %zu", n, at);
		}
	}
	tap_ok(true, "odd bytes at every place are encoded");
	buf_free(&a);
	buf_free(&b);
}

static void
test_repeated(void)
{
	struct seen_message *message;
	struct seen *seen;
	size_t matched = 0;

	fresh();
	seen = open_seen();
	for (uint64_t i = 1; i <= 4; i++)
		deliver(seen, "same", i);
	deliver(seen, "other", 9);
	seen_undo(seen, 1);
	seen_deleted(seen, 2);
	close_flushed(seen);
	seen = open_seen();
	tap_ok(match(seen, "none") == NULL, "look something up");
	message = match(seen, "same");
	tap_ok(message != NULL && message->octets == 1, "the oldest first");
	message = match(seen, "same");
	tap_ok(message != NULL && message->octets == 3 &&
		(message->flags & SEEN_DELETED) != 0,
	    "not the one undone; DELE was for the third one");
	message = match(seen, "same");
	tap_ok(message != NULL && message->octets == 4 &&
		(message->flags & SEEN_DELETED) == 0,
	    "the last one");
	tap_ok(match(seen, "same") == NULL, "and no more");
	tap_ok(match(seen, "other") != NULL, "another id meanwhile");
	seen_close(seen);

	fresh();
	seen = open_seen();
	for (uint64_t i = 0; i < 100000; i++)
		deliver(seen, "same", i);
	close_flushed(seen);
	seen = open_seen();
	match(seen, "none");
	for (size_t i = 0; i < 200000; i++)
		matched += match(seen, "same") != NULL;
	tap_ok(matched == 100000, "100,000 of one id in no time");
	seen_close(seen);
}

static void
test_owners(void)
{
	struct seen *seen;

	fresh();
	seen = open_seen();
	deliver(seen, "a1", 1);
	close_flushed(seen);
	seen = open_at(NOW, "bob b", "pop.example.org", false);
	tap_ok(seen_is_new(seen) && match(seen, "a1") == NULL,
	    "another user has a state of his own");
	deliver(seen, "b1", 1);
	close_flushed(seen);
	seen = open_at(NOW, "alice", "POP.Example.ORG", false);
	tap_ok(match(seen, "a1") != NULL, "a host's case does not matter");
	tap_ok(match(seen, "b1") == NULL, "nothing of the other user");
	deliver(seen, "a2", 1);
	close_flushed(seen);
	seen = open_at(NOW, "Alice", "pop.example.org", false);
	tap_ok(seen_is_new(seen), "a user's case does");
	seen_close(seen);
	seen = open_at(NOW, "bob b", "pop.example.org", false);
	tap_ok(seen_count(seen) == 1 && match(seen, "b1") != NULL &&
		match(seen, "a2") == NULL,
	    "nor the other way round");
	seen_close(seen);
}

/* The records of which each prefix must load. */
static void
make_sample(void)
{
	struct seen *seen;

	fresh();
	seen = open_seen();
	seen_batch(seen, "maildir /m", "maildir /m x");
	deliver(seen, "a1", 1);
	deliver(seen, "a2", 2);
	seen_published(seen);
	deliver(seen, "a3", 3);
	seen_deleted(seen, 0);
	seen_update(seen, 1, "a4", 4, 44);
	seen_session_done(seen, 3, 30);
	close_flushed(seen);
}

static size_t
count_gots(const char *data, size_t n)
{
	size_t count = 0;

	for (const char *at = data; at < data + n;) {
		const char *end = memchr(at, '\n', n - (size_t)(at - data));

		if (end == NULL)
			break;
		count += memcmp(at, "got ", 4) == 0;
		at = end + 1;
	}
	return count;
}

static bool
prefix_is_good(const struct buf *sample, size_t n)
{
	size_t gots = count_gots(sample->data, n);
	struct seen *seen;
	bool good;

	write_file(path, sample->data, n);
	seen = open_seen();
	if (seen == NULL)
		return false;
	good = seen_count(seen) == gots && warnings.n == 0;
	if (gots > 0)
		good = good && match(seen, "a1") != NULL;
	deliver(seen, "later", 5);
	good = close_flushed(seen) && good;
	seen = open_seen();
	good = good && seen != NULL && seen_count(seen) == gots + 1 &&
	    match(seen, "later") != NULL && warnings.n == 0;
	seen_close(seen);
	return good;
}

/* As a file system may leave the first write: begun, and n zeros. */
static void
zeros_are_new(const char *begun, size_t n)
{
	size_t size = strlen(begun) + n;
	char *content = mem_zero(size + 1, 1);
	struct seen *seen;

	memcpy(content, begun, strlen(begun));
	fresh();
	write_file(path, content, size);
	free(content);
	seen = open_seen();
	tap_ok(seen != NULL && seen_is_new(seen),
	    "\"%s\" and %zu zeros: a new state", begun, n);
	deliver(seen, "u", 1);
	tap_ok(close_flushed(seen), "that can be written");
	seen = open_seen();
	tap_ok(match(seen, "u") != NULL && warnings.n == 0, "and read");
	seen_close(seen);
}

static void
test_truncated(void)
{
	struct buf sample;
	size_t bad = 0;

	make_sample();
	sample = read_file(path);
	for (size_t n = 0; n <= sample.len; n++) {
		if (!prefix_is_good(&sample, n)) {
			bad++;
			tap_ok(false, "cut at %zu", n);
		}
	}
	tap_ok(bad == 0, "cut at each of %zu bytes: nothing whole is lost",
	    sample.len);
	zeros_are_new("", 1);
	zeros_are_new("", 300000);
	zeros_are_new("poplar-st", 90);
	sample.data[sample.len - 2] ^= 1;
	tap_ok(prefix_is_good(&sample, sample.len),
	    "a last line with a wrong checksum is torn as well");
	buf_free(&sample);
}

/* As a file system may leave a large write. */
static void
test_torn_in_pieces(void)
{
	const size_t zeros = 300000;
	struct buf sample;
	struct seen *seen;

	make_sample();
	sample = read_file(path);
	memset(buf_room(&sample, zeros), 0, zeros);
	write_file(path, sample.data, sample.len + zeros);
	seen = open_seen();
	tap_ok(seen != NULL && warnings.n == 0,
	    "a torn line of many zeros is normal as well");
	deliver(seen, "behind", 1);
	tap_ok(close_flushed(seen), "something is written");
	buf_free(&sample);
	sample = read_file(path);
	tap_ok(memchr(sample.data, 0, sample.len) == NULL, "they are cut");
	seen = open_seen();
	tap_ok(match(seen, "behind") != NULL && warnings.n == 0,
	    "and what was written is whole");
	seen_close(seen);
	buf_free(&sample);
}

static void
test_flipped(void)
{
	struct buf sample;
	size_t bad = 0, first, left;

	make_sample();
	sample = read_file(path);
	first = (size_t)((char *)memchr(sample.data, '\n', sample.len) -
	    sample.data);
	for (size_t i = 0; i < sample.len; i++) {
		struct seen *seen;

		sample.data[i] ^= 4;
		write_file(path, sample.data, sample.len);
		seen = open_seen();
		left = i <= first ? 3 : sample.data[i] == ('\n' ^ 4) ? 1 : 2;
		if (seen == NULL || seen_count(seen) < left)
			bad++;
		if (seen != NULL)
			seen_close(seen);
		sample.data[i] ^= 4;
	}
	tap_ok(bad == 0, "a wrong bit costs one record, in a line end two");
	buf_free(&sample);
}

static void
test_garbage(void)
{
	struct seen *seen;
	struct buf all;
	char *at;

	fresh();
	seen = open_seen();
	for (int i = 0; i < 9; i++) {
		char uid[16];

		snprintf(uid, sizeof(uid), "u%d", i);
		deliver(seen, uid, 7);
	}
	seen_deleted(seen, 8);
	close_flushed(seen);
	all = read_file(path);
	at = strstr(all.data, "u1 ");
	at[1] = '\0';
	write_file(path, all.data, all.len);
	buf_free(&all);
	seen = open_seen();
	tap_ok(warnings.n == 1 && strstr(warnings.last, ":4: garbage") != NULL,
	    "garbage is named with its line");
	tap_ok(match(seen, "u0") != NULL && match(seen, "u1") == NULL &&
		match(seen, "u2") != NULL,
	    "it costs nothing else");
	tap_ok((match(seen, "u8")->flags & SEEN_DELETED) != 0,
	    "a number that is no longer right does no harm");
	seen_close(seen);
	tap_ok(
	    file_has(in_dir(strrchr(strcat(path, ".damaged"), '/') + 1), "u"),
	    "it is kept beside the state");
	path[strlen(path) - strlen(".damaged")] = '\0';
	warnings.n = 0;
	seen = open_seen();
	tap_ok(warnings.n == 0 && seen_count(seen) == 8 &&
		(match(seen, "u8")->flags & SEEN_DELETED) != 0,
	    "the next run finds none");
	seen_close(seen);

	all = read_file(path);
	for (int i = 0; i < 20; i++)
		buf_puts(&all, "garbage\n");
	deliver(seen = open_seen(), "u9", 1);
	seen_close(seen);
	seen = open_seen();
	seen_close(seen);
	buf_append(&all, all.data, strcspn(all.data, "\n") + 1);
	write_file(path, all.data, all.len);
	warnings.n = 0;
	seen = open_at(NOW, "alice", "pop.example.org", true);
	tap_ok(warnings.n == 6 && strstr(warnings.last, "20 lines") != NULL,
	    "much garbage: five lines and a count");
	seen_close(seen);
	tap_ok(file_has(path, "garbage"), "read-only moves nothing");
	buf_free(&all);
}

static void
test_damaged_owner(void)
{
	struct seen *seen;
	struct buf all;

	fresh();
	seen = open_seen();
	deliver(seen, "a1", 1);
	close_flushed(seen);
	seen = open_at(NOW, "bob", "pop.example.org", false);
	deliver(seen, "b1", 1);
	deliver(seen, "b2", 1);
	seen_session_done(seen, 2, 2);
	close_flushed(seen);
	all = read_file(path);
	*strstr(all.data, "owner bob") = 'X';
	write_file(path, all.data, all.len);
	seen = open_at(NOW, "alice", "pop.example.org", true);
	tap_ok(seen_count(seen) == 1 && match(seen, "b1") == NULL,
	    "nobody inherits what stands below a damaged owner line");
	seen_close(seen);
	for (int i = 0; i < 3; i++) {
		seen = open_at(NOW, "alice", "pop.example.org", false);
		deliver(seen, "a2", 1);
		close_flushed(seen);
	}
	tap_ok(warnings.n == 7 &&
		strstr(warnings.last, "garbage is now in") != NULL,
	    "another one has said that it is garbage, once");
	seen = open_at(NOW, "bob", "pop.example.org", false);
	tap_ok(seen_count(seen) == 2 && match(seen, "b1") != NULL,
	    "and its owner keeps it");
	deliver(seen, "b3", 1);
	close_flushed(seen);
	seen = open_at(NOW, "bob", "pop.example.org", false);
	tap_ok(seen_count(seen) == 3, "and adds to it");
	seen_close(seen);

	/* With another name it is not compacted. */
	write_file(path, all.data, all.len);
	buf_free(&all);
	link(path, in_dir("name"));
	seen = open_seen();
	deliver(seen, "a3", 1);
	close_flushed(seen);
	unlink(in_dir("name"));
	seen = open_at(NOW, "bob", "pop.example.org", false);
	deliver(seen, "b3", 1);
	close_flushed(seen);
	seen = open_seen();
	tap_ok(match(seen, "a3") != NULL,
	    "what others write behind it stays theirs");
	seen_close(seen);
}

static void
refused(const char *content, size_t n, enum err_class class, const char *name)
{
	struct seen *seen;
	struct buf after;

	fresh();
	write_file(path, content, n);
	seen = open_seen();
	after = read_file(path);
	tap_ok(seen == NULL && err.class == class && after.len == n &&
		memcmp(after.data, content, n) == 0,
	    "%s: refused, untouched", name);
	seen_close(seen);
	buf_free(&after);
}

static void
test_foreign(void)
{
	static const char newer[] = "poplar-state 2 *12345678\nwhat ever\n";
	static const char list[] = "# This file was generated by mpop\n";
	static const char damaged[] = "poplar-state 1 *00000000\nowner a b\n";
	static const char behind[] = "garbage\npoplar-state 2 *1b360511\n";

	refused(newer, strlen(newer), ERR_CONFIG, "a newer version");
	tap_ok(strstr(err.text, "newer") != NULL, "which is said");
	refused("poplar-state 11", 15, ERR_CONFIG, "version 11");
	refused(list, strlen(list), ERR_CONFIG, "a list of mpop's");
	refused("x", 1, ERR_CONFIG, "a foreign byte");
	refused("\0\0\0x", 4, ERR_CONFIG, "foreign bytes");
	refused(damaged, strlen(damaged), ERR_CONFIG, "a damaged first line");
	refused(
	    behind, strlen(behind), ERR_CONFIG, "a newer one behind garbage");
}

static void
test_kinds(void)
{
	struct seen_params params = {.path = path,
	    .user = "alice",
	    .host = "h",
	    .require = true,
	    .now = NOW};
	struct seen *seen;
	struct stat st;

	fresh();
	mkdir(path, 0700);
	tap_ok(open_seen() == NULL && err.class == ERR_CANTCREAT,
	    "a directory is refused");
	fresh();
	mkfifo(path, 0600);
	tap_ok(open_seen() == NULL && err.class == ERR_CANTCREAT,
	    "a FIFO is refused at once");
	snprintf(path, sizeof(path), "/dev/null");
	tap_ok(open_seen() == NULL && err.class == ERR_CANTCREAT,
	    "a device is refused");
	fresh();
	tap_ok(symlink(in_dir("target"), path) == 0 && open_seen() == NULL &&
		err.class == ERR_CANTCREAT && strstr(err.text, path) != NULL &&
		access(in_dir("target"), F_OK) == -1,
	    "a link to nothing is refused, and not followed");
	write_file(in_dir("target"), "", 0);
	seen = open_seen();
	tap_ok(seen != NULL, "a link to a file is followed");
	deliver(seen, "a", 1);
	tap_ok(close_flushed(seen) && lstat(path, &st) == 0 &&
		S_ISLNK(st.st_mode) && file_has(in_dir("target"), "got a "),
	    "and stays a link");
	fresh();
	tap_ok(seen_open(&params, &err) == NULL && err.class == ERR_CONFIG &&
		err.hint[0] != '\0' && access(path, F_OK) == -1,
	    "require: a missing one is refused, and not made");
	write_file(path, "", 0);
	seen = seen_open(&params, &err);
	tap_ok(seen != NULL, "require: an empty one will do");
	seen_close(seen);
}

static void
test_read_only(void)
{
	struct seen *seen;
	struct buf before, after;

	fresh();
	seen = open_at(NOW, "alice", "h", true);
	tap_ok(seen != NULL && seen_is_new(seen), "read-only, no file");
	deliver(seen, "x", 1);
	tap_ok(seen_flush(seen, true, &err) == 0 && seen_count(seen) == 1 &&
		seen_header_hash(seen, 0) == 2 && access(path, F_OK) == -1,
	    "records are in memory only");
	seen_close(seen);
	make_sample();
	before = read_file(path);
	before.len -= 3;
	write_file(path, before.data, before.len);
	seen = open_at(NOW, "alice", "pop.example.org", true);
	tap_ok(seen_count(seen) == 3, "a torn file is read");
	deliver(seen, "x", 1);
	close_flushed(seen);
	after = read_file(path);
	tap_ok(after.len == before.len, "and left as it is");
	buf_free(&before);
	buf_free(&after);
}

/* Hold the lock in another process until told, or until it has seen to it. */
static pid_t
hold_lock(int release, int ready)
{
	pid_t child = fork();
	struct seen *seen;
	char byte = 'x';

	if (child != 0)
		return child;
	seen = open_seen();
	if (seen == NULL || write(ready, &byte, 1) != 1 ||
	    read(release, &byte, 1) == -1)
		_exit(1);
	_exit(0);
}

static void
test_lock(void)
{
	struct seen_params params = {.path = path,
	    .user = "alice",
	    .host = "pop.example.org",
	    .wait = 10,
	    .now = NOW};
	int ready[2], release[2], status;
	struct seen *seen;
	pid_t child;
	char byte;

	fresh();
	if (pipe(ready) == -1 || pipe(release) == -1)
		abort();
	child = hold_lock(release[0], ready[1]);
	if (read(ready[0], &byte, 1) != 1)
		abort();
	seen = open_seen();
	tap_ok(seen == NULL && err.class == ERR_TEMPFAIL && err.quiet &&
		strstr(err.text, path) != NULL,
	    "another run holds the lock");
	tap_ok(seen_open(&params, &err) == NULL && err.class == ERR_TEMPFAIL,
	    "also after a wait");
	tap_ok(open_at(NOW, "alice", "h", true) == NULL &&
		err.class == ERR_TEMPFAIL,
	    "also for a reader");
	params.wait = 60000;
	byte = 'x';
	if (write(release[1], &byte, 1) != 1)
		abort();
	seen = seen_open(&params, &err);
	tap_ok(seen != NULL, "a wait that is long enough");
	seen_close(seen);
	waitpid(child, &status, 0);
	tap_ok(status == 0, "the other run was well");
	close(ready[0]);
	close(ready[1]);
	close(release[0]);
	close(release[1]);
}

static void
test_pending(void)
{
	const struct seen_pending *pending;
	const char *where;
	struct seen *seen;

	fresh();
	seen = open_seen();
	seen_batch(seen, "maildir /m", "maildir /m");
	deliver(seen, "old", 1);
	seen_published(seen);
	seen_batch(seen, "mbox /b ox", "mbox 1:2 345 /b ox");
	seen_delivered(seen, "n1", 1, 2, "-");
	seen_delivered(seen, "n2", 1, 2, "a b,S=1%");
	seen_delivered(seen, "n3", 1, 2, "");
	seen_undo(seen, 3);
	close_flushed(seen);
	seen = open_seen();
	tap_ok(seen_pending(seen, &where, &pending) == 2,
	    "two are pending, one is undone");
	tap_is(where, "mbox 1:2 345 /b ox", "where they are");
	tap_is(pending[0].id, "n1", "the first id");
	tap_is(pending[0].place, "-", "the first place");
	tap_is(pending[1].place, "a b,S=1%", "the second place");
	tap_ok(pending[0].index == 1 && pending[1].index == 2, "the indexes");
	seen_undo(seen, pending[0].index);
	tap_is(pending[1].id, "n2", "they outlast the next record");
	seen_published(seen);
	tap_ok(seen_pending(seen, &where, &pending) == 0 && where == NULL,
	    "settled");
	close_flushed(seen);
	seen = open_seen();
	tap_ok(seen_pending(seen, &where, &pending) == 0 && where == NULL,
	    "for good");
	tap_ok(match(seen, "n1") == NULL && match(seen, "n2") != NULL &&
		match(seen, "n3") == NULL && match(seen, "old") != NULL,
	    "with this outcome");
	tap_ok(seen_delivered_to(seen, "maildir /m") == NOW &&
		seen_delivered_to(seen, "mbox /b ox") == NOW &&
		seen_delivered_to(seen, "maildir /n") == 0,
	    "the targets are remembered");
	seen_close(seen);
}

/* Make garbage of the last line that begins so. */
static void
spoil(const char *beginning)
{
	struct buf all = read_file(path);
	char *at = NULL;

	for (char *line = all.data; line != NULL && *line != '\0';
	     line = strchr(line, '\n')) {
		line += *line == '\n';
		if (strncmp(line, beginning, strlen(beginning)) == 0)
			at = line;
	}
	*at ^= 1;
	write_file(path, all.data, all.len);
	buf_free(&all);
}

/* A state whose last records are a batch of two, and what follow writes. */
static void
make_batch(void (*follow)(struct seen *))
{
	struct seen *seen;

	fresh();
	seen = open_seen();
	deliver(seen, "old", 1);
	close_flushed(seen);
	seen = open_seen();
	seen_batch(seen, "maildir /m", "maildir /m");
	seen_delivered(seen, "b1", 1, 2, "place1");
	seen_delivered(seen, "b2", 1, 2, "place2");
	if (follow != NULL) {
		seen_published(seen);
		follow(seen);
	}
	close_flushed(seen);
}

static void
delete_first(struct seen *seen)
{
	seen_deleted(seen, 0);
}

static void
end_session(struct seen *seen)
{
	seen_session_done(seen, 1, 1);
}

static void
next_batch(struct seen *seen)
{
	seen_batch(seen, "mda true", "mda");
	deliver(seen, "next", 1);
}

/* How many of the batch are known, and how many of them are in doubt. */
static bool
batch_is(bool known, size_t pending)
{
	const struct seen_pending *unused;
	const char *where;
	struct seen *seen = open_seen();
	bool is = (match(seen, "b1") != NULL) == known &&
	    (match(seen, "b2") != NULL) == known &&
	    match(seen, "old") != NULL &&
	    seen_pending(seen, &where, &unused) == pending;

	seen_close(seen);
	return is;
}

static void
test_damaged_batch(void)
{
	static void (*const follows[])(struct seen *) = {
	    delete_first, end_session, next_batch};
	struct seen *seen;

	for (size_t i = 0; i < 3; i++) {
		make_batch(follows[i]);
		spoil("published");
		tap_ok(batch_is(true, follows[i] == next_batch ? 1 : 0),
		    "published is garbage, and something follows: %zu", i);
	}
	make_batch(NULL);
	tap_ok(batch_is(true, 2), "not published: in doubt");
	make_batch(NULL);
	spoil("batch");
	tap_ok(batch_is(false, 0), "nor known where: fetched again");
	seen = open_seen();
	next_batch(seen);
	close_flushed(seen);
	tap_ok(batch_is(false, 1), "and the next batch does not change that");
	make_batch(end_session);
	spoil("batch");
	tap_ok(batch_is(true, 0), "published, not known where: no matter");
}

static bool
may_lack(void)
{
	struct seen *seen = open_at(NOW, "alice", "pop.example.org", true);
	bool lacks = seen_may_lack(seen);

	seen_close(seen);
	return lacks;
}

/* So many records that it is compacted when it is closed. */
static bool
may_lack_when_compacted(bool ends_well)
{
	struct seen *seen;
	struct stat st;

	fresh();
	seen = open_seen();
	for (int i = 0; i < 1300; i++)
		end_session(seen);
	deliver(seen, "a", 1);
	if (ends_well)
		end_session(seen);
	close_flushed(seen);
	if (stat(path, &st) == -1 || st.st_size > 1000)
		tap_ok(false, "it was compacted");
	return may_lack();
}

static void
test_missing_records(void)
{
	struct seen *seen;
	struct stat st;

	make_batch(end_session);
	tap_ok(!may_lack(), "behind a good session nothing is missing");
	seen = open_seen();
	tap_ok(seen_copies(seen, "b1") == 1 && seen_copies(seen, "x") == 0,
	    "copies of an id");
	seen_close(seen);
	tap_ok(stat(path, &st) == 0 && truncate(path, st.st_size - 3) == 0 &&
		may_lack(),
	    "torn: perhaps");
	make_batch(end_session);
	spoil("got");
	tap_ok(may_lack(), "garbage: perhaps");
	close_flushed(open_seen());
	tap_ok(may_lack() && !file_has(path, "fot"),
	    "still so when the garbage is gone");
	seen = open_seen();
	end_session(seen);
	close_flushed(seen);
	tap_ok(!may_lack(), "no more after a good session");
	fresh();
	seen = open_seen();
	seen_delivered(seen, "a", 1, 2, "place");
	end_session(seen);
	close_flushed(seen);
	spoil("got");
	close_flushed(open_seen());
	tap_ok(may_lack() && !file_has(path, "fot"),
	    "even if nothing but a session is left");
	make_batch(NULL);
	tap_ok(may_lack(), "no good session: perhaps");
	tap_ok(may_lack_when_compacted(false), "compaction hides nothing");
	tap_ok(!may_lack_when_compacted(true), "and arouses no suspicion");
}

/* One good session in which only these are listed. */
static void
session(time_t when, const char *const *uids)
{
	struct seen *seen = open_at(when, "alice", "pop.example.org", false);

	for (; *uids != NULL; uids++)
		match(seen, *uids);
	seen_session_done(seen, 5, 50);
	close_flushed(seen);
}

static void
test_sessions(void)
{
	static const char *const both[] = {"a", "b", NULL};
	static const char *const only_a[] = {"a", NULL};
	const struct seen_session *past;
	struct seen *seen;

	fresh();
	seen = open_seen();
	deliver(seen, "a", 1);
	deliver(seen, "b", 1);
	seen_session_done(seen, 2, 20);
	past = seen_last_session(seen);
	tap_ok(past->time == NOW && past->days == 1 && past->count == 2 &&
		past->octets == 20 && past->newest == NOW,
	    "a session");
	close_flushed(seen);
	for (int i = 0; i < 50; i++)
		session(NOW + i, only_a);
	seen = open_seen();
	tap_ok(seen_last_session(seen)->days == 1 &&
		seen_last_session(seen)->newest == NOW + 49,
	    "a day counts once");
	tap_ok(seen_at(seen, 1)->missing == 1 && match(seen, "b") != NULL,
	    "missing since then, but known");
	seen_close(seen);
	session(NOW + DAY, both);
	seen = open_seen();
	tap_ok(seen_at(seen, 1)->missing == 0, "it is back");
	seen_close(seen);
	for (int i = 0; i < 30; i++)
		session(NOW + (100 + i) * DAY, only_a);
	seen = open_seen();
	tap_ok(match(seen, "b") != NULL && match(seen, "a") != NULL,
	    "absent for 29 session days: known");
	seen_close(seen);
	session(NOW + 200 * DAY, only_a);
	seen = open_seen();
	tap_ok(match(seen, "b") == NULL && match(seen, "a") != NULL,
	    "for 30: forgotten");
	deliver(seen, "b", 7);
	close_flushed(seen);
	seen = open_seen();
	tap_ok(match(seen, "b")->octets == 7, "and delivered anew");
	seen_close(seen);
}

static time_t
login_after(time_t now)
{
	struct seen *seen = open_at(now, "alice", "pop.example.org", true);
	time_t when = seen_login_after(seen);

	seen_close(seen);
	return when;
}

static void
test_login_delay(void)
{
	struct seen *seen;
	struct stat st;

	fresh();
	seen = open_seen();
	tap_ok(seen_login_after(seen) == 0, "no delay");
	seen_login_delayed(seen, 600);
	tap_ok(seen_login_after(seen) == NOW + 600 && seen_is_new(seen),
	    "a delay; the state is as new as before");
	close_flushed(seen);
	tap_ok(login_after(NOW) == NOW + 600 &&
		login_after(NOW + 599) == NOW + 600 &&
		login_after(NOW + 600) == 0,
	    "the next run knows it, until it is over");
	tap_ok(login_after(NOW - 1) == 0, "but for a clock before it");
	seen = open_at(NOW, "bob", "pop.example.org", true);
	tap_ok(seen_login_after(seen) == 0, "it is not another's");
	seen_close(seen);
	seen = open_seen();
	for (int i = 0; i < 1300; i++)
		seen_session_done(seen, 1, 2);
	tap_ok(seen_login_after(seen) == 0, "a good session ends it");
	seen_login_delayed(seen, UINT64_MAX);
	tap_ok(seen_login_after(seen) == NOW + DAY, "a day at most");
	close_flushed(seen);
	tap_ok(login_after(NOW) == NOW + DAY, "it survives a compaction");
	tap_ok(stat(path, &st) == 0 && st.st_size < 1000, "there was one");
	tap_ok(warnings.n == 0, "no garbage");
}

/* A message whose batch is lost comes again, and only once. */
static void
test_stray(void)
{
	struct seen *seen;

	fresh();
	seen = open_seen();
	seen_delivered(seen, "a", 1, 2, "place");
	close_flushed(seen);
	seen = open_seen();
	tap_ok(match(seen, "a") == NULL, "without its batch it is not known");
	seen_batch(seen, "maildir /m", "maildir /m");
	deliver(seen, "a", 2);
	seen_published(seen);
	close_flushed(seen);
	seen = open_seen();
	tap_ok(match(seen, "a")->octets == 2 && match(seen, "a") == NULL,
	    "nor does another batch make it known");
	seen_close(seen);
}

static void
test_flags(void)
{
	struct seen *seen;
	uint32_t one, two;

	fresh();
	seen = open_seen();
	one =
	    seen_imported(seen, "i1", SEEN_OCTETS_UNKNOWN, 0, 5, SEEN_IMPORTED);
	two =
	    seen_imported(seen, "i1", SEEN_OCTETS_UNKNOWN, 0, 5, SEEN_IMPORTED);
	tap_ok(one == two && seen_count(seen) == 1,
	    "what is known is not imported again");
	seen_imported(seen, "m1", 3, 4, 6, SEEN_MARKED);
	seen_imported(seen, "r1", 3, 4, 7, SEEN_REBUILT);
	close_flushed(seen);
	seen = open_seen();
	tap_ok(seen_at(seen, 0)->flags == SEEN_IMPORTED &&
		seen_at(seen, 0)->octets == SEEN_OCTETS_UNKNOWN &&
		seen_at(seen, 0)->time == 5 && seen_header_hash(seen, 0) == 0,
	    "imported");
	tap_ok(seen_at(seen, 1)->flags == SEEN_MARKED, "marked");
	tap_ok(seen_at(seen, 2)->flags == SEEN_REBUILT &&
		seen_header_hash(seen, 2) == 4,
	    "rebuilt");
	seen_match(seen, "i1", 2);
	seen_deleted(seen, 0);
	seen_deleted(seen, 1);
	seen_undo(seen, 2);
	tap_ok((seen_at(seen, 0)->flags & PUBLIC_FLAGS) ==
		(SEEN_IMPORTED | SEEN_DELETED | SEEN_MATCHED),
	    "deleted in this run: it stands for the listed one as before");
	close_flushed(seen);
	seen = open_seen();
	tap_ok(seen_at(seen, 0)->flags == (SEEN_IMPORTED | SEEN_DELETED) &&
		seen_at(seen, 1)->flags == (SEEN_MARKED | SEEN_DELETED) &&
		seen_at(seen, 2)->flags == (SEEN_REBUILT | SEEN_UNDONE),
	    "what it was before it was deleted or undone is kept");
	seen_close(seen);
}

static void
test_update(void)
{
	struct seen *seen;

	fresh();
	seen = open_seen();
	deliver(seen, "a", 1);
	deliver(seen, "b", 2);
	close_flushed(seen);
	seen = open_seen();
	match(seen, "nothing");
	seen_update(seen, 0, "a", 11, 111);
	seen_update(seen, 1, "c", 22, 222);
	seen_deleted(seen, 1);
	tap_ok(
	    seen_at(seen, 0)->octets == 11 && seen_header_hash(seen, 1) == 222,
	    "in this run");
	tap_ok(match(seen, "b") == NULL && match(seen, "c") != NULL,
	    "by its new id");
	close_flushed(seen);
	seen = open_seen();
	tap_ok(seen_count(seen) == 2 && match(seen, "a")->octets == 11 &&
		match(seen, "b") == NULL && match(seen, "c")->octets == 22,
	    "and in the next");
	tap_ok(seen_header_hash(seen, 1) == 222 &&
		seen_at(seen, 1)->time == NOW &&
		(seen_at(seen, 1)->flags & SEEN_DELETED) != 0,
	    "hash, time and deletion");
	seen_close(seen);
}

/* Each is found by what it is called now, in the run in which that changes. */
static void
test_new_ids(void)
{
	struct seen *seen;
	const uint32_t order[] = {3, 1, 0, 2};
	char id[16];
	size_t n = 0;

	fresh();
	seen = open_seen();
	for (uint32_t i = 0; i < 4; i++)
		deliver(seen, "same", 1);
	match(seen, "nothing");
	for (uint32_t i = 0; i < 4; i++) {
		seen_update(seen, order[i], "new", 1, 2);
		n += seen_copies(seen, "same") == 3 - i &&
		    seen_copies(seen, "new") == i + 1;
	}
	tap_ok(n == 4, "several with an id get another, one by one");
	n = 0;
	for (uint32_t i = 4; i < 1000; i++) {
		snprintf(id, sizeof(id), "old%u", i);
		deliver(seen, id, i);
		n += seen_copies(seen, id);
	}
	tap_ok(n == 996, "many more are found");
	n = 0;
	for (uint32_t i = 4; i < 1000; i++) {
		snprintf(id, sizeof(id), "new%u", i);
		seen_update(seen, i, id, i, 1);
		n += seen_copies(seen, id);
	}
	tap_ok(n == 996, "all of many get another");
	for (uint32_t i = 4; i < 1000; i++) {
		snprintf(id, sizeof(id), "old%u", i);
		n -= seen_copies(seen, id) == 0;
		snprintf(id, sizeof(id), "new%u", i);
		n += seen_copies(seen, id) != 1;
	}
	tap_ok(n == 0, "and keep it");
	seen_close(seen);
}

static char *
describe(struct seen *seen)
{
	struct buf text = {0};

	for (uint32_t i = 0; i < seen_count(seen); i++) {
		const struct seen_message *message = seen_at(seen, i);

		if ((message->flags & SEEN_UNDONE) != 0)
			continue;
		seen_read_id(seen, i, &text, &err);
		buf_printf(&text, " %llu %llu %u %u %llx\n",
		    (unsigned long long)message->octets,
		    (unsigned long long)message->flags & PUBLIC_FLAGS,
		    message->time, (unsigned int)message->missing,
		    (unsigned long long)seen_header_hash(seen, i));
	}
	buf_printf(&text, "%lld %u %llu %llu %lld %lld",
	    (long long)seen_last_session(seen)->time,
	    seen_last_session(seen)->days,
	    (unsigned long long)seen_last_session(seen)->count,
	    (unsigned long long)seen_last_session(seen)->octets,
	    (long long)seen_last_session(seen)->newest,
	    (long long)seen_delivered_to(seen, "maildir /m"));
	return buf_string(&text);
}

static bool
import(struct seen *seen, const char *text, size_t *count)
{
	write_file(in_dir("list"), text, strlen(text));
	return seen_import_mpop(seen, in_dir("list"), count, &err) == 0;
}

/* Much that is dead, and some of everything that is not. */
static void
record_much(struct seen *seen)
{
	char uid[16];
	size_t count;

	import(seen, " 3 pop.example.org alice\ni1\ni2\ni3\n", &count);
	seen_batch(seen, "maildir /m", "maildir /m");
	for (uint64_t i = 0; i < 60; i++) {
		snprintf(uid, sizeof(uid), "u%d", (int)i % 20);
		deliver(seen, uid, i);
	}
	seen_published(seen);
	for (uint32_t i = 0; i < 60; i++) {
		if (i % 3 == 0)
			seen_undo(seen, i);
		else if (i % 2 == 0)
			seen_deleted(seen, i);
	}
	seen_update(seen, 1, "changed", 33, 34);
	seen_update(seen, 4, "u4", 44, 45);
	seen_imported(seen, "imp", 1, 2, 3, SEEN_IMPORTED);
	seen_imported(seen, "imp2", 1, 2, 3, SEEN_MARKED);
	seen_imported(seen, "imp3", 1, 2, 3, SEEN_REBUILT);
	for (int i = 0; i < 1300; i++)
		seen_session_done(seen, 8001, 80002);
}

static uint32_t
claim(struct seen *seen, const char *uid, uint64_t header, uint64_t octets)
{
	const struct seen_message *message =
	    seen_claim(seen, uid, header, octets);

	return message != NULL ? seen_index(seen, message) : UINT32_MAX;
}

static void
test_claim(void)
{
	struct seen *seen;

	fresh();
	seen = open_seen();
	seen_deleted(seen, deliver(seen, "x", 10));
	deliver(seen, "x", 20);
	deliver(seen, "x", 10);
	close_flushed(seen);
	seen = open_seen();
	tap_ok(claim(seen, "x", 11, 10) == 2,
	    "of two that are equal the one that was not deleted");
	tap_ok(claim(seen, "x", 11, 30) == UINT32_MAX,
	    "what was deleted is not back in another size");
	tap_ok(claim(seen, "x", 11, 10) == 0, "in its own it is");
	tap_ok(claim(seen, "x", 22, 20) == UINT32_MAX,
	    "another header is another message");
	tap_ok(claim(seen, "x", 21, 30) == 1,
	    "the same header in another size is the same");
	seen_close(seen);
}

static void
test_compaction(void)
{
	struct buf before, after;
	struct seen *seen;
	struct stat st;
	char *was, *is;

	fresh();
	write_file(in_dir("real3"), "", 0);
	tap_ok(symlink(in_dir("real3"), path) == 0, "a link to a state");
	seen = open_at(NOW, "bob", "other", false);
	deliver(seen, "bob's", 1);
	seen_session_done(seen, 8, 8);
	close_flushed(seen);
	seen = open_seen();
	record_much(seen);
	seen_flush(seen, true, &err);
	before = read_file(path);
	write_file(in_dir("real3.compacting"), "left by a crash", 15);
	seen_close(seen);
	after = read_file(path);
	tap_ok(after.len < before.len / 4, "compacted: %zu to %zu bytes",
	    before.len, after.len);
	tap_ok(lstat(path, &st) == 0 && S_ISLNK(st.st_mode) &&
		stat(path, &st) == 0 && (st.st_mode & 0777) == 0600,
	    "the link stays, mode 0600");
	tap_ok(access(in_dir("real3.compacting"), F_OK) == -1,
	    "nothing is left over");
	seen = open_seen();
	is = describe(seen);
	seen_close(seen);
	fresh();
	write_file(path, before.data, before.len);
	seen = open_at(NOW, "alice", "pop.example.org", true);
	was = describe(seen);
	seen_close(seen);
	tap_is(is, was, "it means the same");
	free(is);
	free(was);
	snprintf(path, sizeof(path), "%s", in_dir("real3"));
	seen = open_at(NOW, "bob", "other", false);
	tap_ok(
	    match(seen, "bob's") != NULL && seen_last_session(seen)->count == 8,
	    "the other owner's records are there");
	seen_close(seen);
	seen = open_seen();
	deliver(seen, "more", 1);
	tap_ok(close_flushed(seen) && (seen = open_seen()) != NULL &&
		match(seen, "more") != NULL && warnings.n == 0,
	    "and it goes on");
	seen_close(seen);
	buf_free(&before);
	buf_free(&after);
}

static const char old_list[] =
    "# This file was generated by mpop version 1.4.18.\n#\n"
    " 2 other alice\nx1\nx2\n"
    " 3 POP.example.org alice\na 5\nuid1\nuid2\n"
    " 1 pop.example.org bob\nb1\n";
static const char new_list[] =
    "# This file was generated by mpop version 1.4.23.\n#\n"
    " 3 pop.example.org alice\na 5 1600000000\nuid1 1600000001\n"
    "uid2 99999999999\n";

static void
test_import(void)
{
	struct seen *seen;
	size_t count;

	fresh();
	seen = open_seen();
	tap_ok(seen_import_mpop(seen, in_dir("none"), &count, &err) == 0 &&
		count == 0 && seen_is_new(seen),
	    "no list, nothing imported");
	tap_ok(import(seen, old_list, &count) && count == 3, "an old list");
	close_flushed(seen);
	seen = open_seen();
	tap_ok(match(seen, "a 5") != NULL && match(seen, "uid2") != NULL &&
		match(seen, "x1") == NULL && match(seen, "b1") == NULL,
	    "ours only, blanks and all");
	tap_ok((seen_at(seen, 1)->flags & (PUBLIC_FLAGS - SEEN_MATCHED)) ==
		    SEEN_IMPORTED &&
		seen_at(seen, 1)->time == NOW,
	    "imported now");
	tap_ok(import(seen, old_list, &count) && count == 0,
	    "a second time: nothing new");
	seen_close(seen);

	fresh();
	seen = open_seen();
	tap_ok(import(seen, new_list, &count) && count == 3, "a new list");
	tap_ok(seen_at(seen, 0)->time == NOW && seen_at(seen, 2)->time == NOW,
	    "its times are no matter, this is the day of the import");
	tap_ok(match(seen, "a 5") != NULL && match(seen, "uid1") != NULL,
	    "and its ids");
	seen_close(seen);

	fresh();
	seen = open_seen();
	tap_ok(!import(seen, " 3 pop.example.org alice\nu1\n", &count) &&
		err.class == ERR_IO && strstr(err.text, "list:3") != NULL,
	    "a list cut short");
	tap_ok(!import(seen, "# c\nwhat\n", &count) && err.class == ERR_IO,
	    "no list at all");
	tap_ok(
	    !import(seen, " 1 pop.example.org alice\nu1\nrubbish\n", &count) &&
		count == 0 && match(seen, "u1") == NULL && seen_is_new(seen),
	    "all or nothing");
	tap_ok(close_flushed(seen) && (seen = open_seen()) != NULL &&
		seen_is_new(seen) && match(seen, "u1") == NULL,
	    "in the next run as well");
	seen_close(seen);

	write_file(in_dir("list"), old_list, strlen(old_list));
	tap_ok(seen_is_mpop_list(in_dir("list")), "a list is recognised");
	write_file(in_dir("list"), " 1 h u\nx\n", 9);
	tap_ok(seen_is_mpop_list(in_dir("list")), "without a comment, too");
	write_file(in_dir("list"), "poplar-state 1", 14);
	tap_ok(!seen_is_mpop_list(in_dir("list")) &&
		!seen_is_mpop_list(in_dir("none")) && !seen_is_mpop_list(dir),
	    "nothing else is");
}

static size_t
count_lines(const char *beginning)
{
	struct buf all = read_file(path);
	size_t n = 0;

	for (const char *line = all.data; line != NULL;
	     line = strchr(line, '\n')) {
		line += *line == '\n';
		n += strncmp(line, beginning, strlen(beginning)) == 0;
	}
	buf_free(&all);
	return n;
}

/* Of n messages, u0 is listed at the end again, and each one twice in a row. */
static void
import_many(struct seen *seen, int n)
{
	struct buf list = {0};
	size_t count;

	buf_printf(&list, " %d pop.example.org alice\n", 2 * n + 1);
	for (int i = 0; i < n; i++)
		buf_printf(&list, "u%d\nu%d\n", i, i);
	buf_puts(&list, "u0\n");
	tap_ok(import(seen, buf_string(&list), &count) && count == (size_t)n,
	    "%d messages are imported once", n);
	buf_free(&list);
}

static void
test_ids_in_a_line(void)
{
	struct buf id = {0};
	struct seen *seen;
	size_t lines;

	fresh();
	seen = open_seen();
	import_many(seen, 40);
	tap_ok(seen_count(seen) == 40 && seen_read_id(seen, 17, &id, &err) == 0,
	    "they are known at once");
	tap_is(id.data, "u17", "by their ids");
	close_flushed(seen);
	lines = count_lines("imported-ids ");
	tap_ok(lines >= 3 && lines <= 6, "several in a line: %zu lines", lines);
	seen = open_seen();
	id.len = 0;
	tap_ok(seen_count(seen) == 40 &&
		seen_read_id(seen, 39, &id, &err) == 0 &&
		seen_header_hash(seen, 39) == 0 &&
		seen_at(seen, 39)->octets == SEEN_OCTETS_UNKNOWN &&
		seen_at(seen, 39)->time == NOW,
	    "and in the next run");
	tap_is(id.data, "u39", "the last one by its id as well");
	buf_free(&id);
	seen_deleted(seen, 20);
	seen_update(seen, 21, "n21", 5, 6);
	seen_undo(seen, 22);
	seen_session_done(seen, 1, 2);
	close_flushed(seen);
	seen = open_seen();
	tap_ok((match(seen, "u20")->flags & SEEN_DELETED) != 0 &&
		match(seen, "u21") == NULL && match(seen, "n21")->octets == 5 &&
		seen_header_hash(seen, 21) == 6 && match(seen, "u22") == NULL,
	    "each has records of its own");
	tap_ok(match(seen, "u3")->missing == 1, "and may be missing");
	seen_close(seen);

	fresh();
	seen = open_seen();
	import_many(seen, 40);
	close_flushed(seen);
	spoil("imported-ids ");
	seen = open_seen();
	tap_ok(warnings.n == 1 && strstr(warnings.last, ": garbage") != NULL &&
		seen_count(seen) >= 24 && seen_count(seen) < 40 &&
		match(seen, "u0") != NULL,
	    "garbage costs those of its line");
	seen_close(seen);
	warnings.n = 0;
	seen = open_seen();
	tap_ok(warnings.n == 0 && match(seen, "u0") != NULL,
	    "the others are in the new file");
	seen_close(seen);
}

/* Cut at any byte it has happened whole, or can be done again. */
static void
test_cut_import(void)
{
	static const char list[] = " 3 pop.example.org alice\nu1\nu2\nu3\n";
	struct buf whole;
	struct seen *seen;
	size_t bad = 0, count;

	fresh();
	seen = open_seen();
	import(seen, list, &count);
	close_flushed(seen);
	whole = read_file(path);
	for (size_t n = 0; n <= whole.len; n++) {
		write_file(path, whole.data, n);
		seen = open_seen();
		if (seen_is_new(seen) ? match(seen, "u1") != NULL
				      : match(seen, "u3") == NULL)
			bad++;
		if (!import(seen, list, &count))
			bad++;
		close_flushed(seen);
		seen = open_seen();
		for (const char *uid = "u1\0u2\0u3\0"; *uid != '\0'; uid += 3)
			if (match(seen, uid) == NULL ||
			    match(seen, uid) != NULL)
				bad++;
		seen_close(seen);
	}
	tap_ok(bad == 0 && warnings.n == 0,
	    "an import cut at each of %zu bytes can be done again", whole.len);
	buf_free(&whole);
}

static void
test_broken_import(void)
{
	struct seen *seen;
	size_t count;

	fresh();
	seen = open_seen();
	seen_import_begin(seen, "fetchmail list");
	seen_imported(seen, "u1", 1, 1, 1, SEEN_IMPORTED);
	close_flushed(seen); /* and here it crashed */
	seen = open_seen();
	tap_ok(seen_is_new(seen) && match(seen, "u1") == NULL,
	    "a broken import has not happened");
	deliver(seen, "u2", 1);
	close_flushed(seen);
	seen = open_seen();
	tap_ok(!seen_is_new(seen) && match(seen, "u1") == NULL &&
		match(seen, "u2") != NULL,
	    "what came later has");
	tap_ok(import(seen, " 1 pop.example.org alice\nu1\n", &count) &&
		count == 1,
	    "it can be done again");
	close_flushed(seen);
	seen = open_seen();
	tap_ok(match(seen, "u1") != NULL, "to its end");
	seen_close(seen);
}

static void
test_undone_import(void)
{
	struct seen *seen;
	uint32_t index;

	fresh();
	seen = open_seen();
	deliver(seen, "u1", 1);
	seen_import_begin(seen, "maildir");
	seen_imported(seen, "u2", 1, 1, 1, SEEN_REBUILT);
	index = seen_imported(seen, "u3", 1, 1, 1, SEEN_REBUILT);
	seen_batch(seen, "maildir /q", "");
	seen_quarantined(seen, "u4", 1, 1, "place");
	seen_published(seen);
	seen_update(seen, index, "u3", 1, 1);
	seen_session_done(seen, 4, 4);
	seen_import_undo(seen);
	close_flushed(seen);
	seen = open_seen();
	tap_ok(match(seen, "u1") != NULL && match(seen, "u2") == NULL &&
		match(seen, "u3") != NULL && match(seen, "u4") != NULL,
	    "an import that is undone keeps what was updated, and no more");
	tap_ok(seen_may_lack(seen), "and records may be missing");
	seen_close(seen);
}

static void
test_failures(void)
{
	struct rlimit limit, small;
	struct seen *seen;
	struct stat before, after;

	fresh();
	seen = open_seen();
	deliver(seen, "a", 1);
	seen_flush(seen, true, &err);
	stat(path, &before);
	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &limit);
	small = limit;
	small.rlim_cur = (rlim_t)before.st_size + 20;
	setrlimit(RLIMIT_FSIZE, &small);
	deliver(seen, "b", 1);
	tap_ok(seen_flush(seen, true, &err) == -1 && err.class == ERR_IO &&
		strstr(err.text, path) != NULL,
	    "a write that fails names the file");
	setrlimit(RLIMIT_FSIZE, &limit);
	tap_ok(stat(path, &after) == 0 && after.st_size == before.st_size,
	    "it is cut back");
	tap_ok(seen_flush(seen, true, &err) == -1, "and stays failed");
	seen_close(seen);
	seen = open_seen();
	tap_ok(
	    seen_count(seen) == 1 && warnings.n == 0, "the next run is clean");
	unlink(path);
	deliver(seen, "b", 1);
	tap_ok(seen_flush(seen, false, &err) == -1 && err.class == ERR_IO,
	    "removed while in use: an error");
	seen_close(seen);
	tap_ok(access(path, F_OK) == -1, "and not made again");
	seen = open_seen();
	write_file(in_dir("moved"), "", 0);
	rename(in_dir("moved"), path);
	deliver(seen, "b", 1);
	tap_ok(seen_flush(seen, true, &err) == -1 && err.class == ERR_IO,
	    "replaced while in use: an error");
	seen_close(seen);
	fresh();
	for (int i = 0; i < 2; i++) {
		seen = open_seen();
		deliver(seen, "a", 1);
		seen_flush(seen, true, &err);
		stat(path, &before);
		deliver(seen, "b", 1);
		tap_ok(truncate(path, i == 0 ? 0 : before.st_size + 1) == 0 &&
			seen_flush(seen, true, &err) == -1 &&
			err.class == ERR_IO && strstr(err.text, path) != NULL,
		    "%s while in use: an error", i == 0 ? "cut" : "grown");
		seen_close(seen);
	}
	seen = open_seen();
	tap_ok(match(seen, "a") != NULL, "the next run has what was flushed");
	seen_close(seen);
}

static void
test_tag(void)
{
	struct seen *seen, *other;
	char a[17], b[17];

	fresh();
	seen = open_at(NOW, "alice", "Pop.Example.org", true);
	other = open_at(NOW, "alice", "pop.example.org", true);
	seen_tag(seen, "uid1", a);
	seen_tag(other, "uid1", b);
	tap_is(a, "e3946d417bbc52e7", "a tag is the same for ever");
	tap_is(a, b, "whatever the host's case");
	seen_tag(seen, "uid2", b);
	tap_ok(strcmp(a, b) != 0, "another id, another tag");
	seen_close(seen);
	seen_close(other);
}

static void
check_trouble(
    struct seen *seen, time_t first, unsigned int blamed, unsigned int breaks)
{
	const struct seen_trouble *trouble = seen_trouble(seen, "bad");

	tap_ok(trouble != NULL && trouble->first == first &&
		trouble->blamed == blamed && trouble->breaks == breaks,
	    "first failed at %lld, to blame %u times, broke the line %u times",
	    (long long)first, blamed, breaks);
}

static void
test_troubles(void)
{
	struct seen *seen;
	struct stat st;

	fresh();
	seen = open_at(NOW, "alice", "h", false);
	tap_ok(seen_trouble(seen, "bad") == NULL, "nothing failed yet");
	seen_blame(seen, "bad");
	seen_failed(seen, "", true);
	tap_ok(!seen_has_troubles(seen), "nothing to blame, and no id");
	seen_failed(seen, "bad", true);
	seen_failed(seen, "bad", true);
	seen_blame(seen, "bad");
	check_trouble(seen, NOW, 0, 2);
	tap_ok(seen_flush(seen, true, &err) == 0, "it is written");
	seen_close(seen);

	seen = open_at(NOW + DAY, "alice", "h", false);
	check_trouble(seen, NOW, 0, 2);
	seen_failed(seen, "bad", false);
	seen_blame(seen, "bad");
	check_trouble(seen, NOW, 1, 0);
	for (int i = 0; i < 2000; i++)
		seen_failed(seen, "bad", true);
	tap_ok(seen_flush(seen, true, &err) == 0, "it is written");
	seen_close(seen);
	tap_ok(stat(path, &st) == 0 && st.st_size < 1000, "that was compacted");

	seen = open_at(NOW + 2 * DAY, "alice", "h", false);
	check_trouble(seen, NOW, 1, 2000);
	seen_delivered(seen, "bad", 1, 2, "p");
	tap_ok(!seen_has_troubles(seen), "delivered, it is well");
	seen_flush(seen, true, &err);
	seen_close(seen);
	seen = open_at(NOW + 2 * DAY, "alice", "h", false);
	tap_ok(!seen_has_troubles(seen), "so it is read as well");
	seen_failed(seen, "old", false);
	seen_flush(seen, true, &err);
	seen_close(seen);
	seen = open_at(NOW + 40 * DAY, "alice", "h", false);
	tap_ok(!seen_has_troubles(seen), "one not tried for long is forgotten");
	seen_close(seen);
}

/* The trace that is there. */
static char *
trying_path(void)
{
	char *pattern = mem_printf("%s.trying-*", path), *found;
	glob_t names;

	found = glob(pattern, 0, NULL, &names) == 0 && names.gl_pathc == 1
	    ? mem_dup(names.gl_pathv[0])
	    : mem_dup("none, or several");
	globfree(&names);
	free(pattern);
	return found;
}

/* While a trace is removed no other run may begin. */
static bool trace_went_unlocked;

static bool
is_locked(void)
{
	int fd = open(path, O_RDWR);
	bool locked = flock(fd, LOCK_EX | LOCK_NB) == -1;

	close(fd);
	return locked;
}

int
unlink(const char *name)
{
	if (strstr(name, ".trying-") != NULL && !is_locked())
		trace_went_unlocked = true;
	return unlinkat(AT_FDCWD, name, 0);
}

/* As if the run had died in its attempt. */
static void
close_but_trace(struct seen *seen)
{
	char *kept = mem_printf("%s.kept", path), *trying = trying_path();

	link(trying, kept);
	seen_close(seen);
	tap_ok(access(trying, F_OK) == -1, "a good end leaves nothing");
	rename(kept, trying);
	free(kept);
	free(trying);
}

static void
leave_attempt(const char *id)
{
	struct seen *seen = open_at(NOW, "alice", "h", false);

	tap_ok(seen_attempt(seen, "a-long-id-before-it", &err) == 0 &&
		seen_attempt(seen, id, &err) == 0,
	    "an attempt begins");
	close_but_trace(seen);
}

static void
settle(const char *user, bool fails, const char *what)
{
	struct seen *seen = open_at(NOW, user, "h", false);

	tap_ok(seen_settle_attempt(seen, &err) == 0 &&
		(seen_trouble(seen, "bad") != NULL) == fails,
	    "%s", what);
	seen_close(seen);
}

static void
test_attempts(void)
{
	struct seen *seen;
	char *trying;

	fresh();
	leave_attempt("bad");
	settle("alice", true, "the next run knows what was tried");
	settle("alice", true, "and the one after that");
	leave_attempt("bad");
	settle("bob", false, "it is nothing to others");

	fresh();
	leave_attempt("bad");
	seen = open_at(NOW, "bob", "h", false);
	tap_ok(seen_settle_attempt(seen, &err) == 0 &&
		seen_attempt(seen, "bobs", &err) == 0,
	    "others that share the file try theirs");
	seen_close(seen);
	settle("alice", true, "and it is still known whose it was");

	fresh();
	leave_attempt("bad");
	seen = open_at(NOW, "alice", "h", false);
	seen_delivered(seen, "bad", 1, 2, "");
	seen_flush(seen, true, &err);
	seen_close(seen);
	settle("alice", false, "what was delivered did not fail");

	fresh();
	leave_attempt("bad");
	trying = trying_path();
	truncate(trying, 20);
	settle("alice", false, "half a line says nothing");
	tap_ok(access(trying, F_OK) == -1, "and does not stay");
	leave_attempt("bad");
	truncate(trying, 0);
	settle("alice", false, "nor does an empty file");
	tap_ok(access(trying, F_OK) == -1, "which does not stay either");
	tap_ok(!trace_went_unlocked, "traces are removed under the lock");
	free(trying);
}

/* The system takes no store into a file that somebody has cut. */
static void
test_cut_attempt(void)
{
	struct seen *seen;
	char *trying;

	fresh();
	seen = open_at(NOW, "alice", "h", false);
	seen_attempt(seen, "good", &err);
	trying = trying_path();
	truncate(trying, 0);
	free(trying);
	tap_ok(seen_attempt(seen, "bad", &err) == 0,
	    "cut in the middle, the trace is written anew");
	close_but_trace(seen);
	settle("alice", true, "and read");
}

static void
test_long_attempt(void)
{
	char longest[5000] = "";
	struct seen *seen;

	memset(longest, 'x', sizeof(longest) - 1);
	fresh();
	leave_attempt(longest);
	settle(
	    "alice", false, "one longer than is mapped is none of the others");
	seen = open_at(NOW, "alice", "h", false);
	tap_ok(seen_trouble(seen, longest) != NULL, "but known");
	tap_ok(seen_attempt(seen, "good", &err) == 0 &&
		seen_attempt(seen, longest, &err) == 0 &&
		seen_attempt(seen, "bad", &err) == 0,
	    "one is tried behind it");
	close_but_trace(seen);
	settle("alice", true, "and known as well");
}

static void
test_quarantined(void)
{
	struct seen *seen;
	struct seen_message *message;
	const struct seen_pending *pending;
	const char *where;

	fresh();
	seen = open_at(NOW, "alice", "h", false);
	seen_batch(seen, "maildir /q", "maildir /q");
	seen_quarantined(seen, "bad", 10, 2, "place");
	seen_flush(seen, true, &err);
	seen_close(seen);
	seen = open_at(NOW, "alice", "h", false);
	tap_ok(seen_pending(seen, &where, &pending) == 1 &&
		strcmp(pending[0].place, "place") == 0,
	    "a message in quarantine is settled like others");
	seen_published(seen);
	message = seen_match(seen, "bad", 3);
	tap_ok(message != NULL &&
		(message->flags & (SEEN_MARKED | SEEN_QUARANTINED)) ==
		    (SEEN_MARKED | SEEN_QUARANTINED),
	    "and known, but never to be deleted");
	seen_close(seen);
}

/* One record, and the question whether it is that of a message which was looked
 * at. */
static const struct claim {
	const char *name;
	bool deleted;
	uint64_t recorded_header; /* 0: unknown */
	uint64_t recorded_octets;
	uint64_t header;
	uint64_t octets;
	bool fits;
} claims[] = {
    {"the same header and size", false, 7, 100, 7, 100, true},
    {"the same header, another size", false, 7, 100, 7, 200, true},
    {"another header", false, 7, 100, 8, 100, false},
    {"no header, the same size", false, 7, 100, 0, 100, true},
    {"no header, another size", false, 7, 100, 0, 200, false},
    {"no header, no size", false, 7, 100, 0, SEEN_OCTETS_UNKNOWN, true},
    {"none recorded, the same size", false, 0, 100, 7, 100, true},
    {"none recorded, another size", false, 0, 100, 7, 200, false},
    {"nothing recorded", false, 0, SEEN_OCTETS_UNKNOWN, 7, 100, true},
    {"nothing known", false, 0, SEEN_OCTETS_UNKNOWN, 0, UINT64_MAX, true},
    {"deleted: the same header and size", true, 7, 100, 7, 100, true},
    {"deleted: the same header, another size", true, 7, 100, 7, 200, false},
    {"deleted: another header", true, 7, 100, 8, 100, false},
    {"deleted: no header, the same size", true, 7, 100, 0, 100, false},
    {"deleted: none recorded, the same size", true, 0, 100, 7, 100, false},
};

static void
test_claims(void)
{
	struct seen *seen;

	fresh();
	seen = open_seen();
	for (size_t i = 0; i < sizeof(claims) / sizeof(claims[0]); i++) {
		const struct claim *claim = &claims[i];
		char id[16];

		snprintf(id, sizeof(id), "claim%zu", i);
		seen_delivered(seen, id, claim->recorded_octets,
		    claim->recorded_header, "");
		if (claim->deleted)
			seen_deleted(seen, (uint32_t)i);
		seen_release(seen, (uint32_t)i);
	}
	seen_flush(seen, true, &err);
	for (size_t i = 0; i < sizeof(claims) / sizeof(claims[0]); i++) {
		const struct claim *claim = &claims[i];
		char id[16];

		snprintf(id, sizeof(id), "claim%zu", i);
		tap_ok((seen_claim(seen, id, claim->header, claim->octets) ==
			   seen_at(seen, (uint32_t)i)) == claim->fits,
		    "%s: %s", claim->name, claim->fits ? "it" : "not it");
		tap_ok(
		    seen_claim(seen, id, claim->header, claim->octets) == NULL,
		    "%s: not twice", claim->name);
	}
	seen_close(seen);
}

static void
test_claim_of_several(void)
{
	struct seen *seen;

	fresh();
	seen = open_seen();
	for (uint64_t i = 1; i <= 3; i++)
		seen_release(seen, seen_delivered(seen, "same", 100, i, ""));
	seen_flush(seen, true, &err);
	tap_ok(seen_claim(seen, "same", 2, 100) == seen_at(seen, 1),
	    "of several with an id, the one with that header");
	seen_undo(seen, 2);
	tap_ok(seen_claim(seen, "same", 3, 100) == NULL,
	    "but not what was undone");
	tap_ok(seen_claim(seen, "same", 1, 100) == seen_at(seen, 0),
	    "nor is the first one left out");
	tap_ok(seen_claim(seen, "other", 1, 100) == NULL,
	    "nothing has another id");
	seen_close(seen);
}

static int
remove_one(const char *name, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(name);
}

int
main(void)
{
	if (mkdtemp(dir) == NULL)
		return 1;
	log_open(LOG_AT_VERBOSE, count_warning, NULL);
	test_new();
	test_delivered();
	test_ids();
	test_repeated();
	test_owners();
	test_truncated();
	test_torn_in_pieces();
	test_flipped();
	test_garbage();
	test_damaged_owner();
	test_foreign();
	test_kinds();
	test_read_only();
	test_lock();
	test_pending();
	test_damaged_batch();
	test_missing_records();
	test_sessions();
	test_login_delay();
	test_stray();
	test_flags();
	test_update();
	test_new_ids();
	test_claim();
	test_compaction();
	test_import();
	test_ids_in_a_line();
	test_cut_import();
	test_broken_import();
	test_undone_import();
	test_failures();
	test_tag();
	test_troubles();
	test_attempts();
	test_cut_attempt();
	test_long_attempt();
	test_quarantined();
	test_claims();
	test_claim_of_several();
	nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	return tap_done();
}
