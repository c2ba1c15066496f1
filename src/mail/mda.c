/* SPDX-License-Identifier: ISC */
/*
 * Each message gets a spool file of its own: a command may leave children
 * behind that still hold the one before.  While a command runs, the shell for
 * the next message starts, held back until that is due: a shell takes as long
 * to start as many a command to run.
 */
#include "mail/backend.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/spawn.h"
#include "base/text.h"
#include "base/wait.h"

#define BUFFER_SIZE ((size_t)256 << 10)
#define OUTPUT_MAX ((size_t)64 << 10)
#define LINES_SHOWN 20
#define LINES_TOLD 3 /* in the reason of a failure */
#define LINE_ROOM 256
#define SHELL_NOT_FOUND 127

struct mda {
	struct deliver deliver;
	struct deliver_params params;
	int spool;		  /* -1: none yet */
	struct spawn_held *shell; /* it has that as its input; may be NULL */
	uint64_t fed; /* bytes of the message, those in the buffer too */
	size_t used;
	char *uid; /* NULL but between begin and stage */
	char *buffer;
};

static struct mda *
of(struct deliver *deliver)
{
	return (struct mda *)deliver;
}

static struct deliver *
mda_open(const struct deliver_params *params, struct err *err)
{
	struct mda *mda;

	if (params->target[0] == '\0') {
		err_set(err, ERR_CONFIG, "the command to deliver to is empty");
		return NULL;
	}
	mda = mem_zero(1, sizeof(*mda));
	mda->deliver.backend = &mda_backend;
	mda->params = *params;
	mda->spool = -1;
	mda->buffer = mem_alloc(BUFFER_SIZE);
	return &mda->deliver;
}

static void
mda_abort(struct deliver *deliver)
{
	struct mda *mda = of(deliver);

	spawn_drop(mda->shell);
	mda->shell = NULL;
	if (mda->spool != -1)
		close(mda->spool);
	mda->spool = -1;
	free(mda->uid);
	mda->uid = NULL;
}

static void
mda_close(struct deliver *deliver)
{
	struct mda *mda = of(deliver);

	mda_abort(deliver);
	free(mda->buffer);
	free(mda);
}

static int
mda_begin(struct deliver *deliver, const struct deliver_message *message,
    struct err *err)
{
	struct mda *mda = of(deliver);
	struct buf uid = {0};

	if (mda->uid != NULL)
		mda_abort(deliver);
	if (mda->spool == -1)
		mda->spool = file_unnamed(err);
	if (mda->spool == -1)
		return DELIVER_FAILED;
	/* It is encoded, but not for a shell or a file name. */
	text_percent_encode(&uid, message->uid, strlen(message->uid), "%._@+-");
	mda->uid = mem_dup(buf_string(&uid));
	buf_free(&uid);
	mda->fed = 0;
	mda->used = 0;
	return DELIVER_OK;
}

static int
put(struct mda *mda, const char *data, size_t n, struct err *err)
{
	if (file_write(mda->spool, data, n) == -1)
		return file_unnamed_failed("write", err);
	return DELIVER_OK;
}

static int
flush(struct mda *mda, struct err *err)
{
	size_t n = mda->used;

	mda->used = 0;
	return n > 0 ? put(mda, mda->buffer, n, err) : DELIVER_OK;
}

static int
mda_write(struct deliver *deliver, const char *data, size_t n, struct err *err)
{
	struct mda *mda = of(deliver);

	mda->fed += n;
	if (n > BUFFER_SIZE - mda->used && flush(mda, err) == -1)
		return DELIVER_FAILED;
	if (n >= BUFFER_SIZE)
		return put(mda, data, n, err);
	memcpy(mda->buffer + mda->used, data, n);
	mda->used += n;
	return DELIVER_OK;
}

/* -- the command -- */

