/* SPDX-License-Identifier: ISC */
#include "wire/clientcert.h"

#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include <gnutls/gnutls.h>
#include <gnutls/pkcs11.h>

#include "base/text.h"

#define PATH_SHOWN_MAX 256

/* Nobody may be there to be asked; the library reads pin-source itself. */
static int
have_no_pin(void *context, int attempt, const char *url, const char *label,
    unsigned int flags, char *pin, size_t size)
{
	(void)context;
	(void)attempt;
	(void)url;
	(void)label;
	(void)flags;
	(void)pin;
	(void)size;
	return GNUTLS_E_PKCS11_PIN_ERROR;
}

static const char *
shown(char dst[PATH_SHOWN_MAX], const char *file)
{
	return text_escape(dst, PATH_SHOWN_MAX, file, strlen(file));
}

/* Which of the two is it that is not there? */
static bool
is_unreadable(const char *file)
{
	return strncmp(file, "pkcs11:", 7) != 0 && access(file, R_OK) == -1;
}

static int
explain(const struct tls_params *params, int r, struct err *err)
{
	char cert[PATH_SHOWN_MAX], key[PATH_SHOWN_MAX];

	shown(cert, params->cert_file);
	shown(key, params->key_file);
	if (is_unreadable(params->cert_file))
		return err_set_errno(err, ERR_CONFIG, "tls_cert_file %s", cert);
	if (is_unreadable(params->key_file))
		return err_set_errno(err, ERR_CONFIG, "tls_key_file %s", key);
	switch (r) {
	case GNUTLS_E_CERTIFICATE_KEY_MISMATCH:
		return err_set(err, ERR_CONFIG,
		    "tls_cert_file %s and tls_key_file %s do not belong "
		    "together",
		    cert, key);
	case GNUTLS_E_DECRYPTION_FAILED:
		err_set(err, ERR_CONFIG,
		    "tls_key_file %s is encrypted, and nobody is there to be "
		    "asked",
		    key);
		return err_hint(err,
		    "openssl pkey -in %s -out FILE writes it without", key);
	case GNUTLS_E_PKCS11_PIN_ERROR:
	case GNUTLS_E_PKCS11_USER_ERROR:
	case GNUTLS_E_PKCS11_PIN_EXPIRED:
	case GNUTLS_E_PKCS11_PIN_LOCKED:
		err_set(err, ERR_CONFIG, "tls_key_file %s: %s", key,
		    gnutls_strerror(r));
		return err_hint(err,
		    "the PIN comes from a file: ?pin-source=FILE at the end of "
		    "the URI");
	default:
		return err_set(err, ERR_CONFIG,
		    "tls_cert_file %s, tls_key_file %s: %s", cert, key,
		    gnutls_strerror(r));
	}
}

int
clientcert_load(struct gnutls_certificate_credentials_st *credentials,
    const struct tls_params *params, struct err *err)
{
	int r;

	if (params->cert_file == NULL)
		return 0;
	gnutls_certificate_set_pin_function(credentials, have_no_pin, NULL);
	r = gnutls_certificate_set_x509_key_file2(credentials,
	    params->cert_file, params->key_file, GNUTLS_X509_FMT_PEM, NULL, 0);
	return r >= 0 ? 0 : explain(params, r, err);
}
