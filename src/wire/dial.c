/* SPDX-License-Identifier: ISC */
#include "wire/dial.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/text.h"
#include "base/wait.h"
#include "wire/name.h"
#include "wire/socks.h"

#define STAGGER 250 /* ms; RFC 8305, section 5 */
#define TARGETS_MAX 32
#define UNIX_RETRY 50 /* ms */
#define NAME_MAX_SHOWN 256

/*
 * getaddrinfo(3) knows no deadline, so it runs in a thread that may outlive
 * our patience.  Both sides hold this; whoever lets go last frees it.
 */
struct lookup {
	atomic_int holders;
	atomic_bool done;
	int finished; /* a pipe, closed when the rest is filled in */
	char *host;
	char *service;
	struct addrinfo hints;
	struct addrinfo *found;
	int code;
	int error; /* errno, for EAI_SYSTEM */
};

struct target {
	struct sockaddr_storage address;
	socklen_t len;
	int error; /* why it failed, 0: not known to have failed */
};

struct race {
	struct target targets[TARGETS_MAX];
	struct pollfd fds[TARGETS_MAX]; /* -1: not started, or failed */
	size_t n;
	size_t started;
	int64_t next_at;
	const struct addrinfo *source; /* NULL: any */
};

static void
lookup_release(struct lookup *lookup)
{
	if (atomic_fetch_sub(&lookup->holders, 1) > 1)
		return;
	if (lookup->found != NULL)
		freeaddrinfo(lookup->found);
	free(lookup->host);
	free(lookup->service);
	free(lookup);
}

static void *
lookup_thread(void *context)
{
	struct lookup *lookup = context;
	int finished = lookup->finished;

	lookup->code = getaddrinfo(
	    lookup->host, lookup->service, &lookup->hints, &lookup->found);
	lookup->error = errno;
	if (lookup->code != 0)
		lookup->found = NULL;
	atomic_store(&lookup->done, true);
	close(finished);
	lookup_release(lookup);
	return NULL;
}

/* No signal is for this thread: the waits of the other one must see them. */
static int
start_thread(struct lookup *lookup)
{
	sigset_t all, old;
	pthread_t thread;
	int error;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	error = pthread_create(&thread, NULL, lookup_thread, lookup);
	if (error == 0)
		pthread_detach(thread);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return error;
}

static const char *
shown(char dst[NAME_MAX_SHOWN], const char *name)
{
	return text_escape(dst, NAME_MAX_SHOWN, name, strlen(name));
}

static int
wait_for_lookup(
    struct lookup *lookup, int finished, int64_t until, struct err *err)
{
	char host[NAME_MAX_SHOWN];

	int ready;

	do {
		ready = wait_for_fd(finished, POLLIN, until, err);
		if (ready == -1)
			return -1;
		if (ready == 0 && wait_clock() >= until)
			return err_set(err, ERR_TEMPFAIL,
			    "no answer from the resolver about %s in time",
			    shown(host, lookup->host));
	} while (ready == 0 || !atomic_load(&lookup->done));
	return 0;
}

static bool
no_such_name(int code)
{
#ifdef EAI_NODATA
	if (code == EAI_NODATA)
		return true;
#endif
#ifdef EAI_ADDRFAMILY
	if (code == EAI_ADDRFAMILY)
		return true;
#endif
	return code == EAI_NONAME;
}

static const char *
family_name(int family)
{
	if (family == AF_UNSPEC)
		return "IP";
	return family == AF_INET ? "IPv4" : "IPv6";
}

/* errno counts for EAI_SYSTEM only. */
static int
lookup_failed(const struct dial_params *params, int code, struct err *err)
{
	char name[NAME_MAX_SHOWN];

	if (code == EAI_SERVICE) {
		shown(name, params->service);
		return err_set(err, ERR_CONFIG,
		    "\"%s\" is neither a port nor a known service", name);
	}
	shown(name, params->host);
	if (no_such_name(code) && params->family != AF_UNSPEC)
		return err_set(err, ERR_NOHOST, "no %s address found for %s",
		    family_name(params->family), name);
	if (no_such_name(code))
		return err_set(err, ERR_NOHOST, "host %s not found", name);
	if (code == EAI_SYSTEM)
		return err_set_errno(
		    err, ERR_TEMPFAIL, "cannot look up %s", name);
	return err_set(err, code == EAI_MEMORY ? ERR_OS : ERR_TEMPFAIL,
	    "cannot look up %s: %s", name, gai_strerror(code));
}

