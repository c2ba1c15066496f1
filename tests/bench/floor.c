/* SPDX-License-Identifier: ISC */
/*
 * floor: the least that the work of a fetcher can cost on this machine.
 *
 *	floor [-t] [-d DEPTH] [-a ACCOUNTS] [-m DIR | -b FILE] [-x] PORT
 *	floor [-t] -u FILE PORT
 *
 * It logs in at 127.0.0.1 as user1 (to userN, all at once), retrieves with so
 * many commands in flight, and drops all, or delivers to the Maildir DIR (DIR1
 * to DIRN) or the mbox FILE: crash-safe, by group commit of 100 messages.  -x
 * deletes them, -t is TLS with any certificate.  -u looks up all unique-ids
 * in FILE, one a line.  It believes the server all it says, keeps no state and
 * quotes nothing.
 */
#include <arpa/inet.h>
#include <err.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <gnutls/gnutls.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/flush.h"
#include "pop3/unstuff.h"

#define BATCH 100
#define BUFFER ((size_t)256 << 10)

static struct {
	in_port_t port;
	bool tls;
	bool delete;
	unsigned long depth;
	const char *maildir;
	const char *mbox;
	const char *cache;
} options = {.depth = 1000};

/* -- the connection -- */

static struct {
	int fd;
	gnutls_session_t tls;
	size_t at, len;
	char in[BUFFER];
} link_;

