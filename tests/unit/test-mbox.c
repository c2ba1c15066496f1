/* SPDX-License-Identifier: ISC */
#include "mail/deliver.h"
#include "mail/mboxlock.h"

#include <sys/mman.h>
#include <time.h>

#include "mailtest.h"

#define TEXT "Subject: x\n\nbody\n"
#define OLD "From a@b Sun Nov 22 00:09:09 2026\nSubject: old\n\nold\n\n"

static struct deliver *
open_mbox(const char *target, time_t delivered, struct err *err)
{
	/* deliver_open asks for strings that outlive it. */
	static struct deliver_params params;

	params = (struct deliver_params){
	    .kind = DELIVER_MBOX, .target = target, .delivered = delivered};
	return deliver_open(&params, err);
}

static int
commit(struct deliver *deliver, struct err *err)
{
	char where[DELIVER_WHERE_MAX];

	if (deliver_sync(deliver, where, err) == -1 ||
	    deliver_publish(deliver, err) == -1)
		return -1;
	deliver_release(deliver);
	return 0;
}

/* The plain way to mboxrd: line by line, in memory. */
static struct buf
quoted(const struct buf *message)
{
	const char *s = message->data, *end, *newline;
	struct buf out = {0};

	for (end = s + message->len; s < end; s = newline) {
		const char *word = s;

		newline = memchr(s, '\n', (size_t)(end - s));
		newline = newline != NULL ? newline + 1 : end;
		while (word < newline && *word == '>')
			word++;
		if (newline - word >= 5 && memcmp(word, "From ", 5) == 0)
			buf_puts(&out, ">");
		buf_append(&out, s, (size_t)(newline - s));
	}
	if (out.len > 0 && out.data[out.len - 1] != '\n')
		buf_puts(&out, "\n");
	buf_puts(&out, "\n");
	return out;
}

/* Is the file at path this message behind a From_ line? */
static bool
holds(const char *path, const struct buf *message)
{
	struct buf file = get_file(path), expected = quoted(message);
	const char *body = memchr(buf_string(&file), '\n', file.len);
	size_t head = body != NULL ? (size_t)(body + 1 - file.data) : 0;
	bool same = head > 0 && file.len - head == expected.len &&
	    memcmp(file.data + head, expected.data, expected.len) == 0;

	buf_free(&file);
	buf_free(&expected);
	return same;
}

static bool
deliver_in_pieces(const struct buf *message, size_t piece)
{
	char place[DELIVER_PLACE_MAX];
	struct err err;
	struct deliver *deliver;
	bool good;

	unlink("quote");
	deliver = open_mbox("quote", 0, &err);
	good = stage(deliver, message, piece, place, &err) == 0 &&
	    commit(deliver, &err) == 0 && holds("quote", message);
	deliver_close(deliver);
	return good;
}

static void
test_quoting(void)
{
	static const char text[] =
	    "From x\n>From x\n>>From \nFrom\nFrom:\n>Fromage\nF\nFr\nFro\n"
	    "FromFrom x\n From x\n\nFrom x\n>>>\n>x\nFFrom x\n>>>>From x\nFrom";
	struct buf message = {0}, odd = {0};
	struct stat st;
	bool good = true;

	buf_room(&message, sizeof(text));
	for (size_t n = 0; n < sizeof(text); n++) {
		message.len = 0;
		buf_append(&message, text, n);
		good = good && deliver_in_pieces(&message, 3);
	}
	tap_ok(good, "quoting, ended anywhere");
	for (size_t piece = 1; piece < sizeof(text); piece++)
		good = good && deliver_in_pieces(&message, piece);
	tap_ok(good, "quoting, in pieces of any size");
	make_odd_message(&odd);
	tap_ok(deliver_in_pieces(&odd, 4096), "NUL, 8-bit, CR, long lines");
	tap_ok(stat("quote", &st) == 0 && (st.st_mode & 0777) == 0600, "0600");
	tap_ok(access("quote.lock", F_OK) == -1, "the dotlock is gone");
	buf_free(&message);
	buf_free(&odd);
}

