"""Lints over the attributes of the subject (RFC 5280 §4.1.2.4, §4.1.2.6, Appendix A)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from typing import Final

from pkiconf.der.reader import iterate_elements
from pkiconf.der.tlv import OBJECT_IDENTIFIER, SEQUENCE, SET, Element, read_element, read_elements
from pkiconf.errors import Malformed
from pkiconf.model.attributes import (
    BY_OID,
    EMAIL_ADDRESS,
    IA5_STRING,
    PRINTABLE_STRING,
    UTF8_STRING,
    AttributeType,
)
from pkiconf.policy.lints.finding import Finding, LintContext, Severity, error, warning
from pkiconf.policy.lints.view import CertificateView, parse_oid

_TELETEX, _UNIVERSAL, _BMP = 20, 28, 30
_CODECS: Final = {
    UTF8_STRING: "utf-8",
    PRINTABLE_STRING: "ascii",
    IA5_STRING: "ascii",
    _TELETEX: "latin-1",
    _UNIVERSAL: "utf-32-be",
    _BMP: "utf-16-be",
}
_PRINTABLE: Final = re.compile(r"[A-Za-z0-9 '()+,./:=?-]*")
_COUNTRY: Final = re.compile(r"[A-Z]{2}")
_COUNTRIES: Final = frozenset({"2.5.4.6", "1.3.6.1.4.1.311.60.2.1.3"})
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_APPENDIX: Final = "RFC 5280 Appendix A.1"


def subject_attributes(view: CertificateView, context: LintContext) -> Iterator[Finding]:
    sequence = read_element(view.subject, "the subject", SEQUENCE)
    # An authority that came from elsewhere keeps its name octet for octet, or nothing it issued could be traced to it
    # (RFC 5280 §4.1.2.4 allows old string types for that); what is wrong with it can only be told.
    established = view.subject == context.issuer.subject
    for der in iterate_elements(sequence.content, "the subject"):
        for finding in _rdn_findings(der):
            yield replace(finding, severity=Severity.WARNING) if established else finding


@lru_cache(maxsize=1024)  # country and organization are the same in thousands of subjects
def _rdn_findings(der: bytes) -> tuple[Finding, ...]:
    return tuple(_lint_rdn(read_element(der, "the subject")))


def _lint_rdn(rdn: Element) -> Iterator[Finding]:
    members = read_elements(rdn.content, "the subject")
    if rdn.tag != SET or not members:
        yield error("rdn_empty", "a relative distinguished name of the subject is empty", "RFC 5280 §4.1.2.4")
    if len(members) > 1 and [member.der for member in members] != sorted(member.der for member in members):
        yield error("rdn_order", "a relative distinguished name is not sorted as DER wants", "X.690 §11.6")
    for member in members:
        yield from _lint_attribute(member)


def _lint_attribute(member: Element) -> Iterator[Finding]:
    parts = read_elements(member.content, "the subject")
    if len(parts) != 2 or parts[0].tag != OBJECT_IDENTIFIER:
        raise Malformed("the subject holds something else than attributes")
    oid = parse_oid(parts[0].der)
    row = BY_OID.get(oid)
    what = f"subject attribute {row.short if row else oid}"
    codec = _CODECS.get(parts[1].tag)
    if codec is None:
        if row is not None:
            yield error("attribute_string_type", f"{what} is no text", _APPENDIX)
        return
    try:
        text = parts[1].content.decode(codec)
    except UnicodeDecodeError:
        yield error("attribute_encoding", f"{what} is not the text its string type promises", _APPENDIX)
        return
    yield from _lint_text(what, parts[1].tag, text)
    if row is not None:
        yield from _lint_row(what, row, parts[1].tag, text)


def _lint_text(what: str, tag: int, text: str) -> Iterator[Finding]:
    if not text:
        yield error("attribute_empty", f"{what} is empty", _APPENDIX)
    if tag == PRINTABLE_STRING and not _PRINTABLE.fullmatch(text):
        yield error("attribute_encoding", f"{what} is not a PrintableString: {text!r}", "X.680 §41.4")
    if _CONTROL.search(text):
        yield error("attribute_control_character", f"{what} holds a control character: {text!r}", "RFC 4518 §2.2")
    if text != text.strip():
        yield warning("attribute_white_space", f"{what} begins or ends with white space", "RFC 4518 §2.6.1")


def _lint_row(what: str, row: AttributeType, tag: int, text: str) -> Iterator[Finding]:
    # DirectoryString is a choice, of which only two may still be used.
    allowed = (UTF8_STRING, PRINTABLE_STRING) if row.string_tag == UTF8_STRING else (row.string_tag,)
    if tag not in allowed:
        yield error("attribute_string_type", f"{what} has string type {tag}", "RFC 5280 §4.1.2.4")
    if row.upper_bound is not None and len(text) > row.upper_bound:
        yield error("attribute_length", f"{what} has {len(text)} characters, more than {row.upper_bound}", _APPENDIX)
    if row.oid in _COUNTRIES and not _COUNTRY.fullmatch(text):
        yield error("country_code", f"{what} is not two capital letters: {text!r}", "RFC 5280 Appendix A.1, ISO 3166-1")
    if row.oid == EMAIL_ADDRESS:
        yield warning("subject_email", f"{what} belongs into the subject alternative name", "RFC 5280 §4.1.2.6")
