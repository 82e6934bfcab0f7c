"""An answer counts only if it is the issuer's, about what was asked, and fresh."""

from __future__ import annotations

import base64
from datetime import timedelta
from typing import Any
from urllib.parse import unquote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509 import ocsp

from pkiconf.der.ocsp import Good, ResponseStatus, Revoked, error_response
from pkiconf.der.ocsp_client import encode_ocsp_request
from pkiconf.egress.http import LARGEST, HTTPAnswer
from pkiconf.errors import Malformed, Unavailable, Unverified
from pkiconf.revocation.inquiry import (
    LARGEST_CRL,
    SKEW,
    Method,
    Question,
    ask,
    check_answer,
    check_crl,
    fetch_crl,
)
from tests.revocation.stranger import DAY, HOUR, NOW, Party, make_answer, make_crl, make_party

OCSP_SIGNING = x509.oid.ExtendedKeyUsageOID.OCSP_SIGNING
SECOND = timedelta(seconds=1)

ROOT = make_party("Root")
LEAF = make_party("leaf", ROOT, ca=False, serial=4711)
OTHER_LEAF = make_party("other", ROOT, ca=False, serial=4712)
RESPONDER = make_party("Responder", ROOT, ca=False, usages=[OCSP_SIGNING])
STRANGER = make_party("Root")  # the same name, another key
QUESTION = Question(ROOT.parsed, 4711)


def good(responder: Party = RESPONDER, **more: Any) -> bytes:
    include = () if responder is ROOT else (responder,)
    return make_answer(LEAF, ROOT, responder, **{"include": include, **more})


@pytest.mark.row("F134")
def test_a_delegated_responder_is_believed() -> None:
    answer = check_answer(good(), QUESTION, NOW)
    assert answer.status == Good()
    assert answer.responder == "CN=Responder"


@pytest.mark.parametrize("by", ocsp.OCSPResponderEncoding)
def test_the_issuer_itself_is_believed(by: ocsp.OCSPResponderEncoding) -> None:
    assert check_answer(good(ROOT, by=by), QUESTION, NOW).responder == "CN=Root"


def test_revoked_is_told() -> None:
    data = good(status=ocsp.OCSPCertStatus.REVOKED, reason=x509.ReasonFlags.superseded)
    answer = check_answer(data, QUESTION, NOW)
    assert isinstance(answer.status, Revoked)
    assert answer.status.reason.text == "superseded"


def test_a_sha256_question_gets_a_sha256_answer() -> None:
    question = Question(ROOT.parsed, 4711, hash_algorithm="sha256")
    check_answer(good(hash_algorithm=hashes.SHA256()), question, NOW)
    with pytest.raises(Unverified, match="does not answer what was asked"):
        check_answer(good(), question, NOW)


def test_a_nonce_must_come_back() -> None:
    question = Question(ROOT.parsed, 4711, nonce=b"n" * 32)
    check_answer(good(nonce=b"n" * 32), question, NOW)
    with pytest.raises(Unverified, match="no nonce"):
        check_answer(good(), question, NOW)
    with pytest.raises(Unverified, match="another nonce"):
        check_answer(good(nonce=b"m" * 32), question, NOW)


def test_an_answer_about_another_certificate() -> None:
    data = make_answer(OTHER_LEAF, ROOT, RESPONDER, include=[RESPONDER])
    with pytest.raises(Unverified, match="does not answer what was asked"):
        check_answer(data, QUESTION, NOW)


@pytest.mark.parametrize(
    ("responder", "why"),
    [
        (make_party("Responder", STRANGER, ca=False, usages=[OCSP_SIGNING]), "not from the issuer"),
        (make_party("Responder", ROOT, ca=False), "no OCSPSigning"),
        (make_party("Responder", ROOT, ca=False, usages=[x509.oid.ExtendedKeyUsageOID.SERVER_AUTH]), "no OCSPSigning"),
        (
            make_party("R", ROOT, ca=False, usages=[x509.oid.ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]),
            "no OCSPSigning",
        ),
        (make_party("R", ROOT, ca=False, usages=[OCSP_SIGNING], not_after=NOW - SECOND), "not valid now"),
        (
            make_party("R", ROOT, ca=False, usages=[OCSP_SIGNING], not_before=NOW + HOUR, not_after=NOW + DAY),
            "not valid",
        ),
        (LEAF, "no OCSPSigning"),
        (STRANGER, "not from the issuer"),
    ],
)
def test_whoever_signs_must_be_allowed_to(responder: Party, why: str) -> None:
    with pytest.raises(Unverified, match=why):
        check_answer(good(responder), QUESTION, NOW)


def test_the_responder_must_be_in_the_response() -> None:
    with pytest.raises(Unverified, match="not in it"):
        check_answer(good(include=()), QUESTION, NOW)


