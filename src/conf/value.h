/* SPDX-License-Identifier: ISC */
/* The types of arguments that the keyword table is made of. */
#ifndef CONF_VALUE_H
#define CONF_VALUE_H

#include "conf/keyword.h"

extern const struct keyword_type value_switch;	/* enum conf_switch */
extern const struct keyword_type value_auth;	/* enum conf_auth */
extern const struct keyword_type value_order;	/* bool */
extern const struct keyword_type value_keep;	/* conf_keep and seconds */
extern const struct keyword_type value_seconds; /* uint64_t, 0 for off */
extern const struct keyword_type value_count;	/* uint64_t, 0 for off */
extern const struct keyword_type value_size;	/* uint64_t, CONF_SIZE_OFF */
extern const struct keyword_type value_limit;	/* the same, but not 0 */
extern const struct keyword_type value_text;	/* char *, NULL for empty */
extern const struct keyword_type value_words;	/* some of the choices */
extern const struct keyword_type value_secret;
extern const struct keyword_type value_descriptor; /* struct conf_descriptor */
extern const struct keyword_type value_host;
extern const struct keyword_type value_address; /* IPv4 or IPv6 */
extern const struct keyword_type value_port;
extern const struct keyword_type value_path; /* "~" is expanded */
extern const struct keyword_type value_key;  /* path or PKCS#11 URI */
extern const struct keyword_type value_trust;
extern const struct keyword_type value_fingerprints; /* struct conf_strings */
extern const struct keyword_type value_delivery;     /* struct conf_delivery */

#endif
