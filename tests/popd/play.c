/* SPDX-License-Identifier: ISC */
/* The script mode: each connection plays its script. */
#include <err.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "body.h"
#include "log.h"
#include "play.h"
#include "script.h"
#include "server.h"
#include "text.h"

enum {
	LINE_SIZE = 60000,
	ENDLESS_BLOCK = 16384,
	QUESTIONS = 256,
	GRACE = 2000 /* ms to finish in when told to end */
};

enum outcome {
	WAITING,
	RUNNING,
	FINISHED,
	FAILED
};

/* One script and what has become of it. */
struct part {
	struct script *script;
	atomic_int outcome;
	atomic_size_t line; /* the script is there */
};

struct play {
	struct part *parts;
	size_t count;
};

struct loop {
	size_t start; /* the step after REPEAT */
	int64_t count, times;
};

/* One connection. */
struct player {
	struct connection *c;
	struct stream *stream;
	const struct options *options;
	const struct script *script;
	const struct step *step;
	struct loop loops[REPEAT_DEPTH];
	size_t depth, next; /* loops open; the step to come */
	bool failed;
	bool is_stat[QUESTIONS]; /* a ring: the questions so far */
	size_t asked, answered;
	char line[LINE_SIZE];
	size_t line_len;
};

static void __attribute__((format(printf, 2, 3)))
fail(struct player *p, const char *format, ...)
{
	va_list args;
	char *what;

	va_start(args, format);
	if (vasprintf(&what, format, args) == -1)
		err(1, "memory");
	va_end(args);
	warnx("%s:%zu: connection %d: %s", p->script->path, p->step->line,
	    p->c->number, what);
	free(what);
	p->failed = true;
}

/* The step's text with %d and %% replaced, to be freed. */
static char *
counted(const struct player *p, size_t *len)
{
	const struct step *s = p->step;
	char *text = text_alloc(s->len + 1, 11), *to = text;

	for (size_t i = 0; i < s->len; i++) {
		char next = i + 1 < s->len ? s->text[i + 1] : '\0';

		if (s->counted && s->text[i] == '%' && next == 'd') {
			to += sprintf(to, "%lld",
			    (long long)p->loops[p->depth - 1].count);
			i++;
		} else {
			*to++ = s->text[i];
			if (s->counted && s->text[i] == '%' && next == '%')
				i++;
		}
	}
	*len = (size_t)(to - text);
	return text;
}

static void
play_send(struct player *p)
{
	size_t len;
	char *text = counted(p, &len);

	stream_put(p->stream, text, len);
	if (p->step->op == OP_SEND_LINE)
		stream_puts(p->stream, "\r\n");
	free(text);
}

/* Reads a line that ends in CRLF; else fails, saying what was awaited. */
static bool
read_line(struct player *p, const char *awaited)
{
	enum line_result r = stream_line(p->stream, p->line, sizeof(p->line),
	    &p->line_len, p->options->wait);

	if (r == LINE_EOF)
		fail(p, "expected \"%s\", but the client is gone", awaited);
	else if (r == LINE_TIMEOUT)
		fail(p, "expected \"%s\", but nothing came", awaited);
	else if (r == LINE_TOO_LONG)
		fail(p, "expected \"%s\", got an endless line", awaited);
	if (r != LINE_OK)
		return false;
	log_line(p->c->number, p->line,
	    p->line_len -
		(p->line_len > 0 && p->line[p->line_len - 1] == '\r'));
	if (p->line_len == 0 || p->line[p->line_len - 1] != '\r') {
		fail(p, "expected \"%s\", got a line without CR", awaited);
		return false;
	}
	p->line[--p->line_len] = '\0';
	return true;
}

static void
compare(struct player *p, const char *text, size_t len, const char *shown)
{
	bool same;
	char *got;

	if (!read_line(p, shown))
		return;
	if (p->step->op == OP_MATCH)
		same = strlen(p->line) == p->line_len &&
		    fnmatch(text, p->line, 0) == 0;
	else
		same = p->line_len == len && memcmp(p->line, text, len) == 0;
	if (same)
		return;
	got = text_escape(p->line, p->line_len);
	fail(p, "expected \"%s\", got \"%s\"", shown, got);
	free(got);
}

static void
play_expect(struct player *p)
{
	size_t len;
	char *text = counted(p, &len), *shown = text_escape(text, len);

	compare(p, text, len, shown);
	free(shown);
	free(text);
}

static void
play_match(struct player *p)
{
	size_t len;
	char *text = counted(p, &len);

	text[len] = '\0';
	compare(p, text, len, text);
	free(text);
}

