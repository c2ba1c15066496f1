/* SPDX-License-Identifier: ISC */
#include "mail/deliver.h"

#include <sys/syscall.h>
#include <time.h>

#include "mail/owner.h"
#include "mailtest.h"

#define TEXT "Subject: x\n\nbody\n"

static struct deliver *
open_maildir(const char *target, time_t delivered, struct err *err)
{
	/* deliver_open asks for strings that outlive it. */
	static struct deliver_params params;

	params = (struct deliver_params){
	    .kind = DELIVER_MAILDIR, .target = target, .delivered = delivered};
	return deliver_open(&params, err);
}

static bool
is_private(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && (st.st_mode & 077) == 0;
}

static void
test_batch(void)
{
	char places[2][DELIVER_PLACE_MAX], where[DELIVER_WHERE_MAX], path[2048];
	struct buf odd = {0};
	struct err err;
	struct deliver *deliver = open_maildir("box//", 0, &err);

	tap_ok(is_private("box") && is_private("box/new"), "made, 0700");
	make_odd_message(&odd);
	tap_ok(stage(deliver, &odd, 1000, places[0], &err) == 0 &&
		stage_text(deliver, TEXT, places[1], &err) == 0,
	    "two staged");
	tap_ok(count_files("box/tmp", NULL) == 2 &&
		count_files("box/new", NULL) == 0,
	    "in tmp");
	tap_ok(deliver_sync(deliver, where, &err) == 0, "synced");
	snprintf(path, sizeof(path), "maildir %s/box", place_dir);
	tap_is(where, path, "where it lies");
	tap_ok(deliver_publish(deliver, &err) == 0, "published");
	tap_ok(count_files("box/tmp", NULL) == 0, "nothing left in tmp");
	snprintf(path, sizeof(path), "box/new/%s", places[0]);
	tap_ok(file_is(path, odd.data, odd.len), "byte for byte");
	tap_ok(is_private(path), "0600");
	snprintf(path, sizeof(path), "box/new/%s", places[1]);
	tap_ok(file_is(path, TEXT, strlen(TEXT)), "the other too");
	tap_ok(strstr(places[1], "U" TAG ".") != NULL &&
		strstr(places[1], ",S=17,W=24") != NULL,
	    "the name: %s", places[1]);
	tap_ok(!deliver_holds_lock(deliver), "no lock");
	buf_free(&odd);
	deliver_close(deliver);
}

static void
test_sizes(void)
{
	static const size_t sizes[] = {0, 1, 262143, 262144, 262145, 9 << 20};
	static const size_t pieces[] = {1 << 16, 262144, 300000, 10 << 20};
	char place[DELIVER_PLACE_MAX], where[DELIVER_WHERE_MAX], path[2048];
	struct buf text = {0};
	struct err err;
	struct deliver *deliver = open_maildir("sizes", 0, &err);
	bool good = true;

	for (unsigned int i = 0; i < 9 << 20; i++)
		*(buf_room(&text, 1) + 0) = (char)(i * 7 >> 3), text.len++;
	for (size_t i = 0; i < 6; i++)
		for (size_t j = 0; j < 4; j++) {
			text.len = sizes[i];
			good = good &&
			    stage(deliver, &text, pieces[j], place, &err) ==
				0 &&
			    deliver_sync(deliver, where, &err) == 0 &&
			    deliver_publish(deliver, &err) == 0;
			snprintf(path, sizeof(path), "sizes/new/%s", place);
			good = good && file_is(path, text.data, text.len);
		}
	tap_ok(good, "messages around the size of the buffer");
	buf_free(&text);
	deliver_close(deliver);
}

static void
test_drop(void)
{
	const struct deliver_message message = {.tag = TAG, .uid = "1"};
	char place[DELIVER_PLACE_MAX], where[DELIVER_WHERE_MAX];
	struct err err;
	struct deliver *deliver = open_maildir("drop", 0, &err);

	deliver_abort(deliver);
	deliver_begin(deliver, &message, &err);
	deliver_write(deliver, "half", 4, &err);
	deliver_abort(deliver);
	tap_ok(count_files("drop/tmp", NULL) == 0, "abort leaves nothing");
	stage_text(deliver, TEXT, place, &err);
	deliver_sync(deliver, where, &err);
	deliver_begin(deliver, &message, &err);
	deliver_close(deliver);
	tap_ok(count_files("drop/tmp", NULL) == 0 &&
		count_files("drop/new", NULL) == 0,
	    "nor does close");
	deliver_close(NULL);
}