static void
append_sender(struct buf *command, const char *sender)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyz"
				    "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				    "0123456789.@_+-/";

	if (sender[0] == '\0')
		sender = "MAILER-DAEMON";
	for (; *sender != '\0'; sender++)
		buf_append(
		    command, strchr(plain, *sender) != NULL ? sender : "_", 1);
}

/* The command with %F replaced, and nothing else. */
static char *
expand(const char *target, const char *sender)
{
	struct buf command = {0};
	const char *mark;

	while ((mark = strstr(target, "%F")) != NULL) {
		buf_append(&command, target, (size_t)(mark - target));
		append_sender(&command, sender);
		target = mark + 2;
	}
	buf_puts(&command, target);
	return buf_string(&command);
}

/* Milliseconds. */
static int64_t
time_to_run(const struct mda *mda)
{
	int64_t timeout = mda->params.mda_timeout, left;

	if (mda->params.until == 0)
		return timeout;
	left = mda->params.until - wait_clock();
	if (left > timeout)
		return timeout;
	return left > 0 ? left : 1;
}

/* A shell with the spool as its input, held back. */
static struct spawn_held *
hold(const struct mda *mda, const char *sender, struct err *err)
{
	static const char *const late[] = {
	    "POPLAR_UID", "POPLAR_SIZE", "POPLAR_SENDER", NULL};
	const struct deliver_params *params = &mda->params;
	char *account = mem_printf("POPLAR_ACCOUNT=%s", params->account);
	char *host = mem_printf("POPLAR_HOST=%s", params->host);
	char *user = mem_printf("POPLAR_USER=%s", params->user);
	char *command = expand(params->target, sender);
	const char *const env[] = {account, host, user, NULL};
	const struct spawn spawn = {
	    .command = command,
	    .input = mda->spool,
	    .env = env,
	    .output_max = OUTPUT_MAX,
	    .own_group = true,
	};
	struct spawn_held *held = spawn_hold(&spawn, late, err);

	free(account);
	free(host);
	free(user);
	free(command);
	return held;
}

static void
let_go(const struct mda *mda, struct spawn_held *shell, const char *sender)
{
	char size[32];
	const char *const values[] = {mda->uid, size, sender, NULL};

	snprintf(size, sizeof(size), "%llu", (unsigned long long)mda->fed);
	spawn_let_go(shell, values);
}

/* What fails here is tried again, and said, when it is needed. */
static void
prepare_next(struct mda *mda)
{
	struct err ignored;

	/* The command itself depends on the sender. */
	if (strstr(mda->params.target, "%F") != NULL)
		return;
	mda->spool = file_unnamed(&ignored);
	if (mda->spool != -1)
		mda->shell = hold(mda, "", &ignored);
}

static int
run(struct mda *mda, const struct deliver_facts *facts,
    struct spawn_result *result, struct err *err)
{
	struct spawn_held *shell = mda->shell;
	int spool = mda->spool, status;

	if (shell == NULL)
		shell = hold(mda, facts->sender, err);
	if (shell == NULL)
		return -1;
	let_go(mda, shell, facts->sender);
	mda->shell = NULL;
	mda->spool = -1;
	if (facts->more)
		prepare_next(mda);
	status = spawn_wait(shell, time_to_run(mda), result, err);
	close(spool);
	return status;
}

/* -- what it printed -- */

/* The line at *from, escaped; moves on, false at the end. */
static bool
next_line(const char **from, const char *end, char line[LINE_ROOM])
{
	size_t left = (size_t)(end - *from), n;
	const char *newline;

	if (left == 0)
		return false;
	newline = memchr(*from, '\n', left);
	n = newline != NULL ? (size_t)(newline - *from) : left;
	text_escape(line, LINE_ROOM, *from,
	    n > 0 && (*from)[n - 1] == '\r' ? n - 1 : n);
	*from += newline != NULL ? n + 1 : n;
	return true;
}

