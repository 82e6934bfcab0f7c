"""Lints over the fields of a TBSCertificate that every certificate has (RFC 5280 §4.1)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from pkiconf.der.algorithms import parse_algorithm
from pkiconf.der.tlv import Element, read_elements
from pkiconf.errors import Malformed, UnsupportedAlgorithm
from pkiconf.model.keys import SignatureAlgorithm
from pkiconf.policy.lints.finding import Finding, LintContext, error
from pkiconf.policy.lints.view import CertificateView

_UTC_TIME: Final = 0x17
_GENERALIZED_TIME: Final = 0x18
_V3: Final = b"\x02\x01\x02"
_SERIAL_ENTROPY: Final = 64  # bits


def version_is_3(view: CertificateView, context: LintContext) -> Iterator[Finding]:
    if view.version != _V3:
        yield error("version_is_3", "the certificate is not version 3", "RFC 5280 §4.1.2.1")


def serial_number(view: CertificateView, context: LintContext) -> Iterator[Finding]:
    octets = view.serial_number
    source = "RFC 5280 §4.1.2.2"
    if not octets or octets[0] >= 0x80 or not any(octets):
        yield error("serial_number_positive", "the serial number is not positive", source)
        return
    if len(octets) > 20:
        yield error("serial_number_size", f"the serial number has {len(octets)} octets, more than 20", source)
    if octets[0] == 0 and octets[1] < 0x80:
        yield error("serial_number_minimal", "the serial number is not in its shortest form", "X.690 §8.3.2")
    if int.from_bytes(octets, "big").bit_length() < _SERIAL_ENTROPY:
        yield error("serial_number_entropy", "the serial number has fewer than 64 bits", "CA/B Forum BR §7.1")


@lru_cache(maxsize=64)
def _signature_algorithm(der: bytes) -> SignatureAlgorithm | str:
    try:
        return parse_algorithm(der)
    except (UnsupportedAlgorithm, Malformed) as ex:
        return ex.detail


def signature_fits_issuer(view: CertificateView, context: LintContext) -> Iterator[Finding]:
    algorithm = _signature_algorithm(view.signature)
    key = context.issuer.key
    if isinstance(algorithm, str):
        yield error("signature_algorithm", algorithm, "RFC 5280 §4.1.2.3")
    elif algorithm.key_type is not key.type or algorithm.key_bits not in (None, key.bits):
        yield error(
            "signature_fits_issuer", f"{algorithm.name} is no signature of an {key.name} key", "RFC 5280 §4.1.1.2"
        )


def issuer_name(view: CertificateView, context: LintContext) -> Iterator[Finding]:
    if len(view.issuer) <= 2:
        yield error("issuer_name_empty", "the issuer name is empty", "RFC 5280 §4.1.2.4")
    if view.issuer != context.issuer.subject:
        yield error(
            "issuer_name_differs", "the issuer name is not the issuer's subject, octet for octet", "RFC 5280 §4.1.2.4"
        )


_UTC_FORM: Final = re.compile(rb"[0-9]{12}Z")
_GENERALIZED_FORM: Final = re.compile(rb"[0-9]{14}Z")


def _moment(element: Element) -> datetime:
    """Raises ValueError where the text is not what RFC 5280 §4.1.2.5 prescribes."""
    if element.tag == _UTC_TIME and _UTC_FORM.fullmatch(element.content):
        year = int(element.content[:2])
        century = b"20" if year < 50 else b"19"
        return datetime.strptime((century + element.content).decode(), "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
    if element.tag == _GENERALIZED_TIME and _GENERALIZED_FORM.fullmatch(element.content):
        moment = datetime.strptime(element.content.decode(), "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
        if moment.year < 2050:
            raise ValueError("a GeneralizedTime before 2050")
        return moment
    raise ValueError("neither YYMMDDHHMMSSZ as UTCTime nor YYYYMMDDHHMMSSZ as GeneralizedTime")


@lru_cache(maxsize=256)
def _validity(content: bytes) -> tuple[datetime, datetime] | str:
    """Both ends, or what is wrong with them."""
    ends = read_elements(content, "the validity")
    if len(ends) != 2:
        return "the validity is not two times"
    try:
        return _moment(ends[0]), _moment(ends[1])
    except ValueError as ex:
        return f"a time of the validity is {ex}"


def validity(view: CertificateView, context: LintContext) -> Iterator[Finding]:
    source = "RFC 5280 §4.1.2.5"
    ends = _validity(view.validity)
    if isinstance(ends, str):
        yield error("validity_form", ends, source)
        return
    not_before, not_after = ends
    if not_after < not_before:
        yield error("validity_order", "the validity ends before it begins", source)
    if context.self_issued:
        return
    if not_before < context.issuer.not_before or not_after > context.issuer.not_after:
        yield error("validity_within_issuer", "the validity is not inside the issuer's", "RFC 5280 §6.1.3")


def own_key(view: CertificateView, context: LintContext) -> Iterator[Finding]:
    same = view.spki == context.issuer.spki
    if context.self_issued and not same:
        yield error("own_key_differs", "a self-signed certificate has a key that is not its issuer's", "RFC 5280 §3.2")
    if context.self_issued and view.subject != view.issuer:
        yield error(
            "own_name_differs", "a self-signed certificate has a subject that is not its issuer", "RFC 5280 §3.2"
        )
    if not context.self_issued and same:
        yield error("issuer_key_reused", "the certificate would carry its issuer's own key", "RFC 5280 §4.2.1.2")


def subject_present(view: CertificateView, context: LintContext) -> Iterator[Finding]:
    if view.is_authority and not view.has_subject:
        yield error("subject_empty", "the certificate of an authority has no subject", "RFC 5280 §4.1.2.6")
