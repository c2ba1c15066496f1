/* SPDX-License-Identifier: ISC */
#include <arpa/inet.h>
#include <dlfcn.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/wait.h"
#include "tap.h"
#include "wire/dial.h"

#define PATIENCE 10000 /* ms; no test should need it */
#define SHORT 60       /* ms; where the end of a wait is tested */
#define BACKLOG_MAX 64

/*
 * A resolver of our own for names that end in .test, in front of the real
 * one, since no other can be made to fail, hang, or know many addresses.
 */
static const struct name {
	const char *name;
	int code;
	const char *addresses[4];
} names[] = {
    {"two.test", 0, {"127.0.0.2", "127.0.0.3"}},
    {"three.test", 0, {"127.0.0.2", "127.0.0.4", "127.0.0.3"}},
    {"mixed.test", 0, {"127.0.0.2", "127.0.0.3", "::1"}},
    {"xn--mller-kva.test", 0, {"127.0.0.1"}},
    {"missing.test", EAI_NONAME, {NULL}},
    {"later.test", EAI_AGAIN, {NULL}},
    {"broken.test", EAI_SYSTEM, {NULL}},
    {"hangs.test", EAI_FAIL, {NULL}},
};

static atomic_int answered, freed;
static sigset_t resolver_mask;
static int hanging[2];

typedef int resolver(
    const char *, const char *, const struct addrinfo *, struct addrinfo **);

/* Each piece is freed by the fake freeaddrinfo below, or the real one. */
static struct addrinfo *
resolve_address(const char *address, const char *service)
{
	union {
		struct sockaddr sa;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} *to = calloc(1, sizeof(*to));
	struct addrinfo *ai = calloc(1, sizeof(*ai));
	in_port_t port = htons((in_port_t)atoi(service));

	if (inet_pton(AF_INET6, address, &to->v6.sin6_addr) == 1) {
		to->v6.sin6_family = AF_INET6;
		to->v6.sin6_port = port;
		ai->ai_addrlen = sizeof(to->v6);
	} else {
		inet_pton(AF_INET, address, &to->v4.sin_addr);
		to->v4.sin_family = AF_INET;
		to->v4.sin_port = port;
		ai->ai_addrlen = sizeof(to->v4);
	}
	ai->ai_family = to->sa.sa_family;
	ai->ai_addr = &to->sa;
	return ai;
}

static int
answer(const struct name *name, const char *service, struct addrinfo **found)
{
	struct addrinfo **end = found;
	char byte;

	pthread_sigmask(SIG_BLOCK, NULL, &resolver_mask);
	if (name->code == EAI_FAIL && read(hanging[0], &byte, 1) == -1)
		err(1, "read");
	for (size_t i = 0; i < 4 && name->addresses[i] != NULL; i++) {
		*end = resolve_address(name->addresses[i], service);
		end = &(*end)->ai_next;
	}
	errno = EIO;
	atomic_fetch_add(&answered, 1);
	return name->code;
}

int
getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
    struct addrinfo **found)
{
	union {
		void *symbol;
		resolver *call;
	} real;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (node != NULL && strcmp(node, names[i].name) == 0)
			return (hints->ai_flags & AI_NUMERICHOST) != 0
			    ? EAI_NONAME
			    : answer(&names[i], service, found);
	real.symbol = dlsym(RTLD_NEXT, "getaddrinfo");
	return real.call(node, service, hints, found);
}

void
freeaddrinfo(struct addrinfo *ai)
{
	union {
		void *symbol;
		void (*call)(struct addrinfo *);
	} real;

	/* The real one says what type of socket an address is for. */
	if (ai->ai_socktype != 0) {
		real.symbol = dlsym(RTLD_NEXT, "freeaddrinfo");
		real.call(ai);
		return;
	}
	atomic_fetch_add(&freed, 1);
	for (struct addrinfo *next; ai != NULL; ai = next) {
		next = ai->ai_next;
		free(ai->ai_addr);
		free(ai);
	}
}

