/* SPDX-License-Identifier: ISC */
/*
 * What has become of a batch for an mbox.  Recorded are, of each message,
 * "LENGTH CHECKSUM HEAD", the last one a checksum of its From_ line, and of the
 * batch "INODE OLDLENGTH+LEAD OLDEND SEED TOKEN PATH": the file, its length and
 * a hash of its end, the line ends added to that, the seed of the checksums,
 * and the dotlock.  They tell a later run what of it has arrived.
 */
#ifndef MAIL_MBOXRECOVERY_H
#define MAIL_MBOXRECOVERY_H

#include "base/checksum.h"
#include "mail/backend.h"

#define MBOX_SEPARATOR "From "
#define MBOX_PATIENCE 60000 /* milliseconds for others to unlock */
#define MBOX_SUM_LEN 16

/* The rest of a message is summed up before its From_ line of n bytes, whose
 * sender is known last. */
uint64_t mbox_take_sum(struct checksum *sum, const char *head, size_t n);

/* The end of a file as it was, length bytes long, tells it from one that took
 * over its inode.  -1 with errno. */
int mbox_hash_end(int fd, uint64_t length, char hex[MBOX_SUM_LEN + 1]);

/* Of the back end. */
int mbox_recover(const char *where, struct deliver_recovery *items, size_t n,
    struct deliver_lock **lock, struct err *err);
void mbox_recovery_release(struct deliver_lock *lock);
void mbox_tidy(const char *where);

#endif
