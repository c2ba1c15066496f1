/* SPDX-License-Identifier: ISC */
/* The filter, cut into chunks as the input says, against a naive one. */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "pop3/unstuff.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool
at(const struct buf *wire, size_t i, const char *what)
{
	size_t n = strlen(what);

	return wire->len - i >= n && memcmp(wire->data + i, what, n) == 0;
}

/* RFC 1939 word by word on a body that ends; returns where it does. */
static size_t
reference(const struct buf *wire, struct buf *out, uint64_t *octets)
{
	size_t i = 0;

	*octets = 0;
	while (!at(wire, i, ".\r\n")) {
		if (wire->data[i] == '.')
			i++;
		for (; !at(wire, i, "\r\n"); i++, ++*octets)
			buf_append(out, wire->data + i, 1);
		buf_puts(out, "\n");
		*octets += 2;
		i += 2;
	}
	return i + 3;
}

/* Returns how much of the chunk was used. */
static size_t
feed(struct unstuff *u, const char *data, size_t n, struct buf *result)
{
	char *chunk = malloc(n);
	size_t used = 0, step, produced;
	const char *out;

	if (chunk == NULL)
		abort();
	memcpy(chunk, data, n);
	while (used < n && u->state != UNSTUFF_DONE) {
		step = unstuff(u, chunk + used, n - used, &out, &produced);
		if (step == 0 && produced == 0)
			abort();
		buf_append(result, out, produced);
		used += step;
	}
	free(chunk);
	return used;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf wire = {0}, expected = {0}, result = {0};
	size_t cuts = size > 0 ? data[0] % 16 : 0, used = 0, end;
	struct unstuff u;
	uint64_t octets;

	if (size < 1 + cuts)
		return 0;
	buf_append(&wire, data + 1 + cuts, size - 1 - cuts);
	buf_puts(&wire, "\r\n.\r\n");
	end = reference(&wire, &expected, &octets);
	unstuff_init(&u);
	for (size_t i = 0; used < wire.len && u.state != UNSTUFF_DONE; i++) {
		/* Sizes in turn; none is all at once. */
		size_t n = cuts > 0 ? data[1 + i % cuts] + 1U : wire.len;

		if (n > wire.len - used)
			n = wire.len - used;
		used += feed(&u, wire.data + used, n, &result);
	}
	if (u.state != UNSTUFF_DONE || used != end || u.octets != octets ||
	    result.len != expected.len ||
	    (result.len > 0 &&
		memcmp(result.data, expected.data, result.len) != 0))
		abort();
	buf_free(&wire);
	buf_free(&expected);
	buf_free(&result);
	return 0;
}
