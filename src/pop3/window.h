/* SPDX-License-Identifier: ISC */
/*
 * How much may be in flight.  Too little, and a distant line stands idle until
 * the next commands reach the server; too much, and a slow one is not drained
 * in time when a run is stopped.  So the octets follow the line: as many as it
 * has shown to bring, from the commands to the end of their replies, in
 * WINDOW_TRIPS round trips, yet in WINDOW_TIME at most.  While only the
 * distance limits them, each such flight is a multiple of the one before.  A
 * server that is near needs no more than the least.
 */
#ifndef POP3_WINDOW_H
#define POP3_WINDOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WINDOW_TRIPS 8
#define WINDOW_TIME 500 /* milliseconds; windup.c drains for twice as long */

struct window {
	size_t commands; /* at most */
	uint64_t octets; /* of expected replies, now; from least to most */
	uint64_t least;
	uint64_t most;

	int64_t trip; /* the shortest round trip so far, in milliseconds */
	bool is_idle; /* but for what left at asked */
	int64_t asked;

	/* The flight that is timed. */
	uint64_t timed;	  /* octets expected of it; 0 if none is */
	uint64_t brought; /* of messages since; fewer than expected if these
			     are smaller than listed, or refused */
	size_t awaited;	  /* replies of it that have not begun */
	int64_t since;
};

/* One command always may be in flight; least is what to begin with. */
void window_set(
    struct window *window, size_t commands, uint64_t least, uint64_t most);

/* May commands leave, with so many in flight, octets of replies to them?  Only
 * when half of the window is free: many at a time, not one for each reply. */
bool window_is_open(
    const struct window *window, size_t sent, uint64_t in_flight);

/* And is there room for one more, whose reply brings so many octets? */
bool window_has_room(const struct window *window, size_t sent,
    uint64_t in_flight, uint64_t octets);

/* Commands have left; how many were in flight before, and what is now.  The
 * clock is in milliseconds. */
void window_sent(struct window *window, size_t before, size_t sent,
    uint64_t in_flight, int64_t now);

/* The reply to the oldest command in flight begins. */
void window_replied(struct window *window, int64_t now);

/* So many octets of a message are here. */
void window_brought(struct window *window, uint64_t octets);

/* The last reply that began is here whole. */
void window_arrived(struct window *window, int64_t now);

#endif