def test_an_altered_answer() -> None:
    data = good()
    altered = data.replace(b"20300101110000Z", b"20300101100000Z")
    assert altered != data
    with pytest.raises(Unverified, match="signature"):
        check_answer(altered, QUESTION, NOW)


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"this_update": NOW - DAY, "next_update": NOW - SKEW - SECOND}, "ended at"),
        ({"this_update": NOW + SKEW + SECOND}, "begins only at"),
    ],
)
def test_an_answer_that_is_not_of_now(more: dict[str, Any], why: str) -> None:
    with pytest.raises(Unverified, match=why):
        check_answer(good(**more), QUESTION, NOW)


def test_clocks_may_differ_a_little() -> None:
    check_answer(good(this_update=NOW + SKEW), QUESTION, NOW)
    check_answer(good(this_update=NOW - DAY, next_update=NOW - SKEW), QUESTION, NOW)
    check_answer(good(next_update=None), QUESTION, NOW)


@pytest.mark.parametrize("status", [status for status in ResponseStatus if status is not ResponseStatus.SUCCESSFUL])
def test_no_answer_is_no_answer(status: ResponseStatus) -> None:
    with pytest.raises(Unavailable, match="gave no answer"):
        check_answer(error_response(status), QUESTION, NOW)


class FakeWeb:
    """Answers what the test put there, and remembers what was asked."""

    def __init__(self, answer: HTTPAnswer) -> None:
        self.answer = answer
        self.asked: list[tuple[str, bytes | None, str, int]] = []

    def __call__(
        self, url: str, *, body: bytes | None = None, media_type: str = "", limit: int = LARGEST
    ) -> HTTPAnswer:
        self.asked.append((url, body, media_type, limit))
        return self.answer


def test_asking_by_post() -> None:
    web = FakeWeb(HTTPAnswer(200, "application/ocsp-response", good()))
    assert ask(QUESTION, "http://ocsp.example/x", web, NOW).status == Good()
    request = encode_ocsp_request(QUESTION.cert_id)
    assert web.asked == [("http://ocsp.example/x", request, "application/ocsp-request", LARGEST)]


def test_asking_by_get() -> None:
    """RFC 6960 appendix A.1: base64, escaped, as the last part of the path."""
    web = FakeWeb(HTTPAnswer(200, "application/ocsp-response", good()))
    ask(QUESTION, "http://ocsp.example/x/", web, NOW, Method.GET)
    ((url, body, _, _),) = web.asked
    assert body is None
    assert url.startswith("http://ocsp.example/x/")
    last = url.removeprefix("http://ocsp.example/x/")
    assert "/" not in last
    assert "+" not in last
    assert base64.b64decode(unquote(last)) == QUESTION.encode()


@pytest.mark.parametrize("status", [204, 404, 500, 503])
def test_a_server_that_says_no(status: int) -> None:
    web = FakeWeb(HTTPAnswer(status, "", good()))
    with pytest.raises(Unavailable, match=f"HTTP status {status}"):
        ask(QUESTION, "http://ocsp.example", web, NOW)
    with pytest.raises(Unavailable, match=f"HTTP status {status}"):
        fetch_crl("http://crl.example", ROOT.parsed, web, NOW)


def test_a_web_page_instead_of_an_answer() -> None:
    web = FakeWeb(HTTPAnswer(200, "text/html", b"<html>Log in</html>"))
    with pytest.raises(Malformed):
        ask(QUESTION, "http://ocsp.example", web, NOW)
    with pytest.raises(Malformed):
        fetch_crl("http://crl.example", ROOT.parsed, web, NOW)


@pytest.mark.row("F139")
def test_a_crl_is_fetched_and_checked() -> None:
    web = FakeWeb(HTTPAnswer(200, "application/pkix-crl", make_crl(ROOT)))
    assert fetch_crl("http://crl.example/1.crl", ROOT.parsed, web, NOW).number == 7
    assert web.asked == [("http://crl.example/1.crl", None, "", LARGEST_CRL)]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (make_crl(STRANGER), "signature"),
        (make_crl(ROOT, signer=STRANGER), "signature"),
        (make_crl(RESPONDER), "not from the issuer"),
        (make_crl(ROOT, this_update=NOW - DAY, next_update=NOW - HOUR), "ended at"),
        (make_crl(ROOT, this_update=NOW + HOUR, next_update=NOW + DAY), "begins only at"),
    ],
)
def test_crls_that_do_not_count(data: bytes, why: str) -> None:
    with pytest.raises(Unverified, match=why):
        check_crl(data, ROOT.parsed, NOW)


def test_an_issuer_that_may_not_sign_crls() -> None:
    issuer = make_party("No CRLs", crl_sign=False)
    with pytest.raises(Unverified, match="no cRLSign"):
        check_crl(make_crl(issuer), issuer.parsed, NOW)