/* A listener on an address; its port is asked for when *port is 0. */
static int
listen_at(const char *address, int backlog, in_port_t *port)
{
	struct sockaddr_in at = {.sin_family = AF_INET};
	socklen_t len = sizeof(at);
	int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	inet_pton(AF_INET, address, &at.sin_addr);
	at.sin_port = htons(*port);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (fd == -1 || bind(fd, (struct sockaddr *)&at, len) == -1 ||
	    (backlog >= 0 && listen(fd, backlog) == -1) ||
	    getsockname(fd, (struct sockaddr *)&at, &len) == -1)
		err(1, "%s", address);
	*port = ntohs(at.sin_port);
	return fd;
}

static int
dial_to(const char *host, in_port_t port, int64_t timeout, struct err *error)
{
	char service[8];
	struct dial_params params = {
	    .host = host, .service = service, .timeout = timeout};

	snprintf(service, sizeof(service), "%u", (unsigned int)port);
	*error = (struct err){0};
	return dial(&params, error);
}

static bool
failed(int fd, const struct err *error, enum err_class class, const char *text)
{
	printf("# %s\n", error->text);
	if (fd != -1)
		close(fd);
	return fd == -1 && error->class == class &&
	    strstr(error->text, text) != NULL;
}

/* How many descriptors are open: losers must not stay. */
static int
open_fds(void)
{
	int count = 0;

	for (int fd = 0; fd < 256; fd++)
		count += fcntl(fd, F_GETFD) != -1;
	return count;
}

static void
test_connects(void)
{
	in_port_t port = 0;
	int listener = listen_at("127.0.0.1", 5, &port);
	struct err error;
	int fd, on = 0, before = open_fds();
	socklen_t len = sizeof(on);

	fd = dial_to("127.0.0.1", port, PATIENCE, &error);
	if (!tap_ok(fd != -1, "an address"))
		printf("# %s\n", error.text);
	tap_ok((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0, "close-on-exec");
	tap_ok((fcntl(fd, F_GETFL) & O_NONBLOCK) != 0, "non-blocking");
	getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, &len);
	tap_ok(on != 0, "TCP_NODELAY");
	on = 0;
	getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, &len);
	tap_ok(on != 0, "SO_KEEPALIVE");
	close(fd);

	/* With ::1 it is two addresses, one of them refused. */
	fd = dial_to("localhost", port, PATIENCE, &error);
	tap_ok(fd != -1, "localhost, by the real resolver: %s", error.text);
	close(fd);
	fd = dial_to("127.0.0.1", port, 0, &error);
	tap_ok(fd != -1, "without a timeout");
	close(fd);
	fd = dial_to("m\xc3\xbcller.test", port, PATIENCE, &error);
	tap_ok(fd != -1, "an IDN: %s", error.text);
	close(fd);
	tap_ok(open_fds() == before, "no descriptor is left");
	close(listener);
}

static void
test_refused(void)
{
	in_port_t port = 0, other;
	struct err error;
	char text[128];
	int fd, before, holder = listen_at("127.0.0.2", -1, &port);

	before = open_fds();
	fd = dial_to("127.0.0.2", port, PATIENCE, &error);
	snprintf(text, sizeof(text),
	    "cannot connect to 127.0.0.2 port %u: Connection refused", port);
	tap_ok(failed(fd, &error, ERR_UNAVAILABLE, text), "refused");
	fd = dial_to("mixed.test", port, PATIENCE, &error);
	/* The families take turns. */
	tap_ok(failed(fd, &error, ERR_UNAVAILABLE,
		   ": 127.0.0.2: Connection refused; ::1: ") &&
		strstr(error.text, "; 127.0.0.3: Connection refused") != NULL,
	    "each address is named");
	tap_ok(open_fds() == before, "no descriptor is left");
	other = port;
	fd = listen_at("127.0.0.3", 5, &other);
	before = dial_to("two.test", port, PATIENCE, &error);
	tap_ok(before != -1, "the second address: %s", error.text);
	close(before);
	close(fd);
	close(holder);
}