static void
test_from_line(void)
{
	const struct deliver_message about = {.uid = "1"};
	const struct deliver_facts facts = {.sender = ""};
	char place[DELIVER_PLACE_MAX], line[128] = "";
	struct tm tm = {0};
	struct buf file;
	struct err err;
	struct deliver *deliver = open_mbox("from", 0, &err);
	const char *rest;

	setenv("TZ", "XXX-11", 1);
	tzset();
	deliver_begin(deliver, &about, &err);
	deliver_stage(deliver, &facts, place, &err);
	stage_text(deliver, TEXT, place, &err);
	commit(deliver, &err);
	deliver_close(deliver);
	file = get_file("from");
	sscanf(buf_string(&file), "%127[^\n]", line);
	tap_ok(strncmp(line, "From MAILER-DAEMON ", 19) == 0, "no sender");
	rest = strptime(line + 19, "%a %b %e %H:%M:%S %Y", &tm);
	tap_ok(strlen(line) == 19 + 24 && rest != NULL && *rest == '\0' &&
		llabs((long long)(timegm(&tm) - time(NULL))) < 100,
	    "asctime form, UTC: %s", line);
	tap_ok(strncmp(file.data + strlen(line) + 1, "\nFrom me@example.org ",
		   21) == 0,
	    "an empty message, and the next");
	buf_free(&file);
	unsetenv("TZ");
	tzset();
}

static void
test_lead(void)
{
	static const struct {
		const char *old;
		const char *lead;
	} cases[] = {
	    {"", ""}, {"\n", ""}, {"x", "\n\n"}, {"x\n", "\n"}, {"x\n\n", ""}};
	char place[DELIVER_PLACE_MAX], start[32];
	struct err err;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct deliver *deliver;
		struct buf file;

		put_text("lead", cases[i].old);
		deliver = open_mbox("lead", 1, &err);
		stage_text(deliver, TEXT, place, &err);
		commit(deliver, &err);
		deliver_close(deliver);
		file = get_file("lead");
		snprintf(start, sizeof(start), "%s%sFrom me@", cases[i].old,
		    cases[i].lead);
		tap_ok(strncmp(buf_string(&file), start, strlen(start)) == 0,
		    "an empty line before From_, case %zu", i);
		buf_free(&file);
	}
}

/* A line in which no part is like another. */
static void
make_line(struct buf *line, size_t i, size_t size)
{
	line->len = 0;
	buf_room(line, size);
	for (size_t at = 0; at < size; at++)
		line->data[at] =
		    (char)('a' + (at + at / 26 + at / 701 + i) % 26);
	line->len = size;
}

/* Small and large ones in one batch, and one that is dropped. */
static void
test_large(void)
{
	static const size_t sizes[] = {
	    10, 1 << 20, 5, 6 << 20, 700000, 700000, 20, 9 << 20, 20};
	const struct deliver_message about = {.uid = "1"};
	char place[DELIVER_PLACE_MAX];
	struct buf one = {0}, expected = {0}, file;
	struct err err;
	struct deliver *deliver = open_mbox("large", 0, &err);
	bool good = true;
	const char *s;

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		make_line(&one, i, sizes[i]);
		good = good && stage(deliver, &one, 65521, place, &err) == 0;
		buf_append(&expected, one.data, one.len);
		buf_puts(&expected, "\n\n");
		deliver_begin(deliver, &about, &err);
		deliver_write(deliver, one.data, one.len, &err);
		deliver_abort(deliver);
	}
	tap_ok(good && commit(deliver, &err) == 0, "large messages");
	deliver_close(deliver);
	file = get_file("large");
	one.len = 0;
	for (s = buf_string(&file); s < file.data + file.len;) {
		const char *end =
		    (const char *)memchr(s, '\n', (size_t)-1 >> 1) + 1;

		if (strncmp(s, "From ", 5) != 0)
			buf_append(&one, s, (size_t)(end - s));
		s = end;
	}
	tap_ok(one.len == expected.len &&
		memcmp(one.data, expected.data, one.len) == 0,
	    "are there in their order");
	buf_free(&one);
	buf_free(&expected);
	buf_free(&file);
}

