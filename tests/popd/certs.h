/* SPDX-License-Identifier: ISC */
/* A certificate authority for tests, and what it and others have signed. */
#ifndef POPD_CERTS_H
#define POPD_CERTS_H

/* Writes the PEM files that README lists into a directory; dies on failure. */
void certs_write(const char *dir);

#endif
