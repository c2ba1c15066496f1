/* SPDX-License-Identifier: ISC */
#include "mail/deliver.h"

#include <time.h>

#include "base/log.h"
#include "mailtest.h"

#define TEXT "Subject: x\n\nbody\n"

static struct buf said; /* what was shown */

static void
on_say(void *context, enum log_level level, const char *text)
{
	(void)context;
	(void)level;
	buf_puts(&said, text);
	buf_puts(&said, "\n");
}

static struct deliver *
open_mda(const char *command, int64_t timeout, struct err *err)
{
	/* deliver_open asks for strings that outlive it. */
	static struct deliver_params params;

	params = (struct deliver_params){.kind = DELIVER_MDA,
	    .target = command,
	    .account = "work",
	    .user = "joe",
	    .host = "pop.example.org",
	    .mda_timeout = timeout};
	return deliver_open(&params, err);
}

static int
feed(const char *command, const struct buf *message, int64_t timeout,
    struct err *err)
{
	char place[DELIVER_PLACE_MAX];
	struct deliver *deliver = open_mda(command, timeout, err);
	int verdict = stage(deliver, message, 5000, place, err);

	deliver_close(deliver);
	said.len = said.len > 0 && verdict != DELIVER_OK ? 0 : said.len;
	return verdict;
}

/* One message through a command. */
static int
run(const char *command, struct err *err)
{
	struct buf message = {0};
	int verdict;

	said.len = 0;
	buf_puts(&message, TEXT);
	verdict = feed(command, &message, 20000, err);
	buf_free(&message);
	return verdict;
}

static void
test_delivery(void)
{
	struct buf odd = {0}, big = {0};
	char place[DELIVER_PLACE_MAX], where[DELIVER_WHERE_MAX];
	struct err err;
	struct deliver *deliver;

	make_odd_message(&odd);
	tap_ok(feed("cat >out", &odd, 20000, &err) == DELIVER_OK &&
		file_is("out", odd.data, odd.len),
	    "byte for byte");
	memset(buf_room(&big, 5 << 20), 'b', 5 << 20);
	big.len = 5 << 20;
	tap_ok(feed("cat >out", &big, 20000, &err) == DELIVER_OK &&
		file_is("out", big.data, big.len),
	    "a large one");
	deliver = open_mda("cat >>two", 20000, &err);
	tap_ok(stage_text(deliver, TEXT, place, &err) == DELIVER_OK &&
		place[0] == '\0' && deliver_sync(deliver, where, &err) == 0 &&
		deliver_publish(deliver, &err) == 0 &&
		stage_text(deliver, "b\n", place, &err) == DELIVER_OK &&
		file_is("two", TEXT "b\n", strlen(TEXT) + 2),
	    "one behind the other");
	tap_is(where, "mda", "where it lies");
	tap_ok(deliver_batch_max(deliver) == 1, "a message at a time");
	deliver_release(deliver);
	tap_ok(deliver_note(deliver) == NULL, "nothing to note");
	deliver_close(deliver);
	tap_ok(open_mda("", 1, &err) == NULL && err.class == ERR_CONFIG,
	    "no command");
	buf_free(&odd);
	buf_free(&big);
}

static void
test_abort(void)
{
	const struct deliver_message about = {.uid = "1"};
	struct err err;
	struct deliver *deliver = open_mda("touch ran", 20000, &err);

	deliver_begin(deliver, &about, &err);
	deliver_write(deliver, "x", 1, &err);
	deliver_abort(deliver);
	deliver_begin(deliver, &about, &err);
	deliver_close(deliver);
	tap_ok(access("ran", F_OK) == -1, "an aborted one is not fed");
}

static void
test_environment(void)
{
	static const char expected[] =
	    "work u%201 17 pop.example.org joe me@example.org\n";
	struct err err;

	tap_ok(run("echo $POPLAR_ACCOUNT $POPLAR_UID $POPLAR_SIZE "
		   "$POPLAR_HOST $POPLAR_USER $POPLAR_SENDER >out",
		   &err) == DELIVER_OK &&
		file_is("out", expected, strlen(expected)),
	    "the environment");
	tap_ok(run("echo %F %%F %d % >out", &err) == DELIVER_OK &&
		file_is("out", "me@example.org %me@example.org %d %\n", 36),
	    "percent signs");
	tap_ok(run("ls -l /proc/self/fd | wc -l >out", &err) == DELIVER_OK &&
		file_is("out", "5\n", 2),
	    "no descriptor but 0 to 2");
}