static void
play_octets(struct player *p)
{
	char *shown, *got;
	size_t len;
	char *text = counted(p, &len);

	shown = text_escape(text, len);
	if (len > sizeof(p->line) ||
	    stream_octets(p->stream, p->line, len, p->options->wait) !=
		LINE_OK) {
		fail(p, "expected \"%s\", but that did not come", shown);
	} else {
		log_line(p->c->number, p->line, len);
		got = text_escape(p->line, len);
		if (memcmp(p->line, text, len) != 0)
			fail(p, "expected \"%s\", got \"%s\"", shown, got);
		free(got);
	}
	free(shown);
	free(text);
}

static void
play_any(struct player *p)
{
	read_line(p, "any line");
}

/* STAT or NOOP, as the client likes. */
static void
play_question(struct player *p)
{
	bool is_stat;

	if (!read_line(p, "STAT or NOOP"))
		return;
	is_stat = strcmp(p->line, "STAT") == 0;
	if (!is_stat && strcmp(p->line, "NOOP") != 0)
		fail(p, "expected \"STAT\" or \"NOOP\", got \"%s\"", p->line);
	p->is_stat[p->asked++ % QUESTIONS] = is_stat;
}

static void
play_answer(struct player *p)
{
	if (p->answered == p->asked)
		fail(p, "there was no question");
	else if (p->is_stat[p->answered++ % QUESTIONS])
		stream_put(p->stream, p->step->text, p->step->len);
	else
		stream_puts(p->stream, "+OK");
	stream_puts(p->stream, "\r\n");
}

/* Sends without end, until the client has had enough. */
static void
play_endless(struct player *p)
{
	int64_t deadline = text_now() + p->options->wait;
	size_t len, times;
	char *text = counted(p, &len);

	times = len == 0 ? 0 : ENDLESS_BLOCK / len + 1;
	while (!stream_ended(p->stream) && !p->failed) {
		for (size_t i = 0; i < times; i++)
			stream_put(p->stream, text, len);
		stream_flush(p->stream);
		if (text_now() >= deadline)
			fail(p, "the client takes it without end");
	}
	free(text);
}

static int
open_file(struct player *p)
{
	int fd = open(p->step->text, O_RDONLY | O_CLOEXEC);

	if (fd == -1)
		fail(p, "%s cannot be opened", p->step->text);
	return fd;
}

static void
play_file(struct player *p)
{
	int fd = open_file(p);
	struct body b;

	if (fd == -1)
		return;
	body_begin(&b, p->stream, -1);
	b.no_stuff = true;
	if (!body_file(&b, fd))
		fail(p, "%s cannot be read", p->step->text);
	close(fd);
}

static void
play_message(struct player *p)
{
	int fd = open_file(p);
	struct body b;

	if (fd == -1)
		return;
	body_begin(&b, p->stream, -1);
	if (!body_file(&b, fd))
		fail(p, "%s cannot be read", p->step->text);
	body_end(&b);
	close(fd);
}

static void
play_flush(struct player *p)
{
	stream_flush(p->stream);
}

static void
play_drip(struct player *p)
{
	stream_flush(p->stream);
	stream_shape(p->stream)->drip = p->step->number;
}

static void
play_chunk(struct player *p)
{
	stream_flush(p->stream);
	stream_shape(p->stream)->chunk = p->step->number;
}

static void
play_delay(struct player *p)
{
	stream_pause(p->stream, p->step->number);
}

/* Fails if there is input that no step has read. */
static void
check_nothing(struct player *p, const char *awaited)
{
	const char *data;
	size_t len = stream_unread(p->stream, &data);
	char *got;

	if (len == 0)
		return;
	got = text_escape(data, len > 200 ? 200 : len);
	fail(p, "expected %s, got \"%s\"", awaited, got);
	free(got);
}

static void
play_expect_nothing(struct player *p)
{
	stream_pause(p->stream, p->step->number);
	check_nothing(p, "nothing");
	if (!p->failed && stream_at_eof(p->stream))
		fail(p, "expected nothing, but the client is gone");
}

static void
play_expect_eof(struct player *p)
{
	enum line_result r;

	stream_flush(p->stream);
	r = stream_line(p->stream, p->line, sizeof(p->line), &p->line_len,
	    p->options->wait);
	if (r == LINE_OK) {
		char *got = text_escape(p->line, p->line_len);

		fail(p, "expected the end, got \"%s\"", got);
		free(got);
	} else if (r != LINE_EOF) {
		fail(p, "expected the end, but the client is still there");
	} else {
		check_nothing(p, "the end");
	}
}

static void
play_drain(struct player *p)
{
	stream_flush(p->stream);
	if (!stream_drain(p->stream, p->options->wait))
		fail(p, "the client does not close");
}

static void
play_stall(struct player *p)
{
	int64_t wait = p->step->number;

	stream_flush(p->stream);
	if (wait < 0)
		wait = p->options->wait;
	if (!stream_await_hangup(p->stream, wait))
		fail(p, "after %lld ms the client is still there",
		    (long long)wait);
}