static int
look_up(const struct dial_params *params, struct lookup *lookup, int64_t until,
    struct err *err)
{
	int ends[2], error, result;

	if (pipe2(ends, O_CLOEXEC) == -1)
		return err_set_errno(err, ERR_OS, "pipe");
	lookup->finished = ends[1];
	atomic_store(&lookup->holders, 2);
	error = start_thread(lookup);
	if (error != 0) {
		atomic_store(&lookup->holders, 1);
		close(ends[0]);
		close(ends[1]);
		errno = error;
		return err_set_errno(err, ERR_OS, "cannot start a thread");
	}
	result = wait_for_lookup(lookup, ends[0], until, err);
	close(ends[0]);
	if (result == 0 && lookup->code != 0) {
		errno = lookup->error;
		result = lookup_failed(params, lookup->code, err);
	}
	return result;
}

/* getaddrinfo takes any number for a port and cuts it to 16 bits. */
static bool
is_port_out_of_range(const char *service)
{
	uint64_t port;

	if (service[0] == '\0')
		return true;
	if (service[strspn(service, "0123456789")] != '\0')
		return false;
	return !text_to_number(service, strlen(service), 65535, &port) ||
	    port == 0;
}

/* An address needs no resolver, and no thread. */
static int
resolve(const struct dial_params *params, struct lookup *lookup, int64_t until,
    struct err *err)
{
	int code;

	if (is_port_out_of_range(params->service))
		return lookup_failed(params, EAI_SERVICE, err);
	lookup->hints.ai_flags = AI_NUMERICHOST;
	code = getaddrinfo(
	    lookup->host, lookup->service, &lookup->hints, &lookup->found);
	if (code == 0)
		return 0;
	lookup->found = NULL;
	if (code != EAI_NONAME)
		return lookup_failed(params, code, err);
	lookup->hints.ai_flags = 0;
	return look_up(params, lookup, until, err);
}

static void
race_add(struct race *race, const struct addrinfo *ai)
{
	struct target *target = &race->targets[race->n];

	if (race->n == TARGETS_MAX || ai->ai_addrlen > sizeof(target->address))
		return;
	memcpy(&target->address, ai->ai_addr, ai->ai_addrlen);
	target->len = ai->ai_addrlen;
	target->error = 0;
	race->fds[race->n] = (struct pollfd){.fd = -1, .events = POLLOUT};
	race->n++;
}

static const struct addrinfo *
next_of(const struct addrinfo *ai, int family, bool same)
{
	while (ai != NULL && (ai->ai_family == family) != same)
		ai = ai->ai_next;
	return ai;
}

/* The order of the resolver, but with the families taking turns. */
static void
race_line_up(struct race *race, const struct addrinfo *list)
{
	int family = list != NULL ? list->ai_family : AF_UNSPEC;
	const struct addrinfo *first = list;
	const struct addrinfo *second = next_of(list, family, false);

	while (first != NULL || second != NULL) {
		if (first != NULL) {
			race_add(race, first);
			first = next_of(first->ai_next, family, true);
		}
		if (second != NULL) {
			race_add(race, second);
			second = next_of(second->ai_next, family, false);
		}
	}
}

static int
bind_to_source(int fd, const struct addrinfo *source)
{
	if (source == NULL)
		return 0;
	return bind(fd, source->ai_addr, source->ai_addrlen);
}

