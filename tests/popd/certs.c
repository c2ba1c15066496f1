/* SPDX-License-Identifier: ISC */
/* A certificate authority for tests, and what it and others have signed. */
#include <sys/stat.h>

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

#include "certs.h"

enum {
	DAY = 24 * 60 * 60
};

/* A certificate and its key. */
struct pair {
	gnutls_x509_crt_t cert;
	gnutls_x509_privkey_t key;
};

struct request {
	const char *file;	  /* without .pem or .key */
	const char *name;	  /* common name, and host name */
	const char *addresses[2]; /* or NULL */
	int from, to;		  /* days from now */
	bool self_signed;
};

static const struct request requests[] = {
    {"server", "localhost", {"\177\0\0\1", "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1"},
	-1, 3650, false},
    {"expired", "localhost", {"\177\0\0\1", NULL}, -730, -365, false},
    {"wronghost", "elsewhere.example.org", {NULL, NULL}, -1, 3650, false},
    {"selfsigned", "localhost", {"\177\0\0\1", NULL}, -1, 3650, true},
};

/* Each call here can only fail for want of memory or of the algorithm. */
static void
must(int r)
{
	if (r < 0)
		errx(1, "certificate: %s", gnutls_strerror(r));
}

static gnutls_x509_privkey_t
new_key(void)
{
	gnutls_x509_privkey_t key;

	must(gnutls_x509_privkey_init(&key));
	must(gnutls_x509_privkey_generate(key, GNUTLS_PK_ECDSA,
	    GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0));
	return key;
}

static void
set_serial(gnutls_x509_crt_t cert)
{
	unsigned char serial[16];

	arc4random_buf(serial, sizeof(serial));
	serial[0] &= 0x3f;
	serial[0] |= 0x40;
	must(gnutls_x509_crt_set_serial(cert, serial, sizeof(serial)));
}

static void
set_key_ids(gnutls_x509_crt_t cert, gnutls_x509_crt_t issuer)
{
	unsigned char id[64];
	size_t size = sizeof(id);

	must(gnutls_x509_crt_get_key_id(cert, 0, id, &size));
	must(gnutls_x509_crt_set_subject_key_id(cert, id, size));
	size = sizeof(id);
	must(gnutls_x509_crt_get_key_id(issuer, 0, id, &size));
	must(gnutls_x509_crt_set_authority_key_id(cert, id, size));
}

/* What a certificate of the authority and one of a server have in common. */
static struct pair
new_pair(const char *name, int from, int to)
{
	struct pair p = {.key = new_key()};
	time_t now = time(NULL);

	must(gnutls_x509_crt_init(&p.cert));
	must(gnutls_x509_crt_set_version(p.cert, 3));
	must(gnutls_x509_crt_set_key(p.cert, p.key));
	set_serial(p.cert);
	must(gnutls_x509_crt_set_activation_time(
	    p.cert, now + (time_t)from * DAY));
	must(gnutls_x509_crt_set_expiration_time(
	    p.cert, now + (time_t)to * DAY));
	must(gnutls_x509_crt_set_dn_by_oid(p.cert, GNUTLS_OID_X520_COMMON_NAME,
	    0, name, (unsigned int)strlen(name)));
	return p;
}

static void
sign(struct pair *p, struct pair *issuer)
{
	set_key_ids(p->cert, issuer->cert);
	must(gnutls_x509_crt_sign2(
	    p->cert, issuer->cert, issuer->key, GNUTLS_DIG_SHA256, 0));
}

static struct pair
new_authority(void)
{
	struct pair ca = new_pair("popd test authority", -1000, 3650);

	must(gnutls_x509_crt_set_basic_constraints(ca.cert, 1, -1));
	must(gnutls_x509_crt_set_key_usage(
	    ca.cert, GNUTLS_KEY_KEY_CERT_SIGN | GNUTLS_KEY_CRL_SIGN));
	sign(&ca, &ca);
	return ca;
}

static void
set_names(gnutls_x509_crt_t cert, const struct request *r)
{
	static const unsigned int sizes[] = {4, 16};

	must(gnutls_x509_crt_set_subject_alt_name(cert, GNUTLS_SAN_DNSNAME,
	    r->name, (unsigned int)strlen(r->name), GNUTLS_FSAN_SET));
	for (int i = 0; i < 2; i++)
		if (r->addresses[i] != NULL)
			must(gnutls_x509_crt_set_subject_alt_name(cert,
			    GNUTLS_SAN_IPADDRESS, r->addresses[i], sizes[i],
			    GNUTLS_FSAN_APPEND));
}

static struct pair
new_server(const struct request *r, struct pair *ca)
{
	struct pair p = new_pair(r->name, r->from, r->to);

	set_names(p.cert, r);
	must(gnutls_x509_crt_set_basic_constraints(p.cert, 0, -1));
	must(gnutls_x509_crt_set_key_usage(
	    p.cert, GNUTLS_KEY_DIGITAL_SIGNATURE));
	must(gnutls_x509_crt_set_key_purpose_oid(
	    p.cert, GNUTLS_KP_TLS_WWW_SERVER, 0));
	sign(&p, r->self_signed ? &p : ca);
	return p;
}

static void
write_file(
    const char *dir, const char *name, const char *ending, gnutls_datum_t pem)
{
	char *path;
	FILE *f;
	int fd;

	if (asprintf(&path, "%s/%s%s", dir, name, ending) == -1)
		err(1, "memory");
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd == -1 || (f = fdopen(fd, "w")) == NULL)
		err(1, "%s", path);
	fwrite(pem.data, 1, pem.size, f);
	if (fclose(f) != 0)
		err(1, "%s", path);
	gnutls_free(pem.data);
	free(path);
}

static void
write_cert(const char *dir, const char *name, const struct pair *p)
{
	gnutls_datum_t pem;

	must(gnutls_x509_crt_export2(p->cert, GNUTLS_X509_FMT_PEM, &pem));
	write_file(dir, name, ".pem", pem);
}

static void
write_key(const char *dir, const char *name, const struct pair *p)
{
	gnutls_datum_t pem;

	must(gnutls_x509_privkey_export2_pkcs8(
	    p->key, GNUTLS_X509_FMT_PEM, NULL, GNUTLS_PKCS_PLAIN, &pem));
	write_file(dir, name, ".key", pem);
}

static void
free_pair(struct pair *p)
{
	gnutls_x509_crt_deinit(p->cert);
	gnutls_x509_privkey_deinit(p->key);
}

void
certs_write(const char *dir)
{
	struct pair ca, p;

	if (mkdir(dir, 0700) == -1 && errno != EEXIST)
		err(1, "%s", dir);
	ca = new_authority();
	write_cert(dir, "ca", &ca);
	for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
		p = new_server(&requests[i], &ca);
		write_cert(dir, requests[i].file, &p);
		write_key(dir, requests[i].file, &p);
		free_pair(&p);
	}
	free_pair(&ca);
}
