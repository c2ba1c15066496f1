/* SPDX-License-Identifier: ISC */
/*
 * Many files made durable together.  The flushes of a disk's cache that are
 * asked for at the same time are one, so several threads ask; they live inside
 * of the call only.
 */
#ifndef BASE_FLUSH_H
#define BASE_FLUSH_H

#include <stddef.h>

/*
 * fdatasync(2) each of n descriptors once, in any order.  Returns 0 when all
 * are durable; else -1 with errno and the index in fds of one that failed, and
 * some of the others may not have been tried.  Where the system gives no
 * threads, one flush follows the other.
 */
int flush_files(const int *fds, size_t n, size_t *failed);

#endif
