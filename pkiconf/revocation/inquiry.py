"""Asking whether a certificate is good, and believing an answer only when it is the issuer's and fresh.

What a relying party does: nothing here uses what this installation knows, so the same checks hold for answers of
our own responder, over the network or not, and for those of others.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from urllib.parse import quote

from pkiconf.der.certificate import Certificate, parse_certificate
from pkiconf.der.crl import CRL, parse_crl
from pkiconf.der.extensions import parse_extended_key_usage, parse_key_usage
from pkiconf.der.keys import key_identifier
from pkiconf.der.names import name_text, parse_name
from pkiconf.der.ocsp import CertStatus, ResponseStatus
from pkiconf.der.ocsp_client import (
    OCSPResponse,
    encode_cert_id,
    encode_ocsp_request,
    parse_ocsp_response,
    same_certificate,
)
from pkiconf.der.oids import EXTENDED_KEY_USAGE, KEY_USAGE
from pkiconf.der.tlv import OCTET_STRING, encode_tlv
from pkiconf.der.verify import check_issued_by, verify_signature
from pkiconf.egress.http import HTTPClient
from pkiconf.errors import PkiconfError, Unavailable, Unverified
from pkiconf.model.usages import EXTENDED_KEY_USAGES, KeyUsage

SKEW: Final = timedelta(minutes=5)
"""How far two clocks may be apart."""

NONCE_SIZE: Final = 32  # RFC 9654 §2.1
LARGEST_CRL: Final = 256 << 20
_HTTP_OK: Final = 200


class Method(StrEnum):
    POST = "post"
    GET = "get"


@dataclass(frozen=True, slots=True)
class Question:
    """About one certificate of `issuer`. `nonce` is None for an answer that may come from a cache."""

    issuer: Certificate
    serial_number: int
    nonce: bytes | None = None
    hash_algorithm: str = "sha1"

    @property
    def cert_id(self) -> bytes:
        return encode_cert_id(self.issuer.subject, self.issuer.spki, self.serial_number, self.hash_algorithm)

    def encode(self) -> bytes:
        return encode_ocsp_request(self.cert_id, self.nonce)


@dataclass(frozen=True, slots=True)
class Answer:
    """What was found to be true. `responder` is the name of whoever signed, RFC 4514 text."""

    status: CertStatus
    this_update: datetime
    next_update: datetime | None
    produced_at: datetime
    responder: str
    der: bytes


_NO_ANSWER: Final = {
    ResponseStatus.MALFORMED_REQUEST: "it could not read the question",
    ResponseStatus.INTERNAL_ERROR: "it had an internal error",
    ResponseStatus.TRY_LATER: "it asks to try later",
    ResponseStatus.SIG_REQUIRED: "it wants a signed question",
    ResponseStatus.UNAUTHORIZED: "it does not answer for this issuer (unauthorized)",
}


def ask(question: Question, url: str, client: HTTPClient, now: datetime, method: Method = Method.POST) -> Answer:
    """Ask the responder at `url`. Raises Unavailable, and everything that `check_answer` raises."""
    request = question.encode()
    if method is Method.GET:
        encoded = quote(base64.b64encode(request).decode(), safe="")
        answer = client(f"{url.rstrip('/')}/{encoded}")
    else:
        answer = client(url, body=request, media_type="application/ocsp-request")
    if answer.status != _HTTP_OK:
        raise Unavailable(f"{url} answered with HTTP status {answer.status}", "Is it an OCSP responder's URL?")
    return check_answer(answer.body, question, now)


def check_answer(der: bytes, question: Question, now: datetime) -> Answer:
    """The one answer in a response, believed: signed by the issuer or by whom it delegated to, about the very
    certificate that was asked for, with the nonce that was sent, and valid at `now` (RFC 6960 §3.2).

    Raises Malformed, Unverified, UnsupportedAlgorithm; Unavailable when the responder gave none.
    """
    response = parse_ocsp_response(der)
    if isinstance(response, ResponseStatus):
        raise Unavailable(f"the OCSP responder gave no answer: {_NO_ANSWER[response]}")
    responder = _check_responder(response, question.issuer, now)
    if question.nonce is not None and response.nonce != encode_tlv(OCTET_STRING, question.nonce):
        what = "no nonce" if response.nonce is None else "another nonce"
        raise Unverified(
            f"the OCSP answer carries {what}", "It may be an old one; --no-nonce allows answers from caches"
        )
    mine = [answer for answer in response.answers if same_certificate(answer.cert_id, question.cert_id)]
    if len(mine) != 1:
        raise Unverified("the OCSP response does not answer what was asked", "It is about another certificate")
    answer = mine[0]
    _check_time("the OCSP answer", answer.this_update, answer.next_update, now)
    subject = name_text(parse_name(responder.subject))
    return Answer(answer.status, answer.this_update, answer.next_update, response.produced_at, subject, der)


def _check_responder(response: OCSPResponse, issuer: Certificate, now: datetime) -> Certificate:
    """Whoever signed, its right to do so checked (RFC 6960 §4.2.2.2)."""
    for candidate in (issuer, *map(parse_certificate, response.certificates)):
        if not _is_responder(response, candidate):
            continue
        if candidate is not issuer:
            _check_delegation(candidate, issuer, now)
        verify_signature(candidate.spki, response.algorithm, response.tbs, response.signature)
        return candidate
    raise Unverified("the OCSP response is signed by somebody whose certificate is not in it")


def _is_responder(response: OCSPResponse, candidate: Certificate) -> bool:
    if response.responder_name is not None:
        return response.responder_name == candidate.subject
    return response.responder_key_hash == key_identifier(candidate.spki)


def _check_delegation(responder: Certificate, issuer: Certificate, now: datetime) -> None:
    try:
        check_issued_by(responder, issuer)
    except PkiconfError:
        raise Unverified("the OCSP responder's certificate is not from the issuer that was asked about") from None
    usages = responder.extension(EXTENDED_KEY_USAGE)
    if usages is None or EXTENDED_KEY_USAGES["OCSPSigning"] not in parse_extended_key_usage(usages.value):
        raise Unverified("the OCSP response is signed with a certificate that is not for OCSP (no OCSPSigning)")
    if not responder.not_before - SKEW <= now <= responder.not_after:
        raise Unverified("the OCSP responder's certificate is not valid now", "Check the clock, here and there")


def fetch_crl(url: str, issuer: Certificate, client: HTTPClient, now: datetime) -> CRL:
    """Raises Unavailable, and everything that `check_crl` raises."""
    answer = client(url, limit=LARGEST_CRL)
    if answer.status != _HTTP_OK:
        raise Unavailable(f"{url} answered with HTTP status {answer.status}", "See `pkiconf authority urls`")
    return check_crl(answer.body, issuer, now)


def check_crl(der: bytes, issuer: Certificate, now: datetime) -> CRL:
    """A CRL that was signed by `issuer`, whose certificate allows that, and that is valid at `now`.

    Raises Malformed, Unverified, UnsupportedAlgorithm.
    """
    crl = parse_crl(der)
    if crl.issuer != issuer.subject:
        raise Unverified(f"the CRL is from {name_text(parse_name(crl.issuer))}, not from the issuer that was asked for")
    usages = issuer.extension(KEY_USAGE)
    if usages is not None and KeyUsage.CRL_SIGN not in parse_key_usage(usages.value):
        raise Unverified("the issuer's certificate does not allow signing CRLs (no cRLSign)")
    verify_signature(issuer.spki, crl.algorithm, crl.tbs, crl.signature)
    _check_time("the CRL", crl.this_update, crl.next_update, now)
    return crl


def _check_time(what: str, this_update: datetime, next_update: datetime | None, now: datetime) -> None:
    if this_update > now + SKEW:
        raise Unverified(f"{what} begins only at {this_update.isoformat()}", "Check the clock, here and there")
    if next_update is not None and next_update < now - SKEW:
        raise Unverified(f"{what} ended at {next_update.isoformat()}", "Its issuer has stopped making new ones")
