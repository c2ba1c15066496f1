/* SPDX-License-Identifier: ISC */
/* The sockets it listens on, and the file that tells their ports. */
#include <sys/socket.h>
#include <sys/un.h>

#include <netinet/in.h>
#include <netinet/tcp.h>

#include <err.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "listen.h"

/* A port free on one address may be taken on the other: try again. */
enum {
	TRIES = 50
};

static int
new_socket(int family)
{
	int fd;

	fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd == -1)
		err(1, "socket");
	return fd;
}

/* -1 with errno EADDRINUSE; dies of anything else. */
static int
listen_on(const char *address, int64_t port)
{
	struct addrinfo hints = {
	    .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE,
	    .ai_socktype = SOCK_STREAM,
	};
	struct addrinfo *ai;
	char service[24];
	int fd, e, on = 1;

	snprintf(service, sizeof(service), "%lld", (long long)port);
	if ((e = getaddrinfo(address, service, &hints, &ai)) != 0)
		errx(1, "%s: %s", address, gai_strerror(e));
	fd = new_socket(ai->ai_family);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (ai->ai_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	if (bind(fd, ai->ai_addr, ai->ai_addrlen) == -1 ||
	    listen(fd, SOMAXCONN) == -1) {
		if (errno != EADDRINUSE)
			err(1, "%s port %s", address, service);
		close(fd);
		fd = -1;
	}
	freeaddrinfo(ai);
	return fd;
}

static int64_t
port_of(int fd)
{
	struct sockaddr_storage a;
	socklen_t len = sizeof(a);
	char service[24];

	if (getsockname(fd, (struct sockaddr *)&a, &len) == -1 ||
	    getnameinfo((struct sockaddr *)&a, len, NULL, 0, service,
		sizeof(service), NI_NUMERICSERV) != 0)
		err(1, "port");
	return atoi(service);
}

/* The same port on all addresses; 0 when one of them was taken. */
static int64_t
try_port(struct listeners *l, const struct words *addresses, int64_t port,
    bool implicit_tls)
{
	size_t before = l->count;
	int fd;

	for (size_t i = 0; i < addresses->count; i++) {
		if ((fd = listen_on(addresses->word[i], port)) == -1) {
			while (l->count > before)
				close(l->list[--l->count].fd);
			return 0;
		}
		l->list[l->count++] = (struct listener){fd, implicit_tls};
		port = port_of(fd);
	}
	return port;
}

static int64_t
open_port(struct listeners *l, const struct options *o, int64_t port,
    bool implicit_tls)
{
	static const struct words loopback = {{"127.0.0.1"}, 1};
	const struct words *addresses = &o->listen;
	int64_t chosen = 0;

	if (addresses->count == 0)
		addresses = &loopback;
	for (int i = 0; chosen == 0 && i < TRIES; i++) {
		chosen = try_port(l, addresses, port, implicit_tls);
		if (port != 0)
			break;
	}
	if (chosen == 0)
		errx(1, "port %lld is taken", (long long)port);
	return chosen;
}

static void
open_unix(struct listeners *l, const char *path, bool implicit_tls)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = new_socket(AF_UNIX);

	if (strlcpy(a.sun_path, path, sizeof(a.sun_path)) >= sizeof(a.sun_path))
		errx(1, "%s: too long for a socket", path);
	unlink(path);
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) == -1 ||
	    listen(fd, SOMAXCONN) == -1)
		err(1, "%s", path);
	l->list[l->count++] = (struct listener){fd, implicit_tls};
}

static void
put_ports(FILE *f, const char *name, int64_t port, int64_t tls_port)
{
	fprintf(f, "%lld\n", (long long)port);
	if (tls_port != 0)
		fprintf(f, "%lld\n", (long long)tls_port);
	if (fflush(f) != 0)
		err(1, "%s", name);
}

/* Appears whole or not at all: who sees it may connect. */
static void
write_port_file(const char *path, int64_t port, int64_t tls_port)
{
	char *temporary;
	FILE *f;

	if (strcmp(path, "-") == 0) {
		put_ports(stdout, path, port, tls_port);
		return;
	}
	if (asprintf(&temporary, "%s.%ld", path, (long)getpid()) == -1)
		err(1, "memory");
	if ((f = fopen(temporary, "we")) == NULL)
		err(1, "%s", temporary);
	put_ports(f, temporary, port, tls_port);
	if (fclose(f) != 0 || rename(temporary, path) == -1)
		err(1, "%s", path);
	free(temporary);
}

void
listen_open(struct listeners *l, const struct options *o)
{
	bool implicit = o->tls == TLS_IMPLICIT;
	int64_t port, tls_port = 0;

	port = open_port(l, o, o->port, implicit);
	if (o->tls == TLS_BOTH)
		tls_port = open_port(l, o, o->tls_port, true);
	if (o->unix_path != NULL)
		open_unix(l, o->unix_path, implicit);
	if (o->port_file != NULL)
		write_port_file(o->port_file, port, tls_port);
}

void
listen_close(struct listeners *l)
{
	while (l->count > 0)
		close(l->list[--l->count].fd);
}

void
listen_no_delay(int fd)
{
	int on = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}