/* A listener that never answers: its backlog is full. */
static int
fill_backlog(const char *address, in_port_t port, int fds[BACKLOG_MAX])
{
	struct sockaddr_in at = {.sin_family = AF_INET};
	int n;

	inet_pton(AF_INET, address, &at.sin_addr);
	at.sin_port = htons(port);
	for (n = 0; n < BACKLOG_MAX; n++) {
		struct pollfd one = {.events = POLLOUT};

		fds[n] = socket(
		    AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		one.fd = fds[n];
		if (connect(fds[n], (struct sockaddr *)&at, sizeof(at)) == -1 &&
		    errno == EINPROGRESS && poll(&one, 1, SHORT) == 0)
			return n + 1;
	}
	return n;
}

/* Milliseconds; the best of some, for this machine may be busy. */
static int64_t
dial_time(const char *host, in_port_t port)
{
	int64_t started, best = PATIENCE;
	struct err error;
	int fd;

	for (int i = 0; i < 5 && best >= 500; i++) {
		started = wait_clock();
		fd = dial_to(host, port, PATIENCE, &error);
		if (fd == -1)
			break;
		close(fd);
		if (wait_clock() - started < best)
			best = wait_clock() - started;
	}
	return best;
}

static void
test_unanswered(void)
{
	in_port_t port = 0;
	int listener = listen_at("127.0.0.2", 0, &port), answering, fd, before;
	int fds[BACKLOG_MAX], n = fill_backlog("127.0.0.2", port, fds);
	int64_t started = wait_clock();
	struct err error;

	before = open_fds();
	if (n == BACKLOG_MAX) {
		printf("# this system takes any number of connections\n");
		tap_ok(true, "no answer # SKIP");
	} else {
		fd = dial_to("127.0.0.2", port, SHORT, &error);
		tap_ok(failed(fd, &error, ERR_TEMPFAIL, "no answer in time"),
		    "no answer");
		tap_ok(wait_clock() - started >= SHORT, "... for all the time");
		fd = dial_to("two.test", port, SHORT, &error);
		tap_ok(failed(fd, &error, ERR_TEMPFAIL,
			   "127.0.0.3: not tried, the time is up"),
		    "no time for the second one");
		answering = listen_at("127.0.0.3", 5, &port);
		started = wait_clock();
		fd = dial_to("two.test", port, PATIENCE, &error);
		tap_ok(fd != -1 && wait_clock() - started < PATIENCE / 4,
		    "the second one overtakes: %s", error.text);
		tap_ok(wait_clock() - started >= 250, "... after a while");
		close(fd);
		tap_ok(dial_time("three.test", port) < 500,
		    "one that fails makes way at once");
		close(answering);
		tap_ok(open_fds() == before, "no descriptor is left");
	}
	for (int i = 0; i < n; i++)
		close(fds[i]);
	close(listener);
}

static void
test_names(void)
{
	struct dial_params params = {.host = "127.0.0.1", .timeout = PATIENCE};
	struct err error;
	static const char *const bad[] = {
	    "no-such-service", "0", "65536", "99999999999999999999999", ""};

	tap_ok(failed(dial_to("missing.test", 1, PATIENCE, &error), &error,
		   ERR_NOHOST, "host missing.test not found"),
	    "a name that is missing");
	tap_ok(failed(dial_to("later.test", 1, PATIENCE, &error), &error,
		   ERR_TEMPFAIL, "cannot look up later.test"),
	    "a resolver that fails for now");
	tap_ok(failed(dial_to("broken.test", 1, PATIENCE, &error), &error,
		   ERR_TEMPFAIL, strerror(EIO)),
	    "a resolver that fails with an errno");
	tap_ok(failed(dial_to("\xff.test", 1, PATIENCE, &error), &error,
		   ERR_CONFIG, "\\xff.test"),
	    "bytes that are no name");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		params.service = bad[i];
		tap_ok(failed(dial(&params, &error), &error, ERR_CONFIG,
			   "neither a port nor a known service"),
		    "no service: %s", bad[i]);
	}
	params.service = "pop3";
	params.host = "missing.test";
	tap_ok(failed(dial(&params, &error), &error, ERR_NOHOST, "not found"),
	    "a service by its name");
	params.service = "1";
	params.host = "::1";
	params.family = AF_INET;
	tap_ok(failed(dial(&params, &error), &error, ERR_NOHOST,
		   "no IPv4 address found for ::1"),
	    "-4");
	params.host = "127.0.0.1";
	params.family = AF_INET6;
	tap_ok(failed(dial(&params, &error), &error, ERR_NOHOST,
		   "no IPv6 address found for 127.0.0.1"),
	    "-6");
	params.host = "missing.test";
	tap_ok(failed(dial(&params, &error), &error, ERR_NOHOST,
		   "no IPv6 address found for missing.test"),
	    "-6 and a name");
	for (int i = 1; i < NSIG; i++)
		if (i != SIGKILL && i != SIGSTOP && i != 32 && i != 33 &&
		    sigismember(&resolver_mask, i) == 0) {
			tap_ok(false, "signal %d reaches the resolver", i);
			return;
		}
	tap_ok(true, "no signal reaches the resolver");
}

