"""Object identifiers, dotted. Those of keys and signatures stand in `pkiconf.model.keys`, those of subject
attributes in `pkiconf.model.attributes`, those of usages in `pkiconf.model.usages`."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from cryptography import x509
from cryptography.hazmat import asn1

from pkiconf.der import tlv
from pkiconf.errors import Malformed

# Public keys (RFC 3279, RFC 5480)
RSA_ENCRYPTION: Final = "1.2.840.113549.1.1.1"
RSASSA_PSS: Final = "1.2.840.113549.1.1.10"
RSAES_OAEP: Final = "1.2.840.113549.1.1.7"
SHA1_WITH_RSA: Final = "1.2.840.113549.1.1.5"
MGF1: Final = "1.2.840.113549.1.1.8"
EC_PUBLIC_KEY: Final = "1.2.840.10045.2.1"
SECP256R1: Final = "1.2.840.10045.3.1.7"
SECP384R1: Final = "1.3.132.0.34"
SECP521R1: Final = "1.3.132.0.35"

# Hashes (RFC 5754)
SHA1: Final = "1.3.14.3.2.26"
SHA256: Final = "2.16.840.1.101.3.4.2.1"
SHA384: Final = "2.16.840.1.101.3.4.2.2"
SHA512: Final = "2.16.840.1.101.3.4.2.3"
SHAKE256_LEN: Final = "2.16.840.1.101.3.4.2.18"  # RFC 8419 §2.2, its output length a parameter
SHA3_256: Final = "2.16.840.1.101.3.4.2.8"
SHA3_384: Final = "2.16.840.1.101.3.4.2.9"
SHA3_512: Final = "2.16.840.1.101.3.4.2.10"

# Certificate and CRL extensions (RFC 5280 §4.2, §5.2, §5.3)
SUBJECT_KEY_IDENTIFIER: Final = "2.5.29.14"
KEY_USAGE: Final = "2.5.29.15"
SUBJECT_ALTERNATIVE_NAME: Final = "2.5.29.17"
ISSUER_ALTERNATIVE_NAME: Final = "2.5.29.18"
BASIC_CONSTRAINTS: Final = "2.5.29.19"
CRL_NUMBER: Final = "2.5.29.20"
CRL_REASON: Final = "2.5.29.21"
INVALIDITY_DATE: Final = "2.5.29.24"
DELTA_CRL_INDICATOR: Final = "2.5.29.27"
ISSUING_DISTRIBUTION_POINT: Final = "2.5.29.28"
CERTIFICATE_ISSUER: Final = "2.5.29.29"
NAME_CONSTRAINTS: Final = "2.5.29.30"
CRL_DISTRIBUTION_POINTS: Final = "2.5.29.31"
CERTIFICATE_POLICIES: Final = "2.5.29.32"
POLICY_MAPPINGS: Final = "2.5.29.33"
AUTHORITY_KEY_IDENTIFIER: Final = "2.5.29.35"
POLICY_CONSTRAINTS: Final = "2.5.29.36"
EXTENDED_KEY_USAGE: Final = "2.5.29.37"
FRESHEST_CRL: Final = "2.5.29.46"
INHIBIT_ANY_POLICY: Final = "2.5.29.54"
AUTHORITY_INFORMATION_ACCESS: Final = "1.3.6.1.5.5.7.1.1"
SUBJECT_INFORMATION_ACCESS: Final = "1.3.6.1.5.5.7.1.11"
TLS_FEATURE: Final = "1.3.6.1.5.5.7.1.24"
ACME_IDENTIFIER: Final = "1.3.6.1.5.5.7.1.31"  # RFC 8737 §6.1
OCSP_NOCHECK: Final = "1.3.6.1.5.5.7.48.1.5"
CT_POISON: Final = "1.3.6.1.4.1.11129.2.4.3"  # RFC 6962 §3.1
CT_TIMESTAMPS: Final = "1.3.6.1.4.1.11129.2.4.2"  # RFC 6962 §3.3: the list of SCTs
MS_TEMPLATE_NAME: Final = "1.3.6.1.4.1.311.20.2"

# Inside extensions
AD_OCSP: Final = "1.3.6.1.5.5.7.48.1"
AD_CA_ISSUERS: Final = "1.3.6.1.5.5.7.48.2"
ANY_POLICY: Final = "2.5.29.32.0"
QUALIFIER_CPS: Final = "1.3.6.1.5.5.7.2.1"
QUALIFIER_USER_NOTICE: Final = "1.3.6.1.5.5.7.2.2"
POLICY_DV: Final = "2.23.140.1.2.1"
POLICY_OV: Final = "2.23.140.1.2.2"
POLICY_IV: Final = "2.23.140.1.2.3"
POLICY_EV: Final = "2.23.140.1.1"

# OCSP (RFC 6960)
OCSP_BASIC: Final = "1.3.6.1.5.5.7.48.1.1"
OCSP_NONCE: Final = "1.3.6.1.5.5.7.48.1.2"

# Timestamps (RFC 3161, RFC 5816), and what came before them
TST_INFO: Final = "1.2.840.113549.1.9.16.1.4"
SIGNING_CERTIFICATE_V2: Final = "1.2.840.113549.1.9.16.2.47"
MS_TIMESTAMP_REQUEST: Final = "1.3.6.1.4.1.311.3.2.1"

# PKCS#7, PKCS#9
PKCS7_DATA: Final = "1.2.840.113549.1.7.1"
PKCS7_SIGNED_DATA: Final = "1.2.840.113549.1.7.2"
PKCS7_ENVELOPED_DATA: Final = "1.2.840.113549.1.7.3"
CONTENT_TYPE: Final = "1.2.840.113549.1.9.3"
MESSAGE_DIGEST: Final = "1.2.840.113549.1.9.4"
SIGNING_TIME: Final = "1.2.840.113549.1.9.5"
CHALLENGE_PASSWORD: Final = "1.2.840.113549.1.9.7"  # noqa: S105
UNSTRUCTURED_NAME: Final = "1.2.840.113549.1.9.2"
EXTENSION_REQUEST: Final = "1.2.840.113549.1.9.14"
MS_EXTENSION_REQUEST: Final = "1.3.6.1.4.1.311.2.1.14"

# SCEP (RFC 8894 §3.2.1)
SCEP_MESSAGE_TYPE: Final = "2.16.840.1.113733.1.9.2"
SCEP_PKI_STATUS: Final = "2.16.840.1.113733.1.9.3"
SCEP_FAIL_INFO: Final = "2.16.840.1.113733.1.9.4"
SCEP_SENDER_NONCE: Final = "2.16.840.1.113733.1.9.5"
SCEP_RECIPIENT_NONCE: Final = "2.16.840.1.113733.1.9.6"
SCEP_TRANSACTION_ID: Final = "2.16.840.1.113733.1.9.7"
SCEP_FAIL_INFO_TEXT: Final = "1.3.6.1.5.5.7.24.1"


@lru_cache(maxsize=512)
def encode_oid(dotted: str) -> bytes:
    """The whole OBJECT IDENTIFIER element. Raises Malformed for text that is no dotted OID."""
    return asn1.encode_der(object_identifier(dotted))


@lru_cache(maxsize=512)
def object_identifier(dotted: str) -> x509.ObjectIdentifier:
    """The value that declared structures hold."""
    try:
        oid = x509.ObjectIdentifier(dotted)
    except ValueError:
        oid = None
    # One spelling only, so that comparing texts is comparing identifiers: `2.5.29.015` would be read too.
    if oid is None or oid.dotted_string != dotted:
        raise Malformed(f"{dotted!r} is not a dotted object identifier", "Write it like 1.3.6.1.4.1.99999.1")
    return oid


@lru_cache(maxsize=1024)
def decode_oid(der: bytes, what: str) -> str:
    try:
        return _dotted(der)
    except (ValueError, OverflowError):
        return tlv.decode(x509.ObjectIdentifier, der, what).dotted_string  # which says what is wrong


@lru_cache(maxsize=1024)  # none has more than 63 octets, and everybody uses the same
def _dotted(der: bytes) -> str:
    return asn1.decode_der(x509.ObjectIdentifier, der).dotted_string
