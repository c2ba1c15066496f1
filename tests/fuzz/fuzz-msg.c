/* SPDX-License-Identifier: ISC */
/* The glance at a header: any bytes, cut anywhere, must give the same. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "mail/msg.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_sender(const char *sender)
{
	size_t n = strlen(sender);

	if (n >= MSG_SENDER_MAX)
		abort();
	for (size_t i = 0; i < n; i++)
		if (sender[i] <= ' ' || sender[i] > '~')
			abort();
}

/* The first byte says how long the pieces are. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct msg *msg = msg_new();
	const char *text = (const char *)data + 1;
	size_t n = size > 0 ? size - 1 : 0;
	size_t piece = size > 0 ? (size_t)data[0] % 70 + 1 : 1;
	char sender[MSG_SENDER_MAX];
	uint64_t hash;

	if (n > 0)
		msg_feed(msg, text, n);
	hash = msg_header_hash(msg);
	check_sender(msg_sender(msg));
	strcpy(sender, msg_sender(msg));
	msg_begin(msg);
	for (size_t at = 0; at < n; at += piece)
		msg_feed(msg, text + at, n - at < piece ? n - at : piece);
	if (hash == 0 || msg_header_hash(msg) != hash || msg_size(msg) != n ||
	    strcmp(sender, msg_sender(msg)) != 0)
		abort();
	msg_free(msg);
	return 0;
}
