/* SPDX-License-Identifier: ISC */
/* The record of all conversations: a line an event, one write each. */
#ifndef POPD_LOG_H
#define POPD_LOG_H

#include <stddef.h>

/* NULL: nothing is recorded. Dies when the file cannot be opened. */
void log_open(const char *path);

/* "CONNECTION EVENT", as "3 connect". */
void log_event(int connection, const char *event);

/* "CONNECTION C: LINE", escaped as in a script. */
void log_line(int connection, const char *line, size_t len);

#endif
