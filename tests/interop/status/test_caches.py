"""nginx in front as a cache, configured as `docs/scale.md` shows: it keeps what it may, for as long as it may."""

from __future__ import annotations

import base64
import http.client
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from tests.interop.status.pki import PKI, Leaf, running_pki
from tests.interop.status.web_servers import MovedClock, nginx, shown, with_these
from tests.ports import free_port

LONGEST = 300
"""Seconds that a cache may go without asking, as the page promises."""

Status = ocsp.OCSPCertStatus
both_servers = pytest.mark.parametrize("pki", [("ec", "gunicorn"), ("ec", "granian")], ids="-".join, indirect=True)


@dataclass(frozen=True)
class Answer:
    status: int
    cache: str
    control: str
    body: bytes

    @property
    def says(self) -> ocsp.OCSPCertStatus:
        return ocsp.load_der_ocsp_response(self.body).certificate_status


@dataclass(frozen=True)
class Cache:
    """nginx at `port`, whose clock alone is moved."""

    pki: PKI
    port: int
    clock: MovedClock

    def ask(self, method: str, path: str, body: bytes | None = None) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, {"Host": "pki.corp.example"})
            answer = connection.getresponse()
            headers = (answer.getheader("X-Cache", ""), answer.getheader("Cache-Control", ""))
            return Answer(answer.status, *headers, answer.read())
        finally:
            connection.close()

    def get(self, request: bytes) -> Answer:
        return self.ask("GET", f"/ocsp/issuing/{quote(base64.b64encode(request), safe='')}")

    def post(self, request: bytes) -> Answer:
        return self.ask("POST", "/ocsp/issuing", request)


@contextmanager
def caching(pki: PKI, folder: Path) -> Iterator[Cache]:
    port, clock = free_port(), MovedClock(folder / "clock")
    site = with_these(shown("nginx", "cache"), {
        "listen 80": f"listen 127.0.0.1:{port}", "/var/cache/nginx": str(folder),
        "127.0.0.1:8000": f"127.0.0.1:{pki.server.port}",
    })  # fmt: skip
    with nginx(folder, port, site, clock):
        yield Cache(pki, port, clock)


def about(pki: PKI, leaf: Leaf, nonce: bytes = b"") -> bytes:
    issuer = x509.load_pem_x509_certificate(pki.issuing.read_bytes())
    asked = ocsp.OCSPRequestBuilder().add_certificate(leaf.certificate, issuer, hashes.SHA1())
    if nonce:
        asked = asked.add_extension(x509.OCSPNonce(nonce), critical=False)
    return asked.build().public_bytes(Encoding.DER)


@both_servers
@pytest.mark.row("F131")
def test_a_revocation_is_true_through_it_when_it_has_to_ask_again(pki: PKI, tmp_path: Path) -> None:
    leaf = pki.issue(tmp_path)
    request = about(pki, leaf)
    with caching(pki, tmp_path) as cache:
        first, second = cache.get(request), cache.get(request)
        assert (first.cache, second.cache) == ("MISS", "HIT")
        assert first.body == second.body
        assert first.control == f"max-age={LONGEST},public,no-transform,must-revalidate"
        pki.revoke(leaf)
        assert cache.post(request).says is Status.REVOKED, "at once where nothing is kept"
        assert cache.get(about(pki, leaf, b"n" * 16)).says is Status.REVOKED
        kept = cache.get(request)
        assert (kept.cache, kept.says) == ("HIT", Status.GOOD)
        cache.clock.move(LONGEST + 1)
        assert cache.get(request).says is Status.REVOKED


@both_servers
def test_what_has_not_changed_is_kept_on_without_being_sent_again(pki: PKI, tmp_path: Path) -> None:
    request = about(pki, pki.issue(tmp_path))
    with caching(pki, tmp_path) as cache:
        first = cache.get(request)
        cache.clock.move(LONGEST + 1)
        again = cache.get(request)
        assert (again.cache, again.body) == ("REVALIDATED", first.body)
        assert cache.get(request).cache == "HIT"


@both_servers
@pytest.mark.row("F138")
def test_a_crl_follows_as_soon(pki: PKI, tmp_path: Path) -> None:
    leaf = pki.issue(tmp_path)

    def is_listed(answer: Answer) -> bool:
        crl = x509.load_der_x509_crl(answer.body)
        return crl.get_revoked_certificate_by_serial_number(leaf.certificate.serial_number) is not None

    with caching(pki, tmp_path) as cache:
        path = "/crl/issuing/1.crl"
        assert [cache.ask("GET", path).cache for _ in range(2)] == ["MISS", "HIT"]
        pki.revoke(leaf)
        kept = cache.ask("GET", path)
        assert (kept.cache, is_listed(kept)) == ("HIT", False)
        cache.clock.move(LONGEST + 1)
        assert is_listed(cache.ask("GET", path))


@both_servers
def test_what_must_not_be_kept_is_not(pki: PKI, tmp_path: Path) -> None:
    leaf = pki.issue(tmp_path)
    plain, with_nonce = about(pki, leaf), about(pki, leaf, b"n" * 16)
    with caching(pki, tmp_path) as cache:
        asks: list[Callable[[], Answer]] = [
            lambda: cache.get(with_nonce),
            lambda: cache.get(b"\x30\x00"),  # malformedRequest
            lambda: cache.ask("GET", "/ocsp/nobody/MAA="),
            lambda: cache.post(plain),
            lambda: cache.post(with_nonce),
            lambda: cache.ask("GET", "/crl/issuing/9.crl"),  # 404
        ]
        for ask in asks:
            assert "HIT" not in [ask().cache for _ in range(3)]
            assert ask().control == "no-store"


@both_servers
def test_two_slashes_come_through(pki: PKI, tmp_path: Path) -> None:
    """As they are, in a request that nothing was escaped in."""
    chance = Random(1)
    while True:
        asked = ocsp.OCSPRequestBuilder().add_certificate_by_hash(
            chance.randbytes(20), chance.randbytes(20), chance.getrandbits(100), hashes.SHA1()
        )
        text = base64.b64encode(asked.build().public_bytes(Encoding.DER)).decode()
        if "//" in text and "+" in text and text.endswith("="):
            break
    with caching(pki, tmp_path) as cache:
        answer = cache.ask("GET", f"/ocsp/issuing/{text}")
        # Another issuer's certificate: read to the end, and not ours. What was spoilt would be malformed.
        assert ocsp.load_der_ocsp_response(answer.body).response_status is ocsp.OCSPResponseStatus.UNAUTHORIZED


def test_nobody_is_answered_from_the_past(tmp_path: Path) -> None:
    """While the server is away, what has to be asked again is not to be had."""
    for name in ("pki", "cache"):
        (tmp_path / name).mkdir()
    with running_pki(tmp_path / "pki", "ec", "gunicorn") as pki:
        request = about(pki, pki.issue(tmp_path))
        with caching(pki, tmp_path / "cache") as cache:
            assert cache.get(request).says is Status.GOOD
            pki.server.tree.destroy()
            assert cache.get(request).cache == "HIT"
            cache.clock.move(LONGEST + 1)
            assert cache.get(request).status == 502
