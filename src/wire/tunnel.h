/* SPDX-License-Identifier: ISC */
/* A command that is the way to the server. */
#ifndef WIRE_TUNNEL_H
#define WIRE_TUNNEL_H

#include "base/err.h"

struct tunnel;

/*
 * Start command with sh(1), in a session of its own, without the terminal.
 * *fd becomes our end of its standard input and output, non-blocking and
 * close-on-exec; the caller closes it before tunnel_close.  What it says on
 * its standard error is kept.  NULL if it cannot be started.
 */
struct tunnel *tunnel_open(const char *command, int *fd, struct err *err);

/*
 * After a failure of what went through it: if the command has ended, or said
 * something, add that to the text.  One that was not found is ERR_CONFIG.
 */
void tunnel_explain(struct tunnel *tunnel, struct err *err);

/*
 * The command has a second to end by itself, and another one after SIGTERM;
 * then it is killed.  It is always reaped.  NULL is nothing.
 */
void tunnel_close(struct tunnel *tunnel);

#endif