static void
test_open(void)
{
	struct deliver_params look = {
	    .kind = DELIVER_MBOX, .target = "look", .look_only = true};
	char place[DELIVER_PLACE_MAX];
	struct err err;
	struct deliver *deliver;
	struct stat st;

	tap_ok(
	    open_mbox("no/such", 0, &err) == NULL && err.class == ERR_CANTCREAT,
	    "no parent: %s", err.text);
	deliver = open_mbox("gone", 86400 * 365, &err);
	tap_ok(deliver != NULL && access("gone", F_OK) == 0,
	    "one that a reader has removed is made again");
	deliver_close(deliver);
	mkdir("dir", 0700);
	tap_ok(open_mbox("dir", 0, &err) == NULL && err.class == ERR_CANTCREAT,
	    "a directory: %s", err.text);
	mkfifo("fifo", 0600);
	tap_ok(open_mbox("fifo", 0, &err) == NULL && err.class == ERR_CANTCREAT,
	    "a FIFO: %s", err.text);
	tap_ok(symlink("nothing", "dangling") == 0 &&
		open_mbox("dangling", 0, &err) == NULL &&
		err.class == ERR_CANTCREAT,
	    "a link to nothing: %s", err.text);
	deliver = deliver_open(&look, &err);
	tap_ok(deliver != NULL && access("look", F_OK) == -1,
	    "a look makes nothing");
	deliver_close(deliver);
	put_text("dir/real", OLD);
	tap_ok(symlink("dir/real", "link") == 0 &&
		(deliver = open_mbox("link", 1, &err)) != NULL &&
		stage_text(deliver, TEXT, place, &err) == 0 &&
		commit(deliver, &err) == 0,
	    "a link to one");
	tap_ok(lstat("link", &st) == 0 && S_ISLNK(st.st_mode) &&
		stat("dir/real", &st) == 0 && st.st_size > 80,
	    "stays a link");
	deliver_close(deliver);
}

static void
test_full_disk(void)
{
	const struct rlimit small = {5000, RLIM_INFINITY};
	const struct rlimit no_limit = {RLIM_INFINITY, RLIM_INFINITY};
	char place[DELIVER_PLACE_MAX], where[DELIVER_WHERE_MAX];
	struct buf message = {0};
	struct err err;
	struct deliver *deliver;

	put_text("full", "no final newline");
	deliver = open_mbox("full", 1, &err);
	memset(buf_room(&message, 1500), 'x', 1500);
	message.len = 1500;
	for (int i = 0; i < 5; i++)
		stage(deliver, &message, 1000, place, &err);
	setrlimit(RLIMIT_FSIZE, &small);
	tap_ok(deliver_sync(deliver, where, &err) == 0 &&
		deliver_publish(deliver, &err) == -1 && err.class == ERR_IO,
	    "no room: %s", err.text);
	setrlimit(RLIMIT_FSIZE, &no_limit);
	tap_ok(file_is("full", "no final newline", 16), "as it was");
	deliver_close(deliver);
	tap_ok(access("full.lock", F_OK) == -1, "unlocked");
	buf_free(&message);
}

/* For one of the calls, somebody else makes that file at this moment. */
static const char *raced;

int
lstat(const char *path, struct stat *st)
{
	if (raced != NULL && strcmp(path, raced) == 0) {
		raced = NULL;
		put_text(path, OLD);
	}
	return fstatat(AT_FDCWD, path, st, AT_SYMLINK_NOFOLLOW);
}