static void
test_open(void)
{
	struct deliver_params look = {
	    .kind = DELIVER_MAILDIR, .target = "look", .look_only = true};
	struct err err;
	struct deliver *deliver;

	tap_ok(open_maildir("no/such", 0, &err) == NULL &&
		err.class == ERR_CANTCREAT,
	    "no parent: %s", err.text);
	tap_ok(open_maildir("gone", 86400 * 365, &err) == NULL &&
		err.class == ERR_CANTCREAT &&
		strstr(err.text, "it was here on 1971-01-01") != NULL,
	    "gone: %s", err.text);
	tap_ok(access("gone", F_OK) == -1, "and not made");
	mkdir("empty", 0700);
	tap_ok(open_maildir("empty", 86400, &err) == NULL &&
		err.class == ERR_CANTCREAT,
	    "a mount point without its disk: %s", err.text);
	deliver = open_maildir("empty", 0, &err);
	tap_ok(deliver != NULL && access("empty/cur", F_OK) == 0,
	    "an empty directory is furnished");
	deliver_close(deliver);
	mkdir("other", 0700);
	put_text("other/file", "x");
	tap_ok(open_maildir("other", 0, &err) == NULL &&
		err.class == ERR_CANTCREAT,
	    "no Maildir: %s", err.text);
	tap_ok(open_maildir("other/file", 0, &err) == NULL &&
		err.class == ERR_CANTCREAT,
	    "a file: %s", err.text);
	deliver = deliver_open(&look, &err);
	tap_ok(deliver != NULL && access("look", F_OK) == -1,
	    "a look makes nothing");
	deliver_close(deliver);
	tap_ok(symlink("empty", "link") == 0 &&
		(deliver = open_maildir("link", 1, &err)) != NULL,
	    "a link to one");
	deliver_close(deliver);
	mkdir("new\nline", 0700);
	tap_ok(open_maildir("new\nline", 0, &err) == NULL &&
		err.class == ERR_CONFIG,
	    "a line end in the path");
}

static void
test_missing_new(void)
{
	char place[DELIVER_PLACE_MAX], where[DELIVER_WHERE_MAX];
	struct err err;
	struct deliver *deliver = open_maildir("mend", 0, &err);

	deliver_close(deliver);
	rmdir("mend/new");
	rmdir("mend/tmp");
	deliver = open_maildir("mend", 86400, &err);
	tap_ok(deliver != NULL && access("mend/new", F_OK) == 0 &&
		access("mend/tmp", F_OK) == 0,
	    "new and tmp are made again");
	stage_text(deliver, TEXT, place, &err);
	deliver_sync(deliver, where, &err);
	rmdir("mend/new");
	tap_ok(
	    deliver_publish(deliver, &err) == -1, "new is gone: %s", err.text);
	deliver_close(deliver);
	tap_ok(count_files("mend/tmp", NULL) == 0, "and nothing is left");
}

static void
leave(const char *dir, long pid, const char *host, const char *rest)
{
	char *path = mem_printf(
	    "%s/12.M000001P%ldQ1U" TAG ".%s%s", dir, pid, host, rest);

	put_text(path, "x");
	free(path);
}

static void
test_sweep(void)
{
	char host[256], place[DELIVER_PLACE_MAX];
	long gone = dead_pid();
	struct err err;
	struct deliver *deliver = open_maildir("sweep", 0, &err);

	gethostname(host, sizeof(host));
	leave("sweep/tmp", gone, host, "");
	leave("sweep/tmp", getppid(), host, "");
	leave("sweep/tmp", gone, "other.example", "");
	put_text("sweep/tmp/12.999_1.other", "x");
	put_text("sweep/tmp/notes", "x");
	stage_text(deliver, TEXT, place, &err);
	tap_ok(count_files("sweep/tmp", NULL) == 5, "one leftover is removed");
	leave("sweep/tmp", gone, host, "");
	stage_text(deliver, TEXT, place, &err);
	tap_ok(count_files("sweep/tmp", NULL) == 7, "once per open");
	deliver_close(deliver);
	tap_ok(count_files("sweep/tmp", NULL) == 5, "others stay");
	deliver = open_maildir("sweep", 1, &err);
	leave("sweep/tmp", getpid(), host, "");
	stage_text(deliver, TEXT, place, &err);
	tap_ok(count_files("sweep/tmp", NULL) == 5,
	    "the pid of an earlier process is ours");
	deliver_close(deliver);
}

