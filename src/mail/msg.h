/* SPDX-License-Identifier: ISC */
/* A glance at a message as it streams by: its header's hash, its sender. */
#ifndef MAIL_MSG_H
#define MAIL_MSG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MSG_SENDER_MAX 256

struct msg;

/* The caller frees it with msg_free; msg_begin makes it ready for another. */
struct msg *msg_new(void);
void msg_begin(struct msg *msg);
void msg_free(struct msg *msg);

/* Take the next bytes of the message, LF line ends.  Cheap once the header
 * has passed. */
void msg_feed(struct msg *msg, const char *data, size_t n);

/*
 * After the last byte.  The hash of the header: all fields as they stand but
 * those that servers rewrite (Status, X-Status, X-UID, X-UIDL, X-Keywords,
 * X-IMAP, X-IMAPbase, Content-Length, Lines), continuation lines with them.
 * A message cut off after the blank line that ends its header (TOP n 0) has
 * the same hash as the whole one.  Never 0.
 */
uint64_t msg_header_hash(struct msg *msg);

/* Has the header a Message-ID, which no two messages share (RFC 5322, section
 * 3.6.4)? */
bool msg_has_message_id(const struct msg *msg);

/* Bytes of the message fed since msg_begin. */
uint64_t msg_size(const struct msg *msg);

/*
 * The envelope sender: the address of Return-Path, else of From; printable
 * ASCII without blanks, "" for an empty Return-Path or if there is none that
 * can be read.  Valid until the next msg_begin.
 */
const char *msg_sender(const struct msg *msg);

#endif
