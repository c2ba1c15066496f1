/* SPDX-License-Identifier: ISC */
/* The script mode: each connection plays its script. */
#ifndef POPD_PLAY_H
#define POPD_PLAY_H

#include <stdbool.h>

#include "options.h"

/* True if every script ran to its end; else why not is on standard error. */
bool play_run(const struct options *o);

#endif