/* Die at a step between stage and publish, with what was recorded in shared
 * memory as the journal has it on disk. */
enum step {
	AFTER_STAGE,
	AFTER_SYNC,
	AFTER_ONE,
	AFTER_PUBLISH
};

static void
die_at(enum step step)
{
	char where[DELIVER_WHERE_MAX], place[DELIVER_PLACE_MAX];
	struct buf record = {0};
	struct err err;
	struct deliver *deliver = open_maildir("crash", 0, &err);

	for (int i = 0; i < 3; i++) {
		stage_text(deliver, TEXT, place, &err);
		buf_printf(&record, "%s\n", place);
	}
	if (step == AFTER_STAGE)
		_exit(0);
	deliver_sync(deliver, where, &err);
	put_text("crash.where", where);
	put_file("crash.places", record.data, record.len);
	if (step == AFTER_ONE) {
		/* As if killed in the middle of publish. */
		char from[600], to[600];

		snprintf(from, sizeof(from), "crash/tmp/%.*s",
		    (int)(strstr(place, ",S=") - place), place);
		snprintf(to, sizeof(to), "crash/new/%s", place);
		rename(from, to);
	}
	if (step == AFTER_PUBLISH)
		deliver_publish(deliver, &err);
	_exit(0);
}

static size_t
read_record(
    struct deliver_recovery items[3], struct buf *places, struct buf *where)
{
	size_t n = 0;

	*places = get_file("crash.places");
	*where = get_file("crash.where");
	for (char *s = buf_string(places), *line;
	     n < 3 && (line = strsep(&s, "\n")) != NULL && *line != '\0';)
		items[n++].place = line;
	return n;
}

static void
test_crash(enum step step, int delivered)
{
	struct deliver_recovery items[3] = {{0}};
	struct deliver_lock *lock;
	struct buf places, where;
	char place[DELIVER_PLACE_MAX];
	struct err err;
	struct deliver *deliver;
	size_t n;
	pid_t pid = fork();

	if (pid == 0)
		die_at(step);
	waitpid(pid, NULL, 0);
	n = read_record(items, &places, &where);
	tap_ok(deliver_recover(n > 0 ? buf_string(&where) : "mda", items, n,
		   &lock, &err) == 0,
	    "step %d recovers", step);
	tap_ok((n > 0 ? items[0].delivered + items[1].delivered +
			   items[2].delivered
		      : 0) == delivered,
	    "%d delivered", delivered);
	deliver_recovery_release(lock);
	deliver = open_maildir("crash", 1, &err);
	stage_text(deliver, TEXT, place, &err);
	tap_ok(count_files("crash/tmp", NULL) == 1 &&
		count_files("crash/new", NULL) == delivered,
	    "no leftovers");
	deliver_close(deliver);
	buf_free(&places);
	buf_free(&where);
	remove_tree("crash");
	unlink("crash.places");
	unlink("crash.where");
}

/* What a mail reader may have done between crash and recovery. */
static void
test_recover_moved(void)
{
	static const char stem[] = "12.M1P1Q%dU" TAG ".h";
	struct deliver_recovery items[7];
	char base[7][128], places[7][160], path[400], *where;
	struct deliver_lock *lock;
	struct err err;

	deliver_close(open_maildir("moved", 0, &err));
	for (int i = 0; i < 7; i++) {
		snprintf(base[i], sizeof(base[i]), stem, i);
		snprintf(places[i], sizeof(places[i]), "%s,S=3,W=4", base[i]);
		items[i] = (struct deliver_recovery){.place = places[i]};
	}
	snprintf(path, sizeof(path), "moved/cur/%s:2,FS", places[0]);
	put_text(path, "abc");
	snprintf(path, sizeof(path), "moved/cur/%s,U=9:2,", places[1]);
	put_text(path, "abc");
	snprintf(path, sizeof(path), "moved/tmp/%s", base[2]);
	put_text(path, "ab");
	snprintf(path, sizeof(path), "moved/tmp/%s", base[3]);
	put_text(path, "abc");
	snprintf(path, sizeof(path), "moved/new/%s", places[4]);
	put_text(path, "abc");
	items[6].place = "../../etc/passwd";
	where = mem_printf("maildir %s/moved", place_dir);
	rmdir("moved/cur.x");
	tap_ok(deliver_recover(where, items, 7, &lock, &err) == 0, "recovered");
	tap_ok(items[0].delivered, "renamed with flags");
	tap_ok(items[1].delivered, "renamed with more");
	tap_ok(!items[2].delivered, "cut short in tmp");
	tap_ok(items[3].delivered, "whole in tmp");
	tap_ok(items[4].delivered, "in new");
	tap_ok(!items[5].delivered, "nowhere");
	tap_ok(!items[6].delivered, "no name of ours");
	tap_ok(count_files("moved/tmp", NULL) == 0 &&
		count_files("moved/new", NULL) == 2,
	    "tmp is empty");
	remove_tree("moved/new");
	tap_ok(deliver_recover(where, items, 2, &lock, &err) == 0 &&
		items[0].delivered,
	    "without new/");
	remove_tree("moved");
	tap_ok(deliver_recover(where, items, 7, &lock, &err) == -1 &&
		err.class == ERR_CANTCREAT,
	    "without the Maildir: %s", err.text);
	tap_ok(access("moved", F_OK) == -1, "which is not made");
	mkdir("moved", 0700);
	tap_ok(deliver_recover(where, items, 7, &lock, &err) == -1,
	    "nor taken for an empty directory: %s", err.text);
	free(where);
}

