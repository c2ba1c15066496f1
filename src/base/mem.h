/* SPDX-License-Identifier: ISC */
/*
 * Memory that is always there.  The program may die at any instruction
 * without harm to the mail, so running out of memory is one of these deaths:
 * a line on standard error, exit code 71.  None of these returns NULL.
 */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include <stddef.h>

/* The caller frees all of them with free(3). */
void *mem_alloc(size_t size);
void *mem_zero(size_t count, size_t size);
void *mem_grow(void *old, size_t count, size_t size);
/* An array that held n items, with room for one more: grows when n is a power
 * of two, so that the array needs no note of its capacity. */
void *mem_room(void *array, size_t n, size_t size);

char *mem_dup(const char *string);
char *mem_printf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* No core, and nothing for other processes of the user to look into: of this
 * one and of those that it forks. */
void mem_keep_private(void);

/* Wipe and free a secret; NULL is nothing to do. */
void mem_free_secret(char *secret);

/* Wipe what calls that have returned left on the stack, below the frame of the
 * caller: their copies of a secret, and registers that were saved. */
void mem_wipe_stack(void);

#endif
