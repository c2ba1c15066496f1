/* SPDX-License-Identifier: ISC */
/* Event records: what a worker taken over by a server could tell its parent. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "run/event.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf received = {0};
	struct event event = {.type = EVENT_LOG};

	buf_append(&received, data, size);
	while (event_take(&received, &event) == 1)
		if (strlen(event.text) >= sizeof(event.text) ||
		    strlen(event.err.text) >= sizeof(event.err.text) ||
		    strlen(event.err.hint) >= sizeof(event.err.hint))
			abort();
	buf_free(&received);
	return 0;
}