static void
test_full_disk(void)
{
	const struct rlimit small = {100000, RLIM_INFINITY};
	const struct rlimit no_limit = {RLIM_INFINITY, RLIM_INFINITY};
	char place[DELIVER_PLACE_MAX];
	struct buf big = {0};
	struct err err;
	struct deliver *deliver = open_maildir("full", 0, &err);

	memset(buf_room(&big, 1 << 20), 'x', 1 << 20);
	big.len = 1 << 20;
	setrlimit(RLIMIT_FSIZE, &small);
	tap_ok(stage(deliver, &big, 5000, place, &err) == DELIVER_FAILED &&
		err.class == ERR_IO,
	    "no room: %s", err.text);
	big.len = 150000;
	tap_ok(stage(deliver, &big, 5000, place, &err) == DELIVER_FAILED,
	    "nor in the last write");
	setrlimit(RLIMIT_FSIZE, &no_limit);
	deliver_close(deliver);
	tap_ok(count_files("full/tmp", NULL) == 0, "nothing left");
	buf_free(&big);
}

static void
test_few_descriptors(void)
{
	struct rlimit old, few;
	char place[DELIVER_PLACE_MAX], where[DELIVER_WHERE_MAX];
	struct err err;
	struct deliver *deliver;
	bool good = true;

	getrlimit(RLIMIT_NOFILE, &old);
	few = (struct rlimit){40, old.rlim_max};
	setrlimit(RLIMIT_NOFILE, &few);
	deliver = open_maildir("few", 0, &err);
	for (size_t i = 0; i < deliver_batch_max(deliver); i++)
		good = good && stage_text(deliver, TEXT, place, &err) == 0;
	tap_ok(good && deliver_sync(deliver, where, &err) == 0 &&
		deliver_publish(deliver, &err) == 0 &&
		count_files("few/new", NULL) == (int)deliver_batch_max(deliver),
	    "a whole batch with 40 descriptors");
	deliver_close(deliver);
	setrlimit(RLIMIT_NOFILE, &old);
}

/* Who knows the time to come knows the names to come. */
#ifdef __linux__
static bool is_frozen;

int
clock_gettime(clockid_t clock, struct timespec *now)
{
	if (!is_frozen || clock != CLOCK_REALTIME)
		return (int)syscall(SYS_clock_gettime, clock, now);
	*now = (struct timespec){.tv_sec = 2000000000, .tv_nsec = 7000};
	return 0;
}

static void
plant(int n, const char *target)
{
	char host[OWNER_HOST_MAX], path[1024];

	owner_host(host);
	snprintf(path, sizeof(path),
	    "planted/tmp/2000000000.M000007P%ldQ%dU" TAG ".%s", (long)getpid(),
	    n, host);
	if (symlink(target, path) == -1)
		exit(98);
}