static void
show(const struct buf *output)
{
	const char *from = output->data, *end;
	char line[LINE_ROOM];
	int shown = 0;

	if (output->len == 0)
		return;
	end = from + output->len;
	while (shown++ < LINES_SHOWN && next_line(&from, end, line))
		log_say(LOG_AT_NOTICE, "command: %s", line);
	if (from < end)
		log_say(LOG_AT_NOTICE, "command: ... and more");
}

/* Where its last lines begin. */
static const char *
last_lines(const struct buf *output)
{
	const char *from;
	size_t n = output->len;
	int lines = 0;

	while (n > 0 && strchr("\r\n", output->data[n - 1]) != NULL)
		n--;
	for (; n > 0; n--) {
		from = output->data + n;
		if (from[-1] == '\n' && ++lines == LINES_TOLD)
			return from;
	}
	return output->data;
}

static void
tell(const struct buf *output, struct err *err)
{
	const char *from, *end, *between = ": ";
	char line[LINE_ROOM];

	if (output->len == 0)
		return;
	from = last_lines(output);
	end = output->data + output->len;
	while (next_line(&from, end, line)) {
		if (line[0] == '\0')
			continue;
		strlcat(err->text, between, sizeof(err->text));
		strlcat(err->text, line, sizeof(err->text));
		between = " | ";
	}
}

static int
refuse(const struct spawn_result *result, struct err *err)
{
	bool exited = !result->timed_out && WIFEXITED(result->status);
	char how[64];

	err_set(err, ERR_TEMPFAIL, "command %s",
	    spawn_describe(result, how, sizeof(how)));
	tell(result->err.len > 0 ? &result->err : &result->out, err);
	if (!exited || WEXITSTATUS(result->status) == EX_TEMPFAIL)
		return DELIVER_DEFERRED;
	if (WEXITSTATUS(result->status) == SHELL_NOT_FOUND)
		err_hint(err,
		    "the shell did not find a program of the "
		    "command: check it, and PATH");
	return DELIVER_REFUSED;
}

static int
judge(const struct spawn_result *result, struct err *err)
{
	if (result->timed_out || !WIFEXITED(result->status) ||
	    WEXITSTATUS(result->status) != 0)
		return refuse(result, err);
	show(&result->out);
	show(&result->err);
	return DELIVER_OK;
}

static int
mda_stage(struct deliver *deliver, const struct deliver_facts *facts,
    char place[DELIVER_PLACE_MAX], struct err *err)
{
	struct mda *mda = of(deliver);
	struct spawn_result result = {0};
	int verdict = DELIVER_FAILED;

	if (flush(mda, err) == -1)
		return DELIVER_FAILED;
	if (lseek(mda->spool, 0, SEEK_SET) == -1)
		return file_unnamed_failed("rewind", err);
	place[0] = '\0';
	if (run(mda, facts, &result, err) == 0)
		verdict = judge(&result, err);
	else
		mda_abort(deliver);
	spawn_result_free(&result);
	free(mda->uid);
	mda->uid = NULL;
	return verdict;
}

static int
mda_sync(
    struct deliver *deliver, char where[DELIVER_WHERE_MAX], struct err *err)
{
	(void)deliver;
	(void)err;
	strlcpy(where, "mda", DELIVER_WHERE_MAX);
	return 0;
}

/* What is recorded, the command has taken. */
static int
mda_recover(const char *where, struct deliver_recovery *items, size_t n,
    struct deliver_lock **lock, struct err *err)
{
	(void)where;
	(void)lock;
	(void)err;
	for (size_t i = 0; i < n; i++)
		items[i].delivered = true;
	return 0;
}

const struct deliver_backend mda_backend = {
    .word = "mda",
    .batch_max = 1,
    .open = mda_open,
    .begin = mda_begin,
    .write = mda_write,
    .stage = mda_stage,
    .abort = mda_abort,
    .sync = mda_sync,
    .close = mda_close,
    .recover = mda_recover,
};
