/* SPDX-License-Identifier: ISC */
/*
 * Checksums that tell what a crash has left from what was to be there.  Who
 * does not know the seed cannot make another text of the same sum; who does,
 * can.
 */
#ifndef BASE_CHECKSUM_H
#define BASE_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

/* One in the making. */
struct checksum;
struct checksum *checksum_new(uint64_t seed);
void checksum_update(struct checksum *checksum, const void *data, size_t n);

/* Of what came since the last one was taken. */
uint64_t checksum_take(struct checksum *checksum);
void checksum_free(struct checksum *checksum);

#endif