static void
test_planted(void)
{
	char place[DELIVER_PLACE_MAX], where[DELIVER_WHERE_MAX], path[2048];
	struct err err;
	struct deliver *deliver = open_maildir("planted", 0, &err);
	struct stat st;

	put_text("victim", "precious");
	/* Behind the sweep, which takes them for leftovers. */
	stage_text(deliver, TEXT, place, &err);
	plant(2, "../../victim");
	plant(3, "../../nothing");
	is_frozen = true;
	stage_text(deliver, TEXT, place, &err);
	is_frozen = false;
	tap_ok(strstr(place, ".M000007P") != NULL && strstr(place, "Q4U"),
	    "the fourth name: %s", place);
	tap_ok(deliver_sync(deliver, where, &err) == 0 &&
		deliver_publish(deliver, &err) == 0,
	    "published under it");
	snprintf(path, sizeof(path), "planted/new/%s", place);
	tap_ok(lstat(path, &st) == 0 && S_ISREG(st.st_mode) &&
		file_is(path, TEXT, strlen(TEXT)),
	    "as a file");
	tap_ok(file_is("victim", "precious", 8) &&
		access("nothing", F_OK) == -1 &&
		count_files("planted/new", NULL) == 2,
	    "links in tmp are not followed (CVE-2004-0880, CVE-2004-0881)");
	deliver_close(deliver);
}
#endif

/* Instead of what a crash has left. */
static void
test_planted_for_recovery(void)
{
	char where[256], path[512];
	struct deliver_recovery item = {.place = "1.M1P1Q1U" TAG ".h,S=8,W=8"};
	struct deliver_lock *lock;
	struct err err;

	deliver_close(open_maildir("swapped", 0, &err));
	snprintf(where, sizeof(where), "maildir %s/swapped", place_dir);
	put_text("victim", "precious");
	snprintf(path, sizeof(path), "%s/victim", place_dir);
	if (symlink(path, "swapped/tmp/1.M1P1Q1U" TAG ".h") == -1)
		exit(98);
	tap_ok(deliver_recover(where, &item, 1, &lock, &err) == 0 &&
		!item.delivered && count_files("swapped/new", NULL) == 0,
	    "a link of its name and size is no message (CVE-2004-0881)");
	tap_ok(file_is("victim", "precious", 8), "nor is its target touched");
	deliver_recovery_release(lock);
}

static int n_found;

static void
on_found(void *context, const char *tag, uint64_t wire_octets, const char *path)
{
	(void)context;
	n_found += strcmp(tag, TAG) == 0 && wire_octets == 4 &&
	    access(path, F_OK) == 0 && path[0] == '/';
}

static void
test_scan(void)
{
	struct deliver_params params = {
	    .kind = DELIVER_MAILDIR, .target = "scan"};
	struct err err;

	tap_ok(deliver_scan(&params, on_found, NULL, &err) == 0 && n_found == 0,
	    "nothing in a Maildir that is not there");
	deliver_close(open_maildir("scan", 0, &err));
	leave("scan/new", 1, "any.host", ",S=3,W=4");
	leave("scan/cur", 2, "any.host", ",S=3,W=4:2,S");
	leave("scan/cur", 3, "any.host", "");
	leave("scan/cur", 4, "any.host", ",S=3,W=x");
	leave("scan/tmp", 5, "any.host", ",S=3,W=4");
	put_text("scan/cur/12.5.other,S=3,W=4", "x");
	tap_ok(deliver_scan(&params, on_found, NULL, &err) == 0 && n_found == 2,
	    "those with our names in new and cur");
	params.kind = DELIVER_MBOX;
	tap_ok(deliver_scan(&params, on_found, NULL, &err) == 0,
	    "other kinds know of none");
}

static void
test_kinds(void)
{
	enum deliver_kind kind;

	tap_is(deliver_kind_word(DELIVER_MBOX), "mbox", "a word");
	tap_ok(deliver_kind_from_word("mda", &kind) && kind == DELIVER_MDA,
	    "a kind");
	tap_ok(!deliver_kind_from_word("exchange", &kind), "and none");
}

int
main(void)
{
	enter_place();
	test_kinds();
	test_batch();
	test_sizes();
	test_drop();
	test_open();
	test_missing_new();
	test_sweep();
	test_crash(AFTER_STAGE, 0);
	test_crash(AFTER_SYNC, 3);
	test_crash(AFTER_ONE, 3);
	test_crash(AFTER_PUBLISH, 3);
	test_recover_moved();
	test_full_disk();
	test_few_descriptors();
#ifdef __linux__
	test_planted();
#endif
	test_planted_for_recovery();
	test_scan();
	return leave_place();
}