static void
dial(void)
{
	struct sockaddr_in to = {.sin_family = AF_INET,
	    .sin_port = htons(options.port),
	    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	gnutls_certificate_credentials_t trust;

	link_.fd = socket(AF_INET, SOCK_STREAM, 0);
	if (connect(link_.fd, (struct sockaddr *)&to, sizeof(to)) == -1)
		err(1, "connect");
	if (!options.tls)
		return;
	gnutls_certificate_allocate_credentials(&trust);
	gnutls_init(&link_.tls, GNUTLS_CLIENT);
	gnutls_set_default_priority(link_.tls);
	gnutls_credentials_set(link_.tls, GNUTLS_CRD_CERTIFICATE, trust);
	gnutls_transport_set_int(link_.tls, link_.fd);
	if (gnutls_handshake(link_.tls) < 0)
		errx(1, "handshake");
}

static void
say(const char *text, size_t n)
{
	while (n > 0) {
		ssize_t done = options.tls
		    ? gnutls_record_send(link_.tls, text, n)
		    : send(link_.fd, text, n, MSG_NOSIGNAL);

		if (done <= 0)
			errx(1, "send");
		text += done;
		n -= (size_t)done;
	}
}

static void
hear(void)
{
	ssize_t n;

	if (link_.at > 0)
		memmove(link_.in, link_.in + link_.at, link_.len - link_.at);
	link_.len -= link_.at;
	link_.at = 0;
	do
		n = options.tls ? gnutls_record_recv(link_.tls,
				      link_.in + link_.len, BUFFER - link_.len)
				: recv(link_.fd, link_.in + link_.len,
				      BUFFER - link_.len, 0);
	while (options.tls && n == GNUTLS_E_AGAIN);
	if (n <= 0)
		errx(1, "the server is gone");
	link_.len += (size_t)n;
}

/* The next line with its end; valid until the next call. */
static const char *
line(size_t *n)
{
	const char *start, *end;

	for (;;) {
		start = link_.in + link_.at;
		end = memchr(start, '\n', link_.len - link_.at);
		if (end != NULL)
			break;
		hear();
	}
	*n = (size_t)(end - start) + 1;
	link_.at += *n;
	return start;
}

static const char *
expect_ok(void)
{
	size_t n;
	const char *text = line(&n);

	if (text[0] != '+')
		errx(1, "the server said %.*s", (int)n, text);
	return text;
}

/* -- delivery -- */

static struct {
	int tmp, new; /* directories */
	int fd;	      /* of the mbox */
	unsigned long first;
	size_t n;
	struct flush *flush;
	size_t used;
	char out[BUFFER];
} sink;

static void
write_out(int fd)
{
	if (write(fd, sink.out, sink.used) != (ssize_t)sink.used)
		err(1, "write");
	sink.used = 0;
}

static int
open_folder(const char *maildir, const char *number, const char *folder)
{
	char path[4096];
	int fd;

	snprintf(path, sizeof(path), "%s%s/%s", maildir, number, folder);
	fd = open(path, O_RDONLY | O_DIRECTORY);
	if (fd == -1)
		err(1, "%s", path);
	return fd;
}

static void
open_sink(const char *number)
{
	if (options.maildir != NULL) {
		sink.tmp = open_folder(options.maildir, number, "tmp");
		sink.new = open_folder(options.maildir, number, "new");
		sink.flush = flush_new(BATCH, true);
	}
	if (options.mbox == NULL)
		return;
	sink.fd = open(options.mbox, O_WRONLY | O_CREAT | O_APPEND, 0600);
	if (sink.fd == -1)
		err(1, "%s", options.mbox);
}

static void
publish_batch(void)
{
	char name[64];
	size_t failed;

	if (sink.n == 0)
		return;
	if (flush_wait(sink.flush, &failed) == -1)
		err(1, "fdatasync");
	for (size_t i = 0; i < sink.n; i++) {
		snprintf(name, sizeof(name), "1.%lu.floor", sink.first + i);
		if (renameat(sink.tmp, name, sink.new, name) == -1)
			err(1, "rename");
	}
	if (fsync(sink.new) == -1)
		err(1, "fsync");
	sink.n = 0;
}

static void
deliver_file(int fd, unsigned long number)
{
	write_out(fd);
	if (sink.n == 0)
		sink.first = number;
	flush_add(sink.flush, fd);
	if (++sink.n == BATCH)
		publish_batch();
}

static void
flush_mbox(void)
{
	if (sink.n == 0)
		return;
	write_out(sink.fd);
	if (fdatasync(sink.fd) == -1)
		err(1, "fdatasync");
	sink.n = 0;
}

static void
gather(int fd, const char *data, size_t n)
{
	while (n > 0) {
		size_t part = n < BUFFER - sink.used ? n : BUFFER - sink.used;

		memcpy(sink.out + sink.used, data, part);
		sink.used += part;
		data += part;
		n -= part;
		if (sink.used == BUFFER)
			write_out(fd);
	}
}

static int
create(unsigned long number)
{
	static const char head[] = "\nFrom floor Thu Jan  1 00:00:00 1970\n";
	char name[64];
	int fd;

	if (options.mbox != NULL) {
		gather(sink.fd, head, sizeof(head) - 1);
		return sink.fd;
	}
	snprintf(name, sizeof(name), "1.%lu.floor", number);
	fd = openat(sink.tmp, name, O_WRONLY | O_CREAT | O_EXCL, 0600);
	if (fd == -1)
		err(1, "%s", name);
	return fd;
}

/* -- a session -- */

static void
receive(unsigned long number)
{
	bool deliver = options.maildir != NULL || options.mbox != NULL;
	struct unstuff state;
	int fd = -1;

	expect_ok();
	if (deliver)
		fd = create(number);
	unstuff_init(&state);
	while (state.state != UNSTUFF_DONE) {
		const char *out;
		size_t produced;

		if (link_.at == link_.len)
			hear();
		link_.at += unstuff(&state, link_.in + link_.at,
		    link_.len - link_.at, &out, &produced);
		if (deliver)
			gather(fd, out, produced);
	}
	if (options.maildir != NULL)
		deliver_file(fd, number);
	else if (deliver && ++sink.n == BATCH)
		flush_mbox();
}

/* Commands about n messages, so many in flight; half of them at a time. */
static void
each(const char *command, unsigned long n, void (*take)(unsigned long))
{
	static char out[1 << 16];
	unsigned long sent = 0;

	for (unsigned long i = 1; i <= n; i++) {
		size_t used = 0;

		if (sent - (i - 1) <= options.depth / 2)
			while (sent < n && sent - (i - 1) < options.depth &&
			    used + 32 < sizeof(out))
				used += (size_t)sprintf(
				    out + used, "%s %lu\r\n", command, ++sent);
		if (used > 0)
			say(out, used);
		take(i);
	}
}

static void
take_ok(unsigned long number)
{
	(void)number;
	expect_ok();
}

static void
retrieve(unsigned long n)
{
	each("RETR", n, receive);
	if (options.maildir != NULL) {
		publish_batch();
		flush_free(sink.flush);
	}
	if (options.mbox != NULL)
		flush_mbox();
	if (options.delete)
		each("DELE", n, take_ok);
}

/* -- a poll -- */

static struct {
	char *text;
	uint32_t *slots; /* offset of a line in text, plus one */
	size_t mask;
} cache;

static uint32_t *
slot(const char *id, size_t n)
{
	size_t at = XXH3_64bits(id, n) & cache.mask;

	while (cache.slots[at] != 0 &&
	    (memcmp(cache.text + cache.slots[at] - 1, id, n) != 0 ||
		cache.text[cache.slots[at] - 1 + n] != '\n'))
		at = (at + 1) & cache.mask;
	return &cache.slots[at];
}

static void
load_cache(void)
{
	FILE *file = fopen(options.cache, "r");
	size_t size = 0, lines = 0;
	struct stat st;

	if (file == NULL || fstat(fileno(file), &st) == -1)
		err(1, "%s", options.cache);
	cache.text = calloc(1, (size_t)st.st_size + 4096);
	size = fread(cache.text, 1, (size_t)st.st_size, file);
	fclose(file);
	for (const char *at = cache.text;
	     (at = memchr(at, '\n', (size_t)(cache.text + size - at))) != NULL;
	     at++)
		lines++;
	for (cache.mask = 16; cache.mask < 2 * lines; cache.mask *= 2)
		continue;
	cache.slots = calloc(cache.mask--, sizeof(*cache.slots));
	for (char *at = cache.text, *end; at < cache.text + size;
	     at = end + 1) {
		end = memchr(at, '\n', (size_t)(cache.text + size - at));
		*slot(at, (size_t)(end - at)) = (uint32_t)(at - cache.text) + 1;
	}
}

static void
poll_ids(void)
{
	const char *text, *id;
	size_t n;

	load_cache();
	say("UIDL\r\n", 6);
	expect_ok();
	while (text = line(&n), text[0] != '.') {
		id = memchr(text, ' ', n);
		if (id == NULL ||
		    *slot(id + 1, n - (size_t)(id + 1 - text) - 2) == 0)
			errx(1, "unknown: %.*s", (int)n, text);
	}
}

static void
log_in(unsigned int account)
{
	char text[128];

	expect_ok();
	say(text,
	    (size_t)snprintf(text, sizeof(text),
		"USER user%u\r\nPASS secret\r\nSTAT\r\n", account));
	expect_ok();
	expect_ok();
}

static void
session(unsigned int account, const char *number)
{
	unsigned long n;

	open_sink(number);
	dial();
	log_in(account);
	n = strtoul(expect_ok() + 3, NULL, 10);
	if (options.cache != NULL)
		poll_ids();
	else
		retrieve(n);
	say("QUIT\r\n", 6);
	expect_ok();
}

static int
sessions(unsigned int n)
{
	int status, failed = 0;
	char number[16];

	for (unsigned int i = 1; i <= n; i++) {
		snprintf(number, sizeof(number), "%u", i);
		if (fork() == 0) {
			session(i, number);
			_exit(0);
		}
	}
	while (wait(&status) > 0)
		failed |= status != 0;
	return failed;
}

int
main(int argc, char **argv)
{
	unsigned int accounts = 1;
	int option;

	while ((option = getopt(argc, argv, "td:a:m:b:xu:")) != -1) {
		switch (option) {
		case 't':
			options.tls = true;
			break;
		case 'd':
			options.depth = strtoul(optarg, NULL, 10);
			break;
		case 'a':
			accounts = (unsigned int)strtoul(optarg, NULL, 10);
			break;
		case 'm':
			options.maildir = optarg;
			break;
		case 'b':
			options.mbox = optarg;
			break;
		case 'x':
			options.delete = true;
			break;
		case 'u':
			options.cache = optarg;
			break;
		default:
			return 64;
		}
	}
	if (optind + 1 != argc)
		return 64;
	options.port = (in_port_t)strtoul(argv[optind], NULL, 10);
	if (accounts > 1)
		return sessions(accounts);
	session(1, "");
	return 0;
}
