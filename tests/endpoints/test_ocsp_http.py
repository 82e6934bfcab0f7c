"""OCSP over HTTP, in every variant that clients and proxies make of it (RFC 6960 Appendix A, RFC 9919 §5 and §6)."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from datetime import timedelta
from email.utils import parsedate_to_datetime
from random import Random
from urllib.parse import quote

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.x509 import ocsp

from pkiconf.der.ocsp import MAX_REQUEST_SIZE
from pkiconf.endpoints.ocsp_path import MOST_READINGS, readings
from pkiconf.model.revocation import RevocationReason
from tests.endpoints.client import Answer, Client
from tests.revocation.pki import NEVER_ISSUED, question, serial_of, verify
from tests.world import OPERATOR

Status = ocsp.OCSPResponseStatus
URL = "/ocsp/issuing"


def outcome(answer: Answer) -> ocsp.OCSPResponseStatus:
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/ocsp-response"
    assert answer.headers["content-length"] == str(len(answer.body))
    return ocsp.load_der_ocsp_response(answer.body).response_status


def good(answer: Answer) -> None:
    assert outcome(answer) is Status.SUCCESSFUL
    assert ocsp.load_der_ocsp_response(answer.body).certificate_status is ocsp.OCSPCertStatus.GOOD


def tricky_request(client: Client) -> bytes:
    """About a good certificate, with two slashes in a row, a plus and padding in its base64."""
    issuer, chance = client.pki.issuer(), Random(1)
    for _ in range(20_000):
        serial = NEVER_ISSUED | chance.getrandbits(112)
        for algorithm in (hashes.SHA1(), hashes.SHA256(), hashes.SHA384(), hashes.SHA512()):
            request = question(issuer, serial, algorithm)
            digits = base64.b64encode(request)
            if b"//" in digits and b"+" in digits and digits.endswith(b"="):
                client.pki.take(serial)
                return request
    raise AssertionError("no such request")


# --- POST -----------------------------------------------------------------------------------------------------------


@pytest.mark.row("F131")
def test_post_whatever_the_media_type(client: Client) -> None:
    request = question(client.pki.issuer(), serial_of(client.pki.issue()))
    for media_type in ("application/ocsp-request", "", "text/plain", "application/x-www-form-urlencoded"):
        headers = {"content_type": media_type} if media_type else {}
        answer = client.request("POST", URL, request, headers)
        good(answer)
        assert answer.headers["cache-control"] == "no-store"
        assert not {"etag", "last-modified", "expires"} & set(answer.headers)


@pytest.mark.row("F131")
def test_post_in_chunks(lite: Client) -> None:
    request = question(lite.pki.issuer(), serial_of(lite.pki.issue()))
    good(lite.request("POST", URL, request, chunked=True))
    assert outcome(lite.request("POST", URL, bytes(3_000_000), chunked=True)) is Status.MALFORMED_REQUEST
    # Where the server does not say where the body ends, it is not waited for.
    refused = lite.request("POST", URL, request, chunked=True, environ={"wsgi.input_terminated": False})
    assert refused.status == 411


def test_a_body_that_breaks_off(lite: Client) -> None:
    class Broken:
        def read(self, _: int) -> bytes:
            raise OSError("the client went away")

    answer = lite.request("POST", URL, chunked=True, environ={"wsgi.input": Broken()})
    assert answer.status == 400


def test_posts_up_to_ten_kibioctets_are_read_and_no_more(lite: Client) -> None:
    assert outcome(lite.post(URL, bytes(MAX_REQUEST_SIZE))) is Status.MALFORMED_REQUEST
    assert outcome(lite.post(URL, bytes(MAX_REQUEST_SIZE + 1))) is Status.MALFORMED_REQUEST
    assert outcome(lite.post(URL, bytes(1 << 20))) is Status.MALFORMED_REQUEST
    assert lite.post(URL, bytes(10_000_000)).status == 413


def test_a_length_that_is_none(lite: Client) -> None:
    assert lite.request("POST", URL, b"x", environ={"CONTENT_LENGTH": "-1"}).status == 400
    assert lite.request("POST", URL, b"x", environ={"CONTENT_LENGTH": "many"}).status == 400


def test_post_to_the_url_with_a_slash_behind(lite: Client) -> None:
    request = question(lite.pki.issuer(), serial_of(lite.pki.issue()))
    good(lite.post(URL + "/", request))


# --- GET ------------------------------------------------------------------------------------------------------------


def _plain(text: str) -> str:
    return text


def _lower(text: str) -> str:
    return quote(text, safe="").replace("%2F", "%2f").replace("%2B", "%2b").replace("%3D", "%3d")


VARIANTS: dict[str, Callable[[str], str]] = {
    "escaped": lambda text: quote(text, safe=""),
    "unescaped": _plain,
    "lower-case escapes": _lower,
    "only the slash escaped": lambda text: text.replace("/", "%2F"),
    "escaped twice": lambda text: quote(quote(text, safe=""), safe=""),
    "plus as a space": lambda text: text.replace("+", " "),
    "plus as an escaped space": lambda text: text.replace("+", "%20"),
    "no padding": lambda text: text.rstrip("="),
    "url-safe": lambda text: text.replace("+", "-").replace("/", "_"),
    "url-safe without padding": lambda text: text.replace("+", "-").replace("/", "_").rstrip("="),
    "a slash more in front": lambda text: "/" + text,
    "three slashes more in front": lambda text: "///" + text,
    "a slash behind": lambda text: text + "/",
    "a slash behind, no padding": lambda text: text.rstrip("=") + "/",
    "a query behind": lambda text: quote(text, safe="") + "?t=1",
    "an empty query behind": lambda text: text + "?",
    "line ends in between": lambda text: text[:64] + "%0D%0A" + text[64:],
    "slashes merged": lambda text: text.replace("//", "/"),
    "slashes merged, escaped": lambda text: text.replace("//", "/").replace("+", "%2B").replace("=", "%3D"),
    "everything escaped": lambda text: "".join(f"%{ord(digit):02x}" for digit in text),
}


@pytest.mark.row("F131")
def test_get_in_every_variant(lite: Client) -> None:
    request = tricky_request(lite)
    text = base64.b64encode(request).decode()
    for name, variant in VARIANTS.items():
        answer = lite.get(f"{URL}/{variant(text)}")
        assert outcome(answer) is Status.SUCCESSFUL, name
        good(answer)
        asked, told = ocsp.load_der_ocsp_request(request), ocsp.load_der_ocsp_response(answer.body)
        assert told.serial_number == asked.serial_number, name
    for host in ("pki.corp.example", "ocsp"):
        good(lite.request("GET", f"{URL}/{text}", environ={"RAW_URI": f"http://{host}{URL}/{text}"}))


def test_a_server_that_does_not_tell_the_target(lite: Client) -> None:
    text = quote(base64.b64encode(question(lite.pki.issuer(), serial_of(lite.pki.issue()))).decode(), safe="")
    good(lite.request("GET", f"{URL}/{text}", environ={"RAW_URI": "", "REQUEST_URI": f"{URL}/{text}"}))


def test_a_slug_may_be_escaped(lite: Client) -> None:
    text = base64.b64encode(question(lite.pki.issuer(), serial_of(lite.pki.issue()))).decode()
    good(lite.get(f"/ocsp/%69ssuing/{text}"))


def test_merged_slashes_of_a_certificate_nobody_issued_cannot_be_told(lite: Client) -> None:
    """Several readings of one path: none may be answered as if it was asked."""
    issuer, chance = lite.pki.issuer(), Random(2)
    candidates = (question(issuer, NEVER_ISSUED | chance.getrandbits(112)) for _ in range(20_000))
    request = next(one for one in candidates if b"//" in base64.b64encode(one))
    text = base64.b64encode(request).decode().replace("//", "/")
    if len(readings(text)) > 1:
        assert outcome(lite.get(f"{URL}/{text}")) is Status.MALFORMED_REQUEST


NO_REQUESTS = (
    "", "/", "//", "/?x=1", "/%", "/%zz", "/not base64!", "/M", "/MA", "/====", "/MAA=x", "/\u00fc", "/%00%00",
    "/MFEwTzBNMEswSTAJBgUrDgMCGgUABBQ=", "/" + "A" * 8000, "/" + "/" * 8000, "/MIIB" + "/" * 300, "/../..",
    "/%2e%2e/%2e%2e/etc/passwd", "/MAAA" + "%25" * 2000,
)  # fmt: skip


@pytest.mark.row("F134")
def test_get_of_anything_else_is_an_ocsp_error(client: Client) -> None:
    """Also what a person sees who opens the URL in a browser."""
    before = client.pki.rows("certificate")
    for path in NO_REQUESTS:
        answer = client.get(URL + path)
        assert outcome(answer) is Status.MALFORMED_REQUEST, path[:80]
        assert answer.headers["cache-control"] == "no-store"
    assert client.pki.rows("certificate") == before


def test_nobody_is_unauthorized(client: Client) -> None:
    request = question(client.pki.issuer(), 5)
    assert outcome(client.post("/ocsp/nobody", request)) is Status.UNAUTHORIZED
    assert outcome(client.post("/ocsp/no%00body", request)) is Status.UNAUTHORIZED
    assert outcome(client.post("/ocsp/%ff%fe", request)) is Status.UNAUTHORIZED
    assert outcome(client.get("/ocsp/nobody/" + base64.b64encode(request).decode())) is Status.UNAUTHORIZED


# --- readings, by themselves ----------------------------------------------------------------------------------------


def test_readings_are_few_and_nearly_always_one() -> None:
    request = bytes.fromhex("3003020105")
    text = base64.b64encode(request).decode()
    assert readings(text) == readings(quote(text)) == readings(f"/{text}?x") == (request,)
    assert readings("") == readings("=") == readings("%") == readings("?MAA=") == ()
    many = base64.b64encode(b"\x30\x81\xf0" + bytes([0xFF, 0xEF, 0xBF, 0xFB]) * 60).decode()
    assert many.count("/") > 20
    assert len(readings(many.replace("/", "", 2))) <= MOST_READINGS
    assert len(readings(many.replace("/", "", 9))) <= 1


def test_no_reading_comes_twice() -> None:
    body = bytes([0xFF] * 30) + b"certificate"
    text = base64.b64encode(b"\x30" + bytes([len(body)]) + body).decode()
    assert "/////" in text
    found = readings(text.replace("/", "", 2))
    assert len(found) == len(set(found)) == 1


def test_every_lost_slash_is_found_again() -> None:
    body = bytes([0xFF] * 6) + b"\0" * 3 + bytes([0xFF] * 3) + b"certificate"
    request = b"\x30" + bytes([len(body)]) + body
    text = base64.b64encode(request).decode()
    assert "//" in text
    for at in range(len(text) - 1):
        if text[at : at + 2] == "//":
            assert request in readings(text[:at] + text[at + 1 :])


# --- caching --------------------------------------------------------------------------------------------------------


@pytest.mark.row("F131")
@pytest.mark.row("D27")
def test_headers_for_caches(client: Client) -> None:
    now = client.pki.world.clock.now()
    client.pki.take(NEVER_ISSUED)
    target = f"{URL}/{quote(base64.b64encode(question(client.pki.issuer(), NEVER_ISSUED)).decode(), safe='')}"
    answer = client.get(target)
    assert answer.headers["etag"] == f'"{hashlib.sha256(answer.body).hexdigest()}"'
    assert answer.headers["cache-control"] == "max-age=300,public,no-transform,must-revalidate"
    assert parsedate_to_datetime(answer.headers["last-modified"]) == now
    assert parsedate_to_datetime(answer.headers["expires"]) == now + timedelta(hours=24)
    assert answer.headers["expires"].endswith(" GMT")
    head = client.request("HEAD", target)
    assert (head.status, head.body, head.headers["etag"]) == (200, b"", answer.headers["etag"])
    assert head.headers["content-length"] == str(len(answer.body))


def test_not_modified_by_its_tag(lite: Client) -> None:
    issued = lite.pki.issue()
    target = f"{URL}/{quote(base64.b64encode(question(lite.pki.issuer(), serial_of(issued))).decode(), safe='')}"
    tag = lite.get(target).headers["etag"]
    for condition in (tag, f"W/{tag}", f'"x", {tag}', "*", f'"x",W/{tag} , "y"'):
        answer = lite.get(target, if_none_match=condition)
        assert (answer.status, answer.body, answer.headers["etag"]) == (304, b"", tag), condition
        assert answer.headers["cache-control"].startswith("max-age=")
    for condition in ('"x"', tag[1:-1], "", '"', "W/"):
        assert lite.get(target, if_none_match=condition).status == 200, condition
    # A revocation ends it at once.
    lite.pki.world.services.revocations.revoke(issued.id, RevocationReason.SUPERSEDED, OPERATOR)
    changed = lite.get(target, if_none_match=tag)
    assert changed.status == 200
    assert ocsp.load_der_ocsp_response(changed.body).certificate_status is ocsp.OCSPCertStatus.REVOKED


def test_a_date_never_hides_a_revocation(lite: Client) -> None:
    """Two answers of one second have one Last-Modified."""
    issued = lite.pki.issue()
    target = f"{URL}/{quote(base64.b64encode(question(lite.pki.issuer(), serial_of(issued))).decode(), safe='')}"
    first = lite.get(target)
    lite.pki.world.services.revocations.revoke(issued.id, RevocationReason.SUPERSEDED, OPERATOR)
    for date in (first.headers["last-modified"], "Fri, 31 Dec 2199 23:59:59 GMT", "nonsense"):
        assert lite.get(target, if_modified_since=date).status == 200


@pytest.mark.parametrize("left", [1, 2, 60, 302])
def test_caches_never_keep_it_beyond_its_end(lite: Client, left: int) -> None:
    target = f"{URL}/{quote(base64.b64encode(question(lite.pki.issuer(), NEVER_ISSUED)).decode(), safe='')}"
    responder = verify(ocsp.load_der_ocsp_response(lite.get(target).body), lite.pki.issuer())
    lite.pki.world.clock.moment = responder.not_valid_after_utc - timedelta(seconds=left)
    answer = lite.get(target)
    age = int(answer.headers["cache-control"].split(",")[0].removeprefix("max-age="))
    assert age < left
    assert parsedate_to_datetime(answer.headers["expires"]) == responder.not_valid_after_utc


def test_nonces_and_errors_are_for_nobody_else(lite: Client) -> None:
    with_nonce = question(lite.pki.issuer(), NEVER_ISSUED, nonce=b"n" * 16)
    for request in (with_nonce, b"\x30\x00", question(lite.pki.issuer("other"), 5)):
        answer = lite.get(f"{URL}/{quote(base64.b64encode(request).decode(), safe='')}")
        assert answer.headers["cache-control"] == "no-store"
        assert not {"etag", "last-modified", "expires"} & set(answer.headers)


def test_other_methods(lite: Client) -> None:
    for method in ("PUT", "DELETE", "PATCH", "TRACE", "CONNECT"):
        answer = lite.request(method, URL, b"x")
        assert answer.status == 405
        assert {"GET", "HEAD", "POST"} <= {name.strip() for name in answer.headers["allow"].split(",")}
