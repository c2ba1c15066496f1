/* SPDX-License-Identifier: ISC */
/*
 * A buffered connection with deadlines, plain or TLS.  What is queued for
 * sending leaves whenever the connection waits for input, so that a full
 * window of commands and a full window of replies can never block each other.
 */
#ifndef WIRE_CONN_H
#define WIRE_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "wire/tls.h"

#define CONN_LINE_MAX 65536 /* octets of a line without its line end */

struct conn;

/* Takes the descriptor over.  end is the clock (wait_clock) at which the
 * whole session must be over; timeout is in milliseconds. */
struct conn *conn_open(int fd, int64_t timeout, int64_t end);

/* Close at once, dropping what is queued; NULL is nothing to do. */
void conn_close(struct conn *conn);

/* Handshake; bytes that arrived before it are ERR_PROTOCOL (an attack).
 * Nothing may be queued. */
int conn_start_tls(
    struct conn *conn, const struct tls_params *params, struct err *err);

/* The TLS session, or NULL: for descriptions. */
const struct tls *conn_tls(const struct conn *conn);

/*
 * Begin a new deadline: one timeout from now.  With span > 0 it is renewed
 * each time so many octets have come in; with 0 it stands until the next call.
 */
void conn_expect(struct conn *conn, size_t span);

/* Append n bytes to what is queued. */
void conn_send(struct conn *conn, const void *data, size_t n);

/* Send as much of it as goes without waiting; failures show later. */
void conn_push(struct conn *conn);

/*
 * The next line without its CRLF (or bare LF), not terminated by NUL, valid
 * until the next call.  Over CONN_LINE_MAX is ERR_PROTOCOL, no progress
 * before the deadline or a lost connection ERR_TEMPFAIL.
 */
int conn_line(struct conn *conn, const char **line, size_t *n, struct err *err);

/*
 * At least one received byte: all that the buffer holds, writable in place,
 * valid until the next call.  conn_consume says how much of it was used; the
 * rest comes again.
 */
int conn_chunk(struct conn *conn, char **data, size_t *n, struct err *err);
void conn_consume(struct conn *conn, size_t n);

/* Has anything arrived that was not consumed?  Never waits. */
bool conn_has_input(struct conn *conn);

/* Shorten all waits: the session must be over so many milliseconds from now. */
void conn_limit(struct conn *conn, int64_t milliseconds);

#endif