static void
test_source(void)
{
	in_port_t port = 0;
	int listener = listen_at("127.0.0.1", 5, &port), fd;
	char service[8];
	struct sockaddr_in from = {0};
	socklen_t len = sizeof(from);
	struct dial_params params = {.host = "127.0.0.1",
	    .service = service,
	    .source = "127.0.0.7",
	    .timeout = PATIENCE};
	struct err error = {0};

	snprintf(service, sizeof(service), "%u", (unsigned int)port);
	fd = dial(&params, &error);
	getsockname(fd, (struct sockaddr *)&from, &len);
	tap_ok(fd != -1 && from.sin_addr.s_addr == htonl(0x7f000007),
	    "from a source: %s", error.text);
	close(fd);
	params.source = "192.0.2.1";
	tap_ok(failed(dial(&params, &error), &error, ERR_UNAVAILABLE,
		   " from 192.0.2.1: Cannot assign requested address"),
	    "from an address that is not ours");
	params.family = AF_INET6;
	tap_ok(failed(dial(&params, &error), &error, ERR_CONFIG,
		   "192.0.2.1 is no IPv6 address"),
	    "-6 and a source of IPv4");
	close(listener);
}

/* Refuses what it is asked for, whatever that is. */
static void *
refuse_socks(void *context)
{
	int listener = *(int *)context, fd = accept(listener, NULL, NULL);
	char octets[300];

	if (read(fd, octets, sizeof(octets)) > 0 && write(fd, "\5\0", 2) == 2 &&
	    read(fd, octets, sizeof(octets)) > 0 && write(fd, "\5\4", 2) != 2)
		warn("write");
	close(fd);
	return NULL;
}