/* -- another message is to follow -- */

static int
stage_more(struct deliver *deliver, const char *uid, const char *text,
    const char *sender)
{
	const struct deliver_message about = {.uid = uid};
	const struct deliver_facts facts = {.sender = sender, .more = true};
	char place[DELIVER_PLACE_MAX];
	struct err err;

	deliver_begin(deliver, &about, &err);
	deliver_write(deliver, text, strlen(text), &err);
	return deliver_stage(deliver, &facts, place, &err);
}

static void
test_ahead(void)
{
	static const char expected[] = "one 4 a@b\none\n"
				       "two%20 5\ntwo!\n"
				       "three 6 c@d\nthree\n";
	const struct deliver_message about = {.uid = "x"};
	struct err err;
	struct deliver *deliver = open_mda(
	    "echo $POPLAR_UID $POPLAR_SIZE $POPLAR_SENDER >>ahead; "
	    "cat >>ahead; ls /proc/self/fd | wc -l >fds; "
	    "until test $(wc -w </proc/$PPID/task/$PPID/children) -gt 1; do "
	    ":; done",
	    20000, &err);

	tap_ok(stage_more(deliver, "one", "one\n", "a@b") == DELIVER_OK,
	    "the shell of the next message starts while a command runs");
	tap_ok(file_is("ahead", expected, 14), "which has not begun");
	deliver_begin(deliver, &about, &err);
	deliver_write(deliver, "dropped", 7, &err);
	deliver_abort(deliver);
	tap_ok(stage_more(deliver, "two%20", "two!\n", "") == DELIVER_OK &&
		stage_more(deliver, "three", "three\n", "c@d") == DELIVER_OK,
	    "and a dropped one is no matter");
	deliver_close(deliver);
	tap_ok(file_is("fds", "4\n", 2), "no descriptor but 0 to 2");
	tap_ok(file_is("ahead", expected, strlen(expected)),
	    "each has its own message and environment");
	tap_ok(waitpid(-1, NULL, WNOHANG) == -1, "no shell stays behind");
	deliver = open_mda("echo %F >sender", 20000, &err);
	stage_more(deliver, "1", "x", "first@a");
	stage_more(deliver, "2", "x", "second@b");
	tap_ok(file_is("sender", "second@b\n", 9), "%%F is that of its own");
	deliver_close(deliver);
}

static void
test_sender(void)
{
	static const struct {
		const char *sender;
		const char *word;
	} cases[] = {{"", "MAILER-DAEMON"}, {"a.B+c_d-e/f@g", "a.B+c_d-e/f@g"},
	    {"`id`;$(x)|'\"%F*\\", "_id____x_____F__"}};
	const struct deliver_message about = {.uid = "1"};
	struct deliver_facts facts = {0};
	char place[DELIVER_PLACE_MAX];
	struct err err;

	for (size_t i = 0; i < 3; i++) {
		struct deliver *deliver = open_mda("echo %F >out", 9999, &err);
		char *line = mem_printf("%s\n", cases[i].word);
		struct buf out;

		facts.sender = cases[i].sender;
		deliver_begin(deliver, &about, &err);
		deliver_stage(deliver, &facts, place, &err);
		out = get_file("out");
		tap_is(buf_string(&out), line, "%F");
		buf_free(&out);
		free(line);
		deliver_close(deliver);
	}
}

static void
test_failures(void)
{
	struct err err;
	bool good = true;

	for (int code = 1; code < 256; code++) {
		char command[32], text[64];

		snprintf(command, sizeof(command), "exit %d", code);
		snprintf(text, sizeof(text), "command exited with %d", code);
		good = good &&
		    run(command, &err) ==
			(code == 75 ? DELIVER_DEFERRED : DELIVER_REFUSED) &&
		    strcmp(err.text, text) == 0 && err.class == ERR_TEMPFAIL;
	}
	tap_ok(good, "every exit code");
	tap_ok(run("kill -9 $$", &err) == DELIVER_DEFERRED, "killed");
	tap_is(err.text, "command killed by SIGKILL", "by a signal");
	tap_ok(run("no-such-program-here", &err) == DELIVER_REFUSED &&
		err.hint[0] != '\0',
	    "no such program: %s", err.text);
	run("echo out; printf '1\\n2\\n\\0333\\r\\n\\n4\\n\\n' >&2; exit 75",
	    &err);
	tap_is(
	    err.text, "command exited with 75: \\x1b3 | 4", "its last lines");
	run("echo only out; exit 1", &err);
	tap_is(err.text, "command exited with 1: only out", "or its output");
	tap_ok(run("yes 12345678 | head -c 8000000 >&2; exit 3", &err) ==
		    DELIVER_REFUSED &&
		strlen(err.text) < 1000,
	    "megabytes on standard error");
	run("head -c 100000 /dev/zero >&2; exit 3", &err);
	tap_ok(strlen(err.text) < 1000, "one endless line");
}

