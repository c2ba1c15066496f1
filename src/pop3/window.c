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
	    .trip = WINDOW_TIME,
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
window_sent(struct window *window, size_t before, size_t sent,
    uint64_t in_flight, int64_t now)
{
	if (before == 0) {
		window->is_idle = true;
		window->asked = now;
	}
	if (window->timed > 0)
		return;
	window->timed = in_flight;
	window->brought = 0;
	window->awaited = sent;
	window->since = now;
}

void
window_replied(struct window *window, int64_t now)
{
	/* Behind other replies it would be longer. */
	if (window->is_idle && now - window->asked < window->trip)
		window->trip = now - window->asked;
	window->is_idle = false;
	if (window->timed > 0)
		window->awaited--;
}

void
window_brought(struct window *window, uint64_t octets)
{
	window->brought += octets;
}

/* What so many octets in so many milliseconds promise. */
static uint64_t
fit(const struct window *window, uint64_t octets, int64_t milliseconds)
{
	uint64_t per = milliseconds > 0 ? (uint64_t)milliseconds : 1;
	uint64_t time = WINDOW_TRIPS * (uint64_t)window->trip;

	if (time > WINDOW_TIME)
		time = WINDOW_TIME;
	return octets / per < UINT64_MAX / WINDOW_TIME
	    ? octets / per * time + octets % per * time / per
	    : UINT64_MAX;
}

void
window_arrived(struct window *window, int64_t now)
{
	uint64_t octets;

	if (window->timed == 0 || window->awaited > 0)
		return;
	octets =
	    window->brought < window->timed ? window->brought : window->timed;
	octets = fit(window, octets, now - window->since);
	window->timed = 0;
	if (octets < window->least)
		octets = window->least;
	window->octets = octets < window->most ? octets : window->most;
}
