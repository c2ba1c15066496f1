/* SPDX-License-Identifier: ISC */
/* Messages made up in memory, all of one size: for measuring. */
#ifndef POPD_SYNTHETIC_H
#define POPD_SYNTHETIC_H

#include <stddef.h>
#include <stdint.h>

#include "body.h"
#include "stream.h"

enum {
	SYNTHETIC_LEAST = 256
}; /* octets of the smallest message */

struct synthetic;

/* Dies if the size is too small. The text depends on the size only. */
struct synthetic *synthetic_new(int64_t size);

void synthetic_free(struct synthetic *s);

/* Message number index, with dots doubled, without the terminator. */
void synthetic_send(
    const struct synthetic *s, size_t index, struct stream *stream);

/* The same as it is, for TOP. */
void synthetic_send_body(
    const struct synthetic *s, size_t index, struct body *b);

void synthetic_put_uid(size_t index, struct stream *stream);

#endif
