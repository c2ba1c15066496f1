/* SPDX-License-Identifier: ISC */
/* A SOCKS proxy that says these bytes and hangs up. */
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/wait.h"
#include "wire/socks.h"

#define PROXY_MAX 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What it leaves behind a reply must be what came behind it: an answer has
 * at most 2 + 2 + 4 + 1 + 255 + 2 octets. */
#define ANSWER_MAX 266

static void
check_rest(int fd, const uint8_t *data, size_t size)
{
	uint8_t rest[PROXY_MAX];
	ssize_t n = recv(fd, rest, sizeof(rest), MSG_DONTWAIT);

	if (n < 0 || (size_t)n + ANSWER_MAX < size ||
	    memcmp(rest, data + size - (size_t)n, (size_t)n) != 0)
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct socks_params params = {.host = "pop.example.org", .port = 995};
	struct err err;
	int ends[2];

	if (size < 1 || size > PROXY_MAX ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == -1)
		return 0;
	if ((data[0] & 1) != 0) {
		params.user = "user";
		params.password = "password";
	}
	if ((data[0] & 2) != 0)
		params.host = "2001:db8::1";
	data++;
	size--;
	if (write(ends[1], data, size) == (ssize_t)size) {
		shutdown(ends[1], SHUT_WR);
		fcntl(ends[0], F_SETFL, O_NONBLOCK);
		if (socks_connect(
			ends[0], &params, wait_clock() + 1000, &err) == 0)
			check_rest(ends[0], data, size);
		else if (err.class == ERR_NONE || err.text[0] == '\0')
			abort();
	}
	close(ends[0]);
	close(ends[1]);
	return 0;
}
