/* SPDX-License-Identifier: ISC */
#include "base/checksum.h"

#include <stdlib.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/mem.h"

/* The state wants more than malloc's alignment. */
struct checksum {
	uint64_t seed;
	XXH3_state_t *state;
};

struct checksum *
checksum_new(uint64_t seed)
{
	struct checksum *checksum = mem_alloc(sizeof(*checksum));

	checksum->state = XXH3_createState();
	if (checksum->state == NULL)
		abort();
	checksum->seed = seed;
	XXH3_64bits_reset_withSeed(checksum->state, seed);
	return checksum;
}

void
checksum_update(struct checksum *checksum, const void *data, size_t n)
{
	XXH3_64bits_update(checksum->state, data, n);
}

uint64_t
checksum_take(struct checksum *checksum)
{
	uint64_t sum = XXH3_64bits_digest(checksum->state);

	XXH3_64bits_reset_withSeed(checksum->state, checksum->seed);
	return sum;
}

void
checksum_free(struct checksum *checksum)
{
	if (checksum == NULL)
		return;
	XXH3_freeState(checksum->state);
	free(checksum);
}