static void
race_start_next(struct race *race)
{
	size_t i = race->started++;
	struct target *target = &race->targets[i];
	int on = 1;
	int fd = socket(target->address.ss_family,
	    SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	race->next_at = wait_clock() + STAGGER;
	if (fd == -1) {
		target->error = errno;
		return;
	}
	/* Both only help; a system that refuses them still connects. */
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	if (bind_to_source(fd, race->source) == -1 ||
	    (connect(fd, (const struct sockaddr *)&target->address,
		 target->len) == -1 &&
		errno != EINPROGRESS)) {
		target->error = errno;
		close(fd);
		return;
	}
	race->fds[i].fd = fd;
}

static size_t
race_running(const struct race *race)
{
	size_t running = 0;

	for (size_t i = 0; i < race->started; i++)
		running += race->fds[i].fd != -1;
	return running;
}

/* The next one starts at once if there is nothing to wait for. */
static void
race_start_due(struct race *race)
{
	while (race->started < race->n &&
	    (race_running(race) == 0 || wait_clock() >= race->next_at))
		race_start_next(race);
}

/* Who has arrived?  Its descriptor, or -1; the failed ones are closed. */
static int
race_look(struct race *race)
{
	for (size_t i = 0; i < race->started; i++) {
		int error = 0, fd = race->fds[i].fd;
		socklen_t len = sizeof(error);

		if (fd == -1 || race->fds[i].revents == 0)
			continue;
		if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) == -1)
			error = errno;
		race->fds[i].fd = -1;
		if (error == 0)
			return fd;
		race->targets[i].error = error;
		race->next_at = 0;
		close(fd);
	}
	return -1;
}

static void
race_end(struct race *race)
{
	for (size_t i = 0; i < race->started; i++)
		if (race->fds[i].fd != -1)
			close(race->fds[i].fd);
}

static enum err_class
class_of_race(const struct race *race)
{
	enum err_class class = ERR_UNAVAILABLE;

	for (size_t i = 0; i < race->n; i++) {
		int error = race->targets[i].error;

		if (error == 0 || error == ETIMEDOUT || error == ECONNRESET)
			return ERR_TEMPFAIL;
		if (error == EMFILE || error == ENFILE || error == ENOMEM ||
		    error == ENOBUFS)
			class = ERR_OS;
	}
	return class;
}

/* All have failed, or the time is up. */
static int
race_lost(
    const struct race *race, const struct dial_params *params, struct err *err)
{
	char host[NAME_MAX_SHOWN], service[NAME_MAX_SHOWN];
	char name[NI_MAXHOST];
	struct buf causes = {0};

	for (size_t i = 0; i < race->n; i++) {
		const struct target *target = &race->targets[i];
		int error = target->error;

		if (getnameinfo((const struct sockaddr *)&target->address,
			target->len, name, sizeof(name), NULL, 0,
			NI_NUMERICHOST) != 0)
			strlcpy(name, "?", sizeof(name));
		buf_puts(&causes, i > 0 ? "; " : "");
		if (race->n > 1 || strcmp(name, params->host) != 0)
			buf_printf(&causes, "%s: ", name);
		buf_puts(&causes,
		    error != 0		    ? strerror(error)
			: i < race->started ? "no answer in time"
					    : "not tried, the time is up");
	}
	err_set(err, class_of_race(race),
	    "cannot connect to %s port %s%s%s: %s", shown(host, params->host),
	    shown(service, params->service),
	    params->source != NULL ? " from " : "",
	    params->source != NULL ? params->source : "", buf_string(&causes));
	buf_free(&causes);
	return -1;
}

static int
race_run(struct race *race, const struct dial_params *params, int64_t until,
    struct err *err)
{
	int64_t wake;
	int fd = -1;

	while (fd == -1) {
		race_start_due(race);
		if (race_running(race) == 0 || wait_clock() >= until)
			return race_lost(race, params, err);
		wake = until;
		if (race->started < race->n && race->next_at < until)
			wake = race->next_at;
		if (wait_for(race->fds, race->started, wake, err) == -1)
			return -1;
		fd = race_look(race);
	}
	return fd;
}

static int64_t
end_of(int64_t timeout)
{
	return timeout > 0 ? wait_clock() + timeout : WAIT_FOREVER;
}

