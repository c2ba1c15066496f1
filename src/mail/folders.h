/* SPDX-License-Identifier: ISC */
/*
 * The three directories of a Maildir, and our names in them, which say all
 * that recovery needs: SECONDS.MmicrosecondsPpidQcountUtag.HOST,S=size,
 * W=wire-size.  In tmp/, where the sizes are not known yet, one ends before
 * the first comma.  Who renames a message keeps that part.
 */
#ifndef MAIL_FOLDERS_H
#define MAIL_FOLDERS_H

#include "mail/deliver.h"

#define FOLDERS_HOST_MAX 100
#define FOLDERS_TAG_LEN 16

/* For deliver_params.delivered: it was, nobody knows when. */
#define FOLDERS_SOME_DAY 1

enum {
	FOLDER_TMP,
	FOLDER_NEW,
	FOLDER_CUR,
	N_FOLDERS
};

extern const char *const folders_names[N_FOLDERS];

/* An existing Maildir; all descriptors are of directories, -1 for none. */
struct folders {
	char *path; /* absolute */
	int root;
	int fds[N_FOLDERS];
};

/* What a name of ours says; the pointers lead into it. */
struct folders_name {
	uint64_t seconds;
	uint64_t pid;
	const char *tag;
	const char *host;
	size_t host_len;
	size_t base; /* length up to the sizes */
	bool has_sizes;
	uint64_t size;
	uint64_t wire;
};

/* The name of this host as it stands in names. */
void folders_host(char dst[FOLDERS_HOST_MAX]);

/* False for all that poplar did not name. */
bool folders_parse_name(const char *string, struct folders_name *name);

/*
 * Open the Maildir that params names, or make it as they allow; with look_only
 * descriptors stay -1 for what is not there.  ERR_CANTCREAT and the like, with
 * the cause, and then nothing is open.
 */
int folders_open(struct folders *folders, const struct deliver_params *params,
    struct err *err);
void folders_close(struct folders *folders);

/* Flush the directory fd, which is called name, "" for the root. */
int folders_sync(
    const struct folders *folders, int fd, const char *name, struct err *err);

/* Call visit for each name of ours in a folder.  ERR_IO. */
typedef void folders_visitor(
    void *context, const char *string, const struct folders_name *);
int folders_visit(const struct folders *folders, int folder,
    folders_visitor *visit, void *context, struct err *err);

#endif
