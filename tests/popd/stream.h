/* SPDX-License-Identifier: ISC */
/* One connection: lines in, buffered octets out, and its planned faults. */
#ifndef POPD_STREAM_H
#define POPD_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "tls.h"

/* How the sending side ends. */
enum ending {
	END_SOFT,  /* close_notify under TLS, then FIN */
	END_HARD,  /* plain: RST; under TLS: FIN without close_notify */
	END_FIN,   /* FIN, never close_notify */
	END_RESET, /* RST */
};

/* What is odd about the sending; times in ms, sizes in octets. */
struct shape {
	int64_t cut_after;   /* close after so many octets; -1 is never */
	int64_t stall_after; /* send no more after so many; -1 is never */
	enum ending cut_how;
	int64_t rate;	  /* octets a second; 0 is unlimited */
	int64_t drip;	  /* ms between single octets */
	int64_t latency;  /* ms from reading a line to seeing it */
	int64_t chunk;	  /* octets in a write at most; 0 is unlimited */
	int64_t patience; /* ms for the peer to take something; 0: for ever */
};

enum line_result {
	LINE_OK,
	LINE_EOF,
	LINE_TIMEOUT,
	LINE_TOO_LONG
};

struct stream;

/* Takes descriptors that do not block; in and out may be the same. */
struct stream *stream_new(int in, int out, const struct shape *shape);

/* Ends softly if nobody has ended it yet, closes, frees. */
void stream_free(struct stream *s);

/* The live settings; cut and stall count from stream_arm on. */
struct shape *stream_shape(struct stream *s);
void stream_arm(struct stream *s, bool armed);

/* Adds to what goes out with the next flush. */
void stream_put(struct stream *s, const void *data, size_t len);
void stream_puts(struct stream *s, const char *text);
void stream_put_number(struct stream *s, int64_t number);

/* Sends everything; false when the connection is no more. */
bool stream_flush(struct stream *s);

/*
 * Flushes and reads a line of fewer than size octets, without its LF, with a
 * NUL added; wait in ms, -1 is for ever.
 */
enum line_result stream_line(
    struct stream *s, char *line, size_t size, size_t *len, int64_t wait);

/* The same for exactly n octets, whatever they are. */
enum line_result stream_octets(
    struct stream *s, char *octets, size_t n, int64_t wait);

/* Flushes, then lets so many ms pass; input is taken in meanwhile. */
void stream_pause(struct stream *s, int64_t ms);

/* Input that no line was made of yet, up to LEN octets of it. */
size_t stream_unread(struct stream *s, const char **data);
void stream_discard(struct stream *s);

/* The peer has closed or reset the connection, as far as was read. */
bool stream_at_eof(const struct stream *s);

/* Nothing can be sent any more. */
bool stream_ended(const struct stream *s);

/* Waits, reading nothing, until the peer is gone; false: it still is there. */
bool stream_await_hangup(struct stream *s, int64_t wait);

/* Discards input until the peer closes; false: it has not in so many ms. */
bool stream_drain(struct stream *s, int64_t wait);

/* Becomes a TLS server now; false and a reason on failure. */
bool stream_start_tls(struct stream *s, struct tls_server *server, int64_t wait,
    const char **why);
const char *stream_tls_version(const struct stream *s); /* NULL without */

/* As tls_binding; 0 without TLS. */
size_t stream_tls_binding(
    const struct stream *s, void *data, size_t size, bool *exporter);

/* Sends close_notify alone. */
void stream_close_notify(struct stream *s);

/* Ends the connection this way; what is put later vanishes. */
void stream_end(struct stream *s, enum ending how);

#endif
