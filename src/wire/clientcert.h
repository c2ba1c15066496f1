/* SPDX-License-Identifier: ISC */
/* The certificate that we show a server.  For trust.c alone. */
#ifndef WIRE_CLIENTCERT_H
#define WIRE_CLIENTCERT_H

#include "base/err.h"
#include "wire/tls.h"

/* what a gnutls_certificate_credentials_t points to */
struct gnutls_certificate_credentials_st;

/*
 * Load params' cert_file and key_file, if there are any.  ERR_CONFIG when
 * they cannot be read, do not belong together, or want a PIN.
 */
int clientcert_load(struct gnutls_certificate_credentials_st *credentials,
    const struct tls_params *params, struct err *err);

#endif