static void
test_made_by_others(void)
{
	char place[DELIVER_PLACE_MAX];
	char *path = mem_printf("%s/raced", place_dir);
	struct deliver *deliver;
	struct buf file;
	struct err err;

	raced = path;
	deliver = open_mbox("raced", 0, &err);
	tap_ok(deliver != NULL && raced == NULL,
	    "one that appears when it is to be made");
	tap_ok(stage_text(deliver, TEXT, place, &err) == 0 &&
		commit(deliver, &err) == 0,
	    "is delivered to");
	deliver_close(deliver);
	file = get_file("raced");
	tap_ok(
	    file.len > strlen(OLD) && memcmp(file.data, OLD, strlen(OLD)) == 0,
	    "behind what is in it");
	buf_free(&file);
	free(path);
}

/* Which a mail reader may do when it has emptied it. */
static void
test_removed(void)
{
	char place[DELIVER_PLACE_MAX];
	struct stat st;
	struct err err;
	struct deliver *deliver;

	put_text("removed", OLD);
	deliver = open_mbox("removed", 1, &err);
	stage_text(deliver, TEXT, place, &err);
	unlink("removed");
	tap_ok(commit(deliver, &err) == 0 && stat("removed", &st) == 0 &&
		(st.st_mode & 0777) == 0600 && st.st_size > 40,
	    "one that is removed meanwhile is made again");
	deliver_close(deliver);
}

static void
append_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_APPEND);

	if (fd == -1 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		exit(95);
	close(fd);
}

/* By a program that knows none of our locks. */
static void
test_foreign_append(void)
{
	static const char other[] = "From c@d Sun Nov 22 00:09:10 2026\n\n";
	char place[DELIVER_PLACE_MAX], where[DELIVER_WHERE_MAX];
	struct err err;
	struct deliver *deliver;

	put_text("grown", OLD);
	deliver = open_mbox("grown", 1, &err);
	stage_text(deliver, TEXT, place, &err);
	deliver_sync(deliver, where, &err);
	append_text("grown", other);
	tap_ok(deliver_publish(deliver, &err) == -1 && err.class == ERR_IO &&
		strstr(err.text, "although it is locked") != NULL,
	    "one that grows under the lock: %s", err.text);
	deliver_close(deliver);
	tap_ok(file_is("grown", OLD "From c@d Sun Nov 22 00:09:10 2026\n\n",
		   sizeof(OLD) + sizeof(other) - 2),
	    "what the other one wrote is not cut off");
}

/* What is kept in memory: only the end of such a message needs the spool. */
#define LARGEST ((size_t)5 << 20)

static void
test_full_spool(void)
{
	const struct rlimit small = {5000, RLIM_INFINITY};
	const struct rlimit no_limit = {RLIM_INFINITY, RLIM_INFINITY};
	char place[DELIVER_PLACE_MAX];
	struct buf message = {0};
	struct err err;
	struct deliver *deliver = open_mbox("spool", 0, &err);

	memset(buf_room(&message, LARGEST), 'x', LARGEST);
	message.len = LARGEST;
	setrlimit(RLIMIT_FSIZE, &small);
	tap_ok(stage(deliver, &message, 65536, place, &err) == DELIVER_FAILED,
	    "no room for the end of a message: %s", err.text);
	setrlimit(RLIMIT_FSIZE, &no_limit);
	deliver_abort(deliver);
	tap_ok(stage_text(deliver, TEXT, place, &err) == 0 &&
		commit(deliver, &err) == 0,
	    "there is for the next one");
	deliver_close(deliver);
	buf_free(&message);
}

/* -- locks -- */

static bool
can_lock(const char *path)
{
	struct err err;
	struct mboxlock *lock = mboxlock_take(path, 250, NULL, &err);

	if (lock == NULL)
		printf("# %s\n", err.text);
	mboxlock_release(lock);
	return lock != NULL;
}