static void
test_output(void)
{
	struct err err;
	int lines = 0;

	log_open(LOG_AT_NOTICE, on_say, NULL);
	tap_ok(run("printf 'a\\n\\033[2J\\n'; echo b >&2", &err) == DELIVER_OK,
	    "it prints");
	tap_is(buf_string(&said), "command: a\ncommand: \\x1b[2J\ncommand: b\n",
	    "shown, escaped");
	run("seq 100000", &err);
	for (const char *s = buf_string(&said); *s != '\0'; s++)
		lines += *s == '\n';
	tap_ok(lines == 21, "but not too much");
	log_open(LOG_AT_WARNING, NULL, NULL);
}

static void
test_manners(void)
{
	struct buf big = {0};
	struct err err;
	int64_t start = wait_clock();

	memset(buf_room(&big, 1 << 20), 'b', 1 << 20);
	big.len = 1 << 20;
	tap_ok(feed("exit 0", &big, 20000, &err) == DELIVER_OK,
	    "one that does not read");
	tap_ok(feed("exec <&-; exit 3", &big, 20000, &err) == DELIVER_REFUSED,
	    "one that closes its input");
	tap_ok(run("sleep 30 & exit 0", &err) == DELIVER_OK &&
		wait_clock() - start < 10000,
	    "one that leaves a child with its pipes");
	big.len = 10;
	start = wait_clock();
	tap_ok(feed("sleep 30", &big, 100, &err) == DELIVER_DEFERRED &&
		wait_clock() - start < 10000,
	    "one that takes too long: %s", err.text);
	buf_free(&big);
}

/* A child that still holds the input of the message before. */
static void
test_left_reader(void)
{
	char place[DELIVER_PLACE_MAX];
	struct err err;
	struct deliver *deliver = open_mda(
	    "if test -e go; then cat >second; touch done; else touch go; "
	    "(n=0; until test -e done || test $n -gt 3000; do "
	    "cat; n=$((n + 1)); done) <&0 >first & fi",
	    20000, &err);

	stage_text(deliver, "one\n", place, &err);
	tap_ok(stage_text(deliver, "two\n", place, &err) == DELIVER_OK &&
		file_is("second", "two\n", 4),
	    "a child of the command before steals nothing");
	deliver_close(deliver);
}

static void
test_no_spool(void)
{
	const struct rlimit small = {100000, RLIM_INFINITY};
	const struct rlimit no_limit = {RLIM_INFINITY, RLIM_INFINITY};
	struct buf big = {0};
	struct err err;

	setenv("TMPDIR", "/no/such/directory", 1);
	tap_ok(run("cat", &err) == DELIVER_FAILED, "no place for the spool: %s",
	    err.text);
	setenv("TMPDIR", place_dir, 1);
	memset(buf_room(&big, 1 << 20), 'b', 1 << 20);
	big.len = 1 << 20;
	setrlimit(RLIMIT_FSIZE, &small);
	tap_ok(feed("touch ran", &big, 20000, &err) == DELIVER_FAILED &&
		err.class == ERR_IO && access("ran", F_OK) == -1,
	    "a full disk: %s", err.text);
	setrlimit(RLIMIT_FSIZE, &no_limit);
	buf_free(&big);
}

static void
test_recover(void)
{
	struct deliver_recovery item = {.place = ""};
	struct deliver_lock *lock;
	struct err err;

	tap_ok(deliver_recover("mda", &item, 1, &lock, &err) == 0 &&
		item.delivered && lock == NULL,
	    "what is recorded was taken");
	deliver_recovery_release(lock);
}

int
main(void)
{
	closefrom(3);
	enter_place();
	test_delivery();
	test_abort();
	test_environment();
	test_ahead();
	test_sender();
	test_failures();
	test_output();
	test_manners();
	test_left_reader();
	test_no_spool();
	test_recover();
	buf_free(&said);
	return leave_place();
}