/* The params' family must be that of the source, if it has one. */
static int
dial_from(const struct dial_params *params, const struct addrinfo *source,
    int64_t until, struct err *err)
{
	struct lookup *lookup;
	struct race race = {.source = source};
	char *host;
	int fd = -1;

	host = name_to_ascii(params->host, err);
	if (host == NULL)
		return -1;
	lookup = mem_zero(1, sizeof(*lookup));
	atomic_init(&lookup->holders, 1);
	lookup->host = host;
	lookup->service = mem_dup(params->service);
	lookup->hints.ai_family = params->family;
	lookup->hints.ai_socktype = SOCK_STREAM;
	if (resolve(params, lookup, until, err) == -1)
		goto done;
	race_line_up(&race, lookup->found);
	fd = race_run(&race, params, until, err);
	race_end(&race);
done:
	lookup_release(lookup);
	return fd;
}

static int
dial_directly(const struct dial_params *params, int64_t until, struct err *err)
{
	struct addrinfo hints = {.ai_flags = AI_NUMERICHOST,
	    .ai_family = params->family,
	    .ai_socktype = SOCK_STREAM};
	struct dial_params same_family = *params;
	struct addrinfo *source;
	char name[NAME_MAX_SHOWN];
	int fd;

	if (params->source == NULL)
		return dial_from(params, NULL, until, err);
	if (getaddrinfo(params->source, NULL, &hints, &source) != 0)
		return err_set(err, ERR_CONFIG,
		    "%s is no %s address to connect from",
		    shown(name, params->source), family_name(params->family));
	same_family.family = source->ai_family;
	fd = dial_from(&same_family, source, until, err);
	freeaddrinfo(source);
	return fd;
}

/* The number of a service; this asks no server. */
static int
find_port(const struct dial_params *params, uint16_t *port, struct err *err)
{
	struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICHOST,
	    .ai_family = AF_INET,
	    .ai_socktype = SOCK_STREAM};
	struct addrinfo *found;
	struct sockaddr_in any;

	if (is_port_out_of_range(params->service) ||
	    getaddrinfo(NULL, params->service, &hints, &found) != 0)
		return lookup_failed(params, EAI_SERVICE, err);
	memcpy(&any, found->ai_addr, sizeof(any));
	*port = ntohs(any.sin_port);
	freeaddrinfo(found);
	return 0;
}

static int
ask_proxy(const struct dial_params *params, const char *host, int64_t until,
    struct err *err)
{
	struct socks_params socks = {
	    .host = host,
	    .user = params->proxy_user,
	    .password = params->proxy_password,
	};
	struct dial_params proxy = *params;
	int fd;

	if (find_port(params, &socks.port, err) == -1)
		return -1;
	proxy.host = params->proxy_host;
	proxy.service = params->proxy_service;
	fd = dial_directly(&proxy, until, err);
	if (fd != -1 && socks_connect(fd, &socks, until, err) == 0)
		return fd;
	if (fd != -1)
		close(fd);
	return err_prefix(err, "proxy");
}

int
dial(const struct dial_params *params, struct err *err)
{
	int64_t until = end_of(params->timeout);
	char *host;
	int fd;

	if (params->proxy_host == NULL)
		return dial_directly(params, until, err);
	host = name_to_ascii(params->host, err);
	if (host == NULL)
		return -1;
	fd = ask_proxy(params, host, until, err);
	free(host);
	return fd;
}

static int
unix_failed(int fd, const char *path, int error, struct err *err)
{
	char name[NAME_MAX_SHOWN];

	if (fd != -1)
		close(fd);
	errno = error;
	return err_set_errno(err,
	    error == EAGAIN ? ERR_TEMPFAIL : ERR_UNAVAILABLE,
	    "cannot connect to socket %s", shown(name, path));
}

int
dial_unix(const char *path, int64_t timeout, struct err *err)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	int64_t until = end_of(timeout), now;
	int fd;

	if (strlcpy(at.sun_path, path, sizeof(at.sun_path)) >=
	    sizeof(at.sun_path))
		return unix_failed(-1, path, ENAMETOOLONG, err);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd == -1)
		return err_set_errno(err, ERR_OS, "cannot make a socket");
	/* Where too many wait already, it cannot be waited for. */
	while (connect(fd, (const struct sockaddr *)&at, sizeof(at)) == -1) {
		now = wait_clock();
		if (errno != EAGAIN || now >= until)
			return unix_failed(fd, path, errno, err);
		if (wait_for(NULL, 0, now + UNIX_RETRY, err) == -1) {
			close(fd);
			return -1;
		}
	}
	return fd;
}