static void
test_proxy(void)
{
	in_port_t port = 0;
	int listener = listen_at("127.0.0.1", 5, &port);
	char service[8];
	struct dial_params params = {.host = "missing.test",
	    .service = "pop3s",
	    .timeout = PATIENCE,
	    .proxy_host = "127.0.0.1",
	    .proxy_service = service};
	int before = open_fds(), lookups = atomic_load(&answered);
	struct err error = {0};
	pthread_t thread;

	snprintf(service, sizeof(service), "%u", (unsigned int)port);
	pthread_create(&thread, NULL, refuse_socks, &listener);
	tap_ok(failed(dial(&params, &error), &error, ERR_UNAVAILABLE,
		   "proxy: it cannot connect to missing.test port 995: "
		   "host unreachable"),
	    "through a proxy");
	pthread_join(thread, NULL);
	tap_ok(atomic_load(&answered) == lookups, "the name is not resolved");
	tap_ok(open_fds() == before, "no descriptor is left");
	params.proxy_host = "missing.test";
	tap_ok(failed(dial(&params, &error), &error, ERR_NOHOST,
		   "proxy: host missing.test not found"),
	    "a proxy that is not found");
	params.service = "no-such-service";
	tap_ok(failed(dial(&params, &error), &error, ERR_CONFIG,
		   "neither a port nor a known service"),
	    "a port that the proxy could not know");
	close(listener);
}

static void
test_unix(void)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int fds[BACKLOG_MAX], n, before = open_fds();
	const char *dir = getenv("TMPDIR");
	struct err error = {0};

	snprintf(at.sun_path, sizeof(at.sun_path), "%s/poplar-test-%ld",
	    dir != NULL ? dir : "/tmp", (long)getpid());
	tap_ok(failed(dial_unix(at.sun_path, PATIENCE, &error), &error,
		   ERR_UNAVAILABLE, "No such file or directory"),
	    "a socket that is not there");
	if (bind(listener, (struct sockaddr *)&at, sizeof(at)) == -1)
		err(1, "bind");
	tap_ok(failed(dial_unix(at.sun_path, PATIENCE, &error), &error,
		   ERR_UNAVAILABLE, "Connection refused"),
	    "a socket where nobody listens");
	listen(listener, 0);
	for (n = 0; n < BACKLOG_MAX; n++) {
		fds[n] = dial_unix(at.sun_path, SHORT, &error);
		if (fds[n] == -1)
			break;
	}
	tap_ok(n > 0 && (fcntl(fds[0], F_GETFD) & FD_CLOEXEC) != 0 &&
		(fcntl(fds[0], F_GETFL) & O_NONBLOCK) != 0,
	    "a unix socket");
	if (n < BACKLOG_MAX)
		tap_ok(error.class == ERR_TEMPFAIL, "too many: %s", error.text);
	while (n-- > 0)
		close(fds[n]);
	tap_ok(open_fds() == before, "no descriptor is left");
	unlink(at.sun_path);
	close(listener);
}

static void
test_hanging(void)
{
	struct err error;
	int before_answers = atomic_load(&answered), fd;
	int64_t started = wait_clock();

	fd = dial_to("hangs.test", 1, SHORT, &error);
	tap_ok(failed(fd, &error, ERR_TEMPFAIL, "no answer from the resolver"),
	    "a resolver that hangs");
	tap_ok(wait_clock() - started < PATIENCE, "... is left behind");
	/* It comes back when nobody waits, and cleans up for itself. */
	if (write(hanging[1], "x", 1) != 1)
		err(1, "write");
	while (atomic_load(&answered) == before_answers &&
	    wait_clock() - started < PATIENCE)
		poll(NULL, 0, 1);
	tap_ok(atomic_load(&answered) > before_answers, "... and comes back");
}

static void
test_stop(void)
{
	struct err error;

	wait_open();
	raise(SIGTERM);
	tap_ok(failed(dial_to("hangs.test", 1, PATIENCE, &error), &error,
		   ERR_TEMPFAIL, "SIGTERM"),
	    "a request to stop ends the look-up");
	if (write(hanging[1], "x", 1) != 1)
		err(1, "write");
}

int
main(void)
{
	if (pipe2(hanging, O_CLOEXEC) == -1)
		err(1, "pipe");
	test_connects();
	test_refused();
	test_unanswered();
	test_names();
	test_source();
	test_proxy();
	test_unix();
	test_hanging();
	tap_ok(atomic_load(&freed) > 0, "answers are freed");
	test_stop(); /* last: it asks to stop */
	return tap_done();
}