static void
play_tls(struct player *p)
{
	bool wanted = p->step->op == OP_TLS;
	const char *why = "";

	check_nothing(p, "a TLS handshake");
	if (p->failed)
		return;
	if (connection_start_tls(p->c, p->options->wait, &why) == wanted)
		return;
	if (wanted)
		fail(p, "TLS handshake: %s", why);
	else
		fail(p, "TLS handshake should have failed");
}

static void
play_close_notify(struct player *p)
{
	stream_close_notify(p->stream);
}

static void
play_cut(struct player *p)
{
	stream_flush(p->stream);
	stream_end(p->stream, p->step->op == OP_CUT ? END_FIN : END_RESET);
}

static void
play_repeat(struct player *p)
{
	p->loops[p->depth++] = (struct loop){p->next, 1, p->step->number};
}

static void
play_end(struct player *p)
{
	struct loop *l = &p->loops[p->depth - 1];

	if (l->count++ < l->times && !stream_ended(p->stream))
		p->next = l->start;
	else
		p->depth--;
}

static void (*const actions[OPS])(struct player *) = {
    [OP_SEND_LINE] = play_send,
    [OP_SEND] = play_send,
    [OP_EXPECT] = play_expect,
    [OP_MATCH] = play_match,
    [OP_OCTETS] = play_octets,
    [OP_ANY] = play_any,
    [OP_QUESTION] = play_question,
    [OP_ANSWER] = play_answer,
    [OP_ENDLESS] = play_endless,
    [OP_FILE] = play_file,
    [OP_MESSAGE] = play_message,
    [OP_FLUSH] = play_flush,
    [OP_DRIP] = play_drip,
    [OP_CHUNK] = play_chunk,
    [OP_DELAY] = play_delay,
    [OP_EXPECT_NOTHING] = play_expect_nothing,
    [OP_EXPECT_EOF] = play_expect_eof,
    [OP_DRAIN] = play_drain,
    [OP_STALL] = play_stall,
    [OP_TLS] = play_tls,
    [OP_TLS_FAILS] = play_tls,
    [OP_CLOSE_NOTIFY] = play_close_notify,
    [OP_CUT] = play_cut,
    [OP_RESET] = play_cut,
    [OP_REPEAT] = play_repeat,
    [OP_END] = play_end,
};

/* A handler; the context is a struct play. */
static void
serve(struct connection *c)
{
	struct play *play = c->context;
	size_t index = (size_t)c->number - 1;
	struct part *part;
	struct player *p = text_alloc(1, sizeof(*p));

	if (index >= play->count)
		index = play->count - 1;
	part = &play->parts[index];
	p->c = c;
	p->stream = c->stream;
	p->options = c->options;
	stream_shape(p->stream)->patience = p->options->wait;
	p->script = part->script;
	if (atomic_load(&part->outcome) != FAILED)
		atomic_store(&part->outcome, RUNNING);
	while (p->next < p->script->count && !p->failed) {
		p->step = &p->script->steps[p->next++];
		atomic_store(&part->line, p->step->line);
		actions[p->step->op](p);
	}
	stream_flush(p->stream);
	if (p->failed)
		atomic_store(&part->outcome, FAILED);
	else if (atomic_load(&part->outcome) == RUNNING)
		atomic_store(&part->outcome, FINISHED);
	free(p);
}

/* Says why a script has not ended; true if it has. */
static bool
judge(struct part *part)
{
	switch (atomic_load(&part->outcome)) {
	case FINISHED:
		return true;
	case WAITING:
		warnx("%s: no connection came", part->script->path);
		return false;
	case RUNNING:
		warnx("%s:%zu: still running at the end", part->script->path,
		    atomic_load(&part->line));
		return false;
	default:
		return false;
	}
}

static bool
judge_all(struct play *play)
{
	bool ok = true;

	for (size_t i = 0; i < play->count; i++)
		ok = judge(&play->parts[i]) && ok;
	return ok;
}

bool
play_run(const struct options *o)
{
	struct play play = {.count = o->script_count};
	struct service service = {
	    .handle = serve,
	    .context = &play,
	    .limit = (int64_t)o->script_count,
	    .grace = GRACE,
	};
	struct ending_of_server ending;
	bool ok;

	play.parts = text_alloc(play.count, sizeof(*play.parts));
	for (size_t i = 0; i < play.count; i++)
		play.parts[i].script = script_load(o->scripts[i]);
	if (o->repeat)
		service.limit = o->max_connections;
	ending = server_run(o, &service);
	ok = judge_all(&play) && !ending.late;
	if (ending.busy)
		_exit(ok ? 0 : 1);
	for (size_t i = 0; i < play.count; i++)
		script_free(play.parts[i].script);
	free(play.parts);
	return ok;
}