static void
test_dotlock(void)
{
	char host[256], text[600];
	long gone = dead_pid();
	pid_t zombie;

	gethostname(host, sizeof(host));
	put_text("locked", OLD);
	tap_ok(can_lock("locked") && access("locked.lock", F_OK) == -1,
	    "locked and unlocked");
	snprintf(text, sizeof(text), "%ld:%s\n", gone, host);
	put_text("locked.lock", text);
	tap_ok(can_lock("locked"), "a stale one");
	snprintf(text, sizeof(text), "%ld\n", gone);
	put_text("locked.lock", text);
	tap_ok(can_lock("locked"), "a stale one that names no host");
	snprintf(text, sizeof(text), "%10ld\n", gone);
	put_text("locked.lock", text);
	tap_ok(can_lock("locked"), "a stale one with blanks, as UUCP has it");
	snprintf(text, sizeof(text), "%ld:other.example\n", gone);
	put_text("locked.lock", text);
	tap_ok(!can_lock("locked"), "one of another host");
	snprintf(text, sizeof(text), "%ld:%s\n", (long)getppid(), host);
	put_text("locked.lock", text);
	tap_ok(!can_lock("locked"), "a live one");
	snprintf(text, sizeof(text), "%ld:%s\npoplar 1.2.3 other-boot\n",
	    (long)getppid(), host);
	put_text("locked.lock", text);
	tap_ok(can_lock("locked"), "one from before the machine went down");
	put_text("locked.lock", "0");
	tap_ok(!can_lock("locked"), "one that names nobody");
	put_text("locked.lock", "");
	tap_ok(!can_lock("locked"), "an empty one");
	zombie = fork();
	if (zombie == 0)
		_exit(0);
	waitid(P_PID, (id_t)zombie, NULL, WEXITED | WNOWAIT);
	snprintf(text, sizeof(text), "%ld:%s\n", (long)zombie, host);
	put_text("locked.lock", text);
	tap_ok(can_lock("locked"), "one of a process nobody waited for");
	waitpid(zombie, NULL, 0);
	unlink("locked.lock");
}

static void
test_fcntl(void)
{
	struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	int ready[2];
	char c;
	pid_t pid;

	if (pipe(ready) == -1)
		return;
	pid = fork();
	if (pid == 0) {
		int fd = open("locked", O_RDWR);

		fcntl(fd, F_SETLK, &whole);
		if (write(ready[1], "x", 1) == 1)
			pause();
		_exit(0);
	}
	tap_ok(read(ready[0], &c, 1) == 1 && !can_lock("locked"),
	    "another process's fcntl lock");
	tap_ok(access("locked.lock", F_OK) == -1, "leaves no dotlock");
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	tap_ok(can_lock("locked"), "and free again");
	close(ready[0]);
	close(ready[1]);
}

/* In a process of its own that is not root. */
static void
deliver_without_dotlock(void)
{
	char place[DELIVER_PLACE_MAX];
	struct err err;
	struct deliver *deliver;

	if (getuid() == 0 && setresuid(65534, 65534, 65534) == -1)
		_exit(1);
	deliver = open_mbox("ro/box", 1, &err);
	if (deliver == NULL)
		_exit(2);
	if (deliver_note(deliver) != NULL ||
	    stage_text(deliver, TEXT, place, &err) == -1)
		_exit(3);
	if (commit(deliver, &err) == -1)
		_exit(4);
	_exit(deliver_note(deliver) != NULL ? 0 : 5);
}

static void
test_no_dotlock(void)
{
	struct stat st;
	int status;
	pid_t pid;

	chmod(".", 0711);
	mkdir("ro", 0755);
	put_text("ro/box", OLD);
	chmod("ro/box", 0666);
	chmod("ro", 0555);
	pid = fork();
	if (pid == 0)
		deliver_without_dotlock();
	waitpid(pid, &status, 0);
	tap_ok(status == 0 && stat("ro/box", &st) == 0 && st.st_size > 80,
	    "fcntl alone, with a note (%x)", (unsigned int)status);
	chmod("ro", 0700);
}

/* -- crashes -- */

