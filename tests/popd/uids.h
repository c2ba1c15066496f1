/* SPDX-License-Identifier: ISC */
/* The file .uids of a mailbox directory: "NAME UID" lines, UID with %NN. */
#ifndef POPD_UIDS_H
#define POPD_UIDS_H

#include <stddef.h>

struct uids;

/* Reads it as it is now; a missing file is an empty one. Dies of errors. */
struct uids *uids_load(int dir);
void uids_free(struct uids *u);

/* The unique-id of a file, to be freed: its own name if not listed. */
char *uids_find(const struct uids *u, const char *name, size_t *len);

#endif
