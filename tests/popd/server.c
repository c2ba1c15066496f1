/* SPDX-License-Identifier: ISC */
/* Listens, and gives each connection a thread, until there is a reason to end.
 */
#include <sys/socket.h>

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "listen.h"
#include "log.h"
#include "server.h"
#include "text.h"

enum {
	HANDSHAKE = 30000, /* ms */
	STACK = 512 * 1024
};

struct server {
	const struct options *options;
	const struct service *service;
	struct tls_server *tls;
	struct listeners listeners;
	int ended[2]; /* a pipe: each thread writes an octet at its end */
	int64_t accepted, active;
};

/* What a new thread is given. */
struct task {
	struct connection connection;
	bool implicit_tls;
	int in, out, ended;
	handler *handle;
};

static volatile sig_atomic_t got_signal;

static void
on_signal(int number)
{
	got_signal = number;
}

bool
connection_start_tls(struct connection *c, int64_t wait, const char **why)
{
	char event[160];

	if (c->tls == NULL) {
		*why = "no certificate was given";
		return false;
	}
	c->secure = stream_start_tls(c->stream, c->tls, wait, why);
	if (c->secure)
		snprintf(event, sizeof(event), "tls %s",
		    stream_tls_version(c->stream));
	else
		snprintf(event, sizeof(event), "tls failed: %s", *why);
	log_event(c->number, event);
	return c->secure;
}

static void
serve(struct task *t)
{
	struct connection *c = &t->connection;
	const struct options *o = c->options;
	const char *why;

	c->stream = stream_new(t->in, t->out, &o->shape);
	log_event(c->number, "connect");
	if (o->at == NULL &&
	    (o->on_connection == 0 || o->on_connection == c->number))
		stream_arm(c->stream, true);
	stream_pause(c->stream, o->shape.latency);
	if (!t->implicit_tls || connection_start_tls(c, HANDSHAKE, &why))
		t->handle(c);
	stream_free(c->stream);
	log_event(c->number, "close");
}

static void *
run_task(void *arg)
{
	struct task *t = arg;
	int ended = t->ended;

	serve(t);
	free(t);
	if (write(ended, "", 1) != 1)
		err(1, "pipe");
	return NULL;
}

static struct task *
new_task(struct server *s, int in, int out, bool implicit_tls)
{
	struct task *t = text_alloc(1, sizeof(*t));

	t->connection.number = (int)++s->accepted;
	t->connection.tls = s->tls;
	t->connection.options = s->options;
	t->connection.context = s->service->context;
	t->implicit_tls = implicit_tls;
	t->in = in;
	t->out = out;
	t->ended = s->ended[1];
	t->handle = s->service->handle;
	s->active++;
	return t;
}

static void
accept_one(struct server *s, const struct listener *l)
{
	pthread_attr_t attributes;
	pthread_t thread;
	struct task *t;
	int fd, e;

	fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd == -1) {
		if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
			warn("accept");
		return;
	}
	listen_no_delay(fd);
	t = new_task(s, fd, fd, l->implicit_tls);
	pthread_attr_init(&attributes);
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attributes, STACK);
	e = pthread_create(&thread, &attributes, run_task, t);
	if (e != 0)
		errc(1, e, "thread");
	pthread_attr_destroy(&attributes);
}

static bool
is_full(const struct server *s)
{
	return s->service->limit > 0 && s->accepted >= s->service->limit;
}

/* Counts the threads that have ended. */
static void
reap(struct server *s)
{
	char ended[64];
	ssize_t n = read(s->ended[0], ended, sizeof(ended));

	if (n > 0)
		s->active -= n;
}

/* Reads and forgets; true at the end of it. */
static bool
input_ended(void)
{
	char ignored[512];
	ssize_t n = read(STDIN_FILENO, ignored, sizeof(ignored));

	return n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN);
}

/*
 * Waits for events until the deadline and serves them. Signals are let in
 * only here. True: there is a reason to stop.
 */
static bool
turn(struct server *s, bool accepting, int64_t deadline)
{
	struct pollfd p[LISTENERS + 2] = {
	    {.fd = s->ended[0], .events = POLLIN},
	    {.fd = s->options->until_eof && accepting ? STDIN_FILENO : -1,
		.events = POLLIN},
	};
	int ms = text_until(deadline);
	struct timespec t = {ms / 1000, (long)(ms % 1000) * 1000000};
	size_t n = accepting ? s->listeners.count : 0;
	sigset_t none;

	for (size_t i = 0; i < n; i++)
		p[i + 2] = (struct pollfd){s->listeners.list[i].fd, POLLIN, 0};
	sigemptyset(&none);
	if (ppoll(p, n + 2, &t, &none) <= 0)
		return got_signal != 0 && accepting;
	if (p[0].revents != 0)
		reap(s);
	for (size_t i = 0; i < n && !is_full(s); i++)
		if (p[i + 2].revents != 0)
			accept_one(s, &s->listeners.list[i]);
	return p[1].revents != 0 && input_ended();
}

static void
catch_signals(void)
{
	struct sigaction action = {.sa_handler = on_signal};
	sigset_t blocked;

	sigemptyset(&blocked);
	sigaddset(&blocked, SIGTERM);
	sigaddset(&blocked, SIGINT);
	pthread_sigmask(SIG_BLOCK, &blocked, NULL);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	action.sa_handler = SIG_IGN;
	sigaction(SIGPIPE, &action, NULL);
}

/* One connection, in this thread; SIGTERM and SIGALRM just kill. */
static void
serve_stdio(struct server *s)
{
	bool tls = s->options->tls == TLS_IMPLICIT;

	signal(SIGPIPE, SIG_IGN);
	alarm((unsigned int)s->options->lifetime);
	for (int fd = STDIN_FILENO; fd <= STDOUT_FILENO; fd++)
		fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	run_task(new_task(s, STDIN_FILENO, STDOUT_FILENO, tls));
}

/* Connections that are still open get their grace. */
static void
wind_up(struct server *s)
{
	int64_t deadline = text_now() + s->service->grace;

	listen_close(&s->listeners);
	while (s->active > 0 && text_now() < deadline)
		turn(s, false, deadline);
}

/* Until it has served enough, is told to end, or its time is over. */
static bool
serve_all(struct server *s)
{
	int64_t deadline = text_now() + s->options->lifetime * 1000;

	while (!(is_full(s) && s->active == 0)) {
		if (turn(s, true, deadline))
			break;
		if (is_full(s))
			listen_close(&s->listeners);
		if (text_now() >= deadline) {
			warnx("still here after %lld s: giving up",
			    (long long)s->options->lifetime);
			return false;
		}
	}
	return true;
}

struct ending_of_server
server_run(const struct options *o, const struct service *service)
{
	struct server s = {.options = o, .service = service};
	struct ending_of_server ending = {false, false};
	const struct tls_files files = {
	    .cert = o->tls_cert,
	    .key = o->tls_key,
	    .priorities = o->tls_priorities,
	    .ocsp = o->tls_ocsp,
	    .client_ca = o->tls_client_ca,
	};

	if (o->tls != TLS_NONE || o->tls_cert != NULL)
		s.tls = tls_load(&files);
	log_open(o->log);
	if (pipe2(s.ended, O_CLOEXEC) == -1)
		err(1, "pipe");
	if (o->stdio) {
		serve_stdio(&s);
		reap(&s);
	} else {
		catch_signals();
		listen_open(&s.listeners, o);
		ending.late = !serve_all(&s);
		wind_up(&s);
	}
	ending.busy = s.active > 0;
	if (!ending.busy)
		tls_unload(s.tls);
	return ending;
}
