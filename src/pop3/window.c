/* SPDX-License-Identifier: ISC */
#include "pop3/window.h"

void
window_set(
    struct window *window, size_t commands, uint64_t least, uint64_t most)
{
	*window = (struct window){
	    .commands = commands > 0 ? commands : 1,
	    .octets = least,
	    .least = least,
	    .most = most,
	};
}

bool
window_is_open(const struct window *window, size_t sent, uint64_t in_flight)
{
	return sent <= window->commands / 2 && in_flight <= window->octets / 2;
}

/* The sums cannot overflow: with two in flight all fits into the window. */
bool
window_has_room(const struct window *window, size_t sent, uint64_t in_flight,
    uint64_t octets)
{
	return sent == 0 ||
	    (sent < window->commands && in_flight <= window->octets &&
		octets <= window->octets - in_flight);
}

void
window_sent(struct window *window, size_t sent, uint64_t in_flight, int64_t now)
{
	if (window->timed > 0)
		return;
	window->timed = in_flight;
	window->awaited = sent;
	window->since = now;
}

void
window_replied(struct window *window)
{
	if (window->timed > 0)
		window->awaited--;
}

/* A listed size without sense must not overflow. */
static uint64_t
brought_in_time(uint64_t octets, int64_t milliseconds)
{
	uint64_t per = milliseconds > 0 ? (uint64_t)milliseconds : 1;

	return octets / per < UINT64_MAX / WINDOW_TIME
	    ? octets / per * WINDOW_TIME + octets % per * WINDOW_TIME / per
	    : UINT64_MAX;
}

void
window_arrived(struct window *window, int64_t now)
{
	uint64_t octets;

	if (window->timed == 0 || window->awaited > 0)
		return;
	octets = brought_in_time(window->timed, now - window->since);
	window->timed = 0;
	if (octets < window->least)
		octets = window->least;
	window->octets = octets < window->most ? octets : window->most;
}
