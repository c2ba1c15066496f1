/* SPDX-License-Identifier: ISC */
/*
 * Many files made durable together.  The flushes of a disk's cache that are
 * asked for at the same time are one, so several threads ask, while the caller
 * does other things.
 */
#ifndef BASE_FLUSH_H
#define BASE_FLUSH_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Begin to fdatasync(2) each of n descriptors once, in any order; they must
 * stay open until flush_end.  Without helpers, or where the system gives none,
 * flush_end does it all.
 */
struct flush;
struct flush *flush_begin(const int *fds, size_t n, bool helpers);

/*
 * Wait until all are durable, helping, and free it.  Returns 0; or -1 with
 * errno and the index in fds of one that failed, and some of the others may
 * not have been tried.
 */
int flush_end(struct flush *flush, size_t *failed);

#endif
