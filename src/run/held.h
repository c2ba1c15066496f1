/* SPDX-License-Identifier: ISC */
/* A message that is received whole, until it is known to be. */
#ifndef RUN_HELD_H
#define RUN_HELD_H

#include "run/retrieval.h"

/* Hold the message with this index in the listing, which was received in so
 * many octets; it is dropped if its header shows that it is known. */
void held_take(struct retrieval *r, uint32_t index, uint64_t octets);

/* All is proven: the state learns the sizes of those that were known. */
void held_renew_known(struct retrieval *r);

/* Into the batch, as a status line stands behind it; nothing if none is held.
 * A fault of its own is reported.  -1 when the place failed. */
int held_stage(struct retrieval *r, struct err *err);

/* Let go of it.  It may be the end of a message that only looks like one
 * (held_distrust): then that is remembered. */
void held_drop(struct retrieval *r);
void held_distrust(struct retrieval *r);

/* Is it known to have another size than listed, and is that no habit? */
bool held_is_suspect(const struct retrieval *r);

#endif