/* What the journal would hold, shared with the process that dies. */
struct journal {
	bool recorded;
	char where[DELIVER_WHERE_MAX];
	char places[3][DELIVER_PLACE_MAX];
};

enum step {
	AFTER_STAGE,
	AFTER_SYNC,
	AFTER_APPEND
};

static const char *const texts[3] = {
    "Subject: 1\n\none\nI got it From you\n",
    "Subject: 2\n\ntwo\nFrom here\n",
    "Subject: 3\n\nthree\n",
};
static const char *const *sent = texts;

/* One that is begun and dropped leaves nothing to those behind it. */
static void
drop_one(struct deliver *deliver)
{
	const struct deliver_message about = {.uid = "1"};
	struct err err;

	deliver_begin(deliver, &about, &err);
	deliver_write(deliver, "gone\n", 5, &err);
	deliver_abort(deliver);
}

static struct journal *
die_at(enum step step)
{
	struct journal *journal = mmap(NULL, sizeof(*journal),
	    PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct deliver *deliver;
	struct err err;
	pid_t pid = fork();

	if (pid > 0) {
		waitpid(pid, NULL, 0);
		return journal;
	}
	deliver = open_mbox("crash", 1, &err);
	for (int i = 0; i < 3; i++) {
		drop_one(deliver);
		stage_text(deliver, sent[i], journal->places[i], &err);
	}
	if (step > AFTER_STAGE) {
		deliver_sync(deliver, journal->where, &err);
		journal->recorded = true;
	}
	if (step > AFTER_SYNC)
		deliver_publish(deliver, &err);
	_exit(0);
}

/* Which of the three are delivered, as bits; -1 for a failure. */
static int
recover(const struct journal *journal)
{
	struct deliver_recovery items[3];
	struct deliver_lock *lock;
	struct err err;

	for (int i = 0; i < 3; i++)
		items[i] =
		    (struct deliver_recovery){.place = journal->places[i]};
	if (deliver_recover(journal->where, items, 3, &lock, &err) == -1) {
		printf("# %s\n", err.text);
		return -1;
	}
	if (lock == NULL || access("crash.lock", F_OK) == -1)
		printf("not ok - locked until the verdict is recorded\n");
	deliver_recovery_release(lock);
	return items[0].delivered | items[1].delivered << 1 |
	    items[2].delivered << 2;
}

static void
forget(struct journal *journal)
{
	munmap(journal, sizeof(*journal));
	unlink("crash");
	unlink("crash.lock");
}

static void
test_crash_steps(void)
{
	struct journal *journal;
	char place[DELIVER_PLACE_MAX];
	struct deliver *deliver = NULL;
	struct err err;

	put_text("crash", OLD);
	journal = die_at(AFTER_STAGE);
	tap_ok(file_is("crash", OLD, strlen(OLD)), "staged out of sight");
	forget(journal);
	put_text("crash", OLD);
	journal = die_at(AFTER_SYNC);
	tap_ok(access("crash.lock", F_OK) == 0 &&
		(deliver = open_mbox("crash", 1, &err)) != NULL &&
		stage_text(deliver, TEXT, place, &err) == 0 &&
		commit(deliver, &err) == 0,
	    "our dotlock of a killed run is no hindrance");
	deliver_close(deliver);
	forget(journal);
	put_text("crash", OLD);
	journal = die_at(AFTER_SYNC);
	tap_ok(recover(journal) == 0 && file_is("crash", OLD, strlen(OLD)),
	    "killed before the append: none");
	forget(journal);
	put_text("crash", OLD);
	journal = die_at(AFTER_APPEND);
	tap_ok(recover(journal) == 7, "killed behind the append: all");
	tap_ok(recover(journal) == 7, "and again");
	unlink("crash");
	tap_ok(recover(journal) == -1, "not without the file");
	forget(journal);
}

/* Killed in the middle of the append, at every byte of it. */
static void
test_torn_append(const char *old)
{
	size_t lens[3], start = strlen(old), lead;
	struct journal *journal;
	struct buf whole;
	bool good = true;

	put_text("crash", old);
	journal = die_at(AFTER_APPEND);
	whole = get_file("crash");
	for (int i = 0; i < 3; i++)
		lens[i] = strtoul(journal->places[i], NULL, 10);
	lead = whole.len - start - lens[0] - lens[1] - lens[2];
	for (size_t n = start; n <= whole.len; n++) {
		struct buf dotlock = get_file("crash.lock");
		size_t kept = start, end = start + lead;
		int bits = 0, verdict;
		int fd = open("crash", O_WRONLY | O_TRUNC);

		good = good && write(fd, whole.data, n) == (ssize_t)n;
		close(fd);
		for (int i = 0; i < 3; i++) {
			end += lens[i];
			if (n >= end) {
				bits |= 1 << i;
				kept = end;
			}
		}
		verdict = recover(journal);
		if (verdict != bits || !file_is("crash", whole.data, kept)) {
			printf("# at %zu: %d\n", n, verdict);
			good = false;
		}
		put_file("crash.lock", dotlock.data, dotlock.len);
		buf_free(&dotlock);
	}
	tap_ok(good, "torn at every byte");
	buf_free(&whole);
	forget(journal);
}

/* The file ends behind these words now. */
static void
cut_behind(const char *words)
{
	struct buf file = get_file("crash");
	const char *at = strstr(buf_string(&file), words);

	if (at == NULL ||
	    truncate("crash", at - file.data + (off_t)strlen(words)) == -1)
		exit(96);
	buf_free(&file);
}

/* A torn append of which so many bytes are there, and what came behind. */
static struct journal *
tear(size_t cut, const char *behind)
{
	struct journal *journal;
	struct stat st;
	int fd;

	put_text("crash", OLD);
	journal = die_at(AFTER_APPEND);
	fd = open("crash", O_WRONLY | O_APPEND);
	if (fstat(fd, &st) == -1 ||
	    ftruncate(fd, st.st_size - (off_t)cut) == -1 ||
	    write(fd, behind, strlen(behind)) != (ssize_t)strlen(behind))
		exit(97);
	close(fd);
	return journal;
}

static bool
ends_in(const char *text)
{
	struct buf file = get_file("crash");
	size_t n = strlen(text);
	bool does =
	    file.len >= n && memcmp(file.data + file.len - n, text, n) == 0;

	buf_free(&file);
	return does;
}

static void
test_foreign_tail(void)
{
	static const char other[] = "From c@d Sun Nov 22 00:09:10 2026\n\nhi\n";
	struct journal *journal = tear(3, other);

	unlink("crash.lock");
	tap_ok(recover(journal) == 3 && ends_in(other),
	    "another's message in mid-line is not cut");
	forget(journal);
	journal = tear(30, other);
	tap_ok(recover(journal) == 3 && ends_in(other),
	    "nor while our dotlock stands");
	forget(journal);
	journal = tear(3, "");
	unlink("crash.lock");
	tap_ok(recover(journal) == 3 && ends_in("\n>From here\n\n"),
	    "a tail without others is cut without a dotlock");
	forget(journal);
	/* Message 1 is torn, and it has the word in its text. */
	put_text("crash", OLD);
	journal = die_at(AFTER_APPEND);
	cut_behind("I got it From yo");
	unlink("crash.lock");
	tap_ok(recover(journal) == 0 && ends_in("From yo"),
	    "in doubt nothing is cut");
	forget(journal);
}

/* Where one of ours was to begin stands another's message. */
static void
test_foreign_place(void)
{
	static const char other[] = "From c@d Sun Nov 22 00:09:10 2026\n\nhi\n";
	struct journal *journal;

	put_text("crash", OLD);
	journal = die_at(AFTER_SYNC);
	append_text("crash", other);
	tap_ok(recover(journal) == 0 && ends_in(other),
	    "another's message in the place of the first is not cut");
	unlink("crash.lock");
	tap_ok(recover(journal) == 0 && ends_in(other),
	    "without a dotlock neither");
	forget(journal);
	put_text("crash", OLD);
	journal = die_at(AFTER_APPEND);
	cut_behind("\n>From here\n\n");
	append_text("crash", other);
	unlink("crash.lock");
	tap_ok(recover(journal) == 3 && ends_in(other),
	    "nor one in the place of the last");
	forget(journal);
}

/* A mail reader has written the file anew. */
static void
test_replaced(void)
{
	struct journal *journal;
	struct buf whole;
	size_t first, second;

	put_text("crash", OLD);
	journal = die_at(AFTER_APPEND);
	whole = get_file("crash");
	first = strtoul(journal->places[0], NULL, 10);
	second = strtoul(journal->places[1], NULL, 10);
	put_file("crash.new", whole.data + strlen(OLD),
	    whole.len - strlen(OLD) - 20);
	rename("crash.new", "crash");
	tap_ok(recover(journal) == 3, "two are found in another file");
	put_file("crash.new", whole.data + strlen(OLD) + first, second);
	rename("crash.new", "crash");
	tap_ok(recover(journal) == 2, "one is found in a short one");
	put_text("crash", "");
	tap_ok(recover(journal) == 0, "none in an empty one");
	put_text("crash", "");
	memset(whole.data, 'x', strlen(OLD));
	put_file("crash", whole.data, whole.len - 3);
	tap_ok(recover(journal) == 3 &&
		file_is("crash", whole.data, whole.len - 3),
	    "another file with the same number is not cut");
	buf_free(&whole);
	forget(journal);
}

/* The same three times over, as a list may send it. */
static void
test_equal(void)
{
	static const char *const equal[] = {TEXT, TEXT, TEXT};
	struct journal *journal;
	struct buf whole;
	size_t length;

	put_text("crash", OLD);
	sent = equal;
	journal = die_at(AFTER_APPEND);
	sent = texts;
	whole = get_file("crash");
	length = strtoul(journal->places[0], NULL, 10);
	put_file("crash.new", whole.data + strlen(OLD), 3 * length);
	rename("crash.new", "crash");
	tap_ok(recover(journal) == 7, "equal ones are all found elsewhere");
	put_file("crash.new", whole.data + strlen(OLD), 2 * length);
	rename("crash.new", "crash");
	tap_ok(recover(journal) == 3, "but no more than there are");
	buf_free(&whole);
	forget(journal);
}

static void
test_odd_records(void)
{
	struct deliver_recovery items[2] = {
	    {.place = "x"}, {.place = "99999999999999999999 0"}};
	struct deliver_lock *lock;
	struct err err;
	char *where;

	put_text("crash", OLD);
	where = mem_printf("mbox 12 0+0 0 0 - %s/crash", place_dir);
	tap_ok(deliver_recover(where, items, 2, &lock, &err) == 0 &&
		!items[0].delivered && !items[1].delivered,
	    "places that make no sense");
	deliver_recovery_release(lock);
	free(where);
	tap_ok(deliver_recover("mbox x", items, 2, &lock, &err) == -1,
	    "a record that makes no sense: %s", err.text);
	tap_ok(deliver_recover("exchange x", items, 2, &lock, &err) == -1,
	    "a kind that does not exist: %s", err.text);
	unlink("crash");
}

int
main(void)
{
	enter_place();
	test_quoting();
	test_from_line();
	test_lead();
	test_large();
	test_open();
	test_full_disk();
	test_made_by_others();
	test_removed();
	test_foreign_append();
	test_full_spool();
	test_dotlock();
	test_fcntl();
	test_no_dotlock();
	test_crash_steps();
	test_torn_append(OLD);
	test_torn_append("no newline at its end");
	test_foreign_tail();
	test_foreign_place();
	test_replaced();
	test_equal();
	test_odd_records();
	return leave_place();
}
