/* SPDX-License-Identifier: ISC */
/* A mailbox to show: a dozen messages, each odd in its own way. */
#ifndef POPD_DEMO_H
#define POPD_DEMO_H

/* Writes them into a directory, made if missing; dies on failure. */
void demo_write(const char *dir);

#endif
