"""Strangers who ask for status, lists and timestamps without end, and remember what they were told."""

from __future__ import annotations

import base64
import hashlib
import http.client
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple, Protocol
from urllib.parse import quote

from asn1crypto import algos, cms, core, tsp
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

LOST = (OSError, http.client.HTTPException)


class Response(core.Sequence):  # type: ignore[misc]
    """asn1crypto's own TimeStampResp demands a token."""

    _fields: ClassVar = [("status", tsp.PKIStatusInfo), ("time_stamp_token", cms.ContentInfo, {"optional": True})]


class Token(NamedTuple):
    """`asked` and `heard` are nanoseconds on the clock that nobody moves, `at` microseconds since 1970."""

    authority: str
    serial: int
    at: int
    asked: int
    heard: int


@dataclass
class Heard:
    """What was heard: `good` holds when it was asked (nanoseconds) and of which serial; `lists` the digests of CRLs by
    where they are and their number; `unsure` how often no time could be told, `by_get` how many answers came by GET."""

    good: list[tuple[int, int]] = field(default_factory=list)
    revoked: int = 0
    by_get: int = 0
    lists: dict[str, dict[int, set[bytes]]] = field(default_factory=dict)
    tokens: list[Token] = field(default_factory=list)
    unsure: int = 0
    wrong: list[str] = field(default_factory=list)

    @property
    def answers(self) -> int:
        return len(self.good) + self.revoked

    def has_tokens(self, number: int) -> bool:
        return len(self.tokens) >= number

    def is_unsure_or_has_tokens(self, unsure: int, number: int) -> bool:
        return self.unsure > unsure or self.has_tokens(number)


class Certificates(Protocol):
    """`recent` are serials with their authority."""

    recent: list[tuple[int, str]]


@dataclass
class Client:
    """One that goes on asking any of the servers, over connections that it keeps as long as they hold."""

    ports: Sequence[int]
    stopping: Callable[[], bool]
    heard: Heard
    act: Callable[[Client], None]
    connections: dict[int, http.client.HTTPConnection] = field(default_factory=dict)

    def run(self) -> None:
        while not self.stopping():
            try:
                self.act(self)
            except LOST:
                time.sleep(0.02)
            except Exception as error:
                self.heard.wrong.append(repr(error))
                return
        for port in self.ports:
            self._forget(port)

    def _forget(self, port: int) -> None:
        if (connection := self.connections.pop(port, None)) is not None:
            connection.close()

    def ask(
        self, method: str, target: str, body: bytes | None = None, media_type: str = "", *, missing: bool = False
    ) -> bytes | None:
        """The body of an answer; None for one that says that it cannot be had now."""
        port = random.choice(self.ports)
        connection = self.connections.setdefault(port, http.client.HTTPConnection("127.0.0.1", port, timeout=20))
        try:
            connection.request(method, target, body, {"Content-Type": media_type} if media_type else {})
            answer = connection.getresponse()
            content = answer.read()
        except LOST:
            self._forget(port)
            raise
        refused = answer.status >= 500 or (missing and answer.status == 404)
        assert answer.status == 200 or refused, (answer.status, content[:200])
        return content if answer.status == 200 else None


def for_status(issuers: Mapping[str, x509.Certificate], certificates: Certificates) -> Callable[[Client], None]:
    """Of certificates that were issued of late: by GET and POST, some with a nonce."""
    names = {}
    for authority, issuer in issuers.items():
        key = x509.SubjectKeyIdentifier.from_public_key(issuer.public_key()).key_identifier  # SHA-1 of its bits
        names[authority] = (hashlib.sha1(issuer.subject.public_bytes()).digest(), key)

    def act(client: Client) -> None:
        if not certificates.recent:
            time.sleep(0.02)
            return
        serial, authority = random.choice(certificates.recent)
        builder = ocsp.OCSPRequestBuilder().add_certificate_by_hash(*names[authority], serial, hashes.SHA1())
        if random.random() < 0.2:
            builder = builder.add_extension(x509.OCSPNonce(random.randbytes(32)), critical=False)
        request, by_get = builder.build().public_bytes(Encoding.DER), random.random() < 0.4
        asked = time.monotonic_ns()
        if by_get:
            body = client.ask("GET", f"/ocsp/{authority}/{quote(base64.b64encode(request).decode(), safe='')}")
        else:
            body = client.ask("POST", f"/ocsp/{authority}", request, "application/ocsp-request")
        answer = ocsp.load_der_ocsp_response(body) if body is not None else None
        if answer is None or answer.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
            return
        assert answer.serial_number == serial
        client.heard.by_get += by_get
        if answer.certificate_status is ocsp.OCSPCertStatus.GOOD:
            client.heard.good.append((asked, serial))
        else:
            assert answer.certificate_status is ocsp.OCSPCertStatus.REVOKED, answer.certificate_status
            client.heard.revoked += 1

    return act


def for_lists(places: Sequence[str]) -> Callable[[Client], None]:
    """There may be one of them only: another would hear older lists after newer ones."""

    def act(client: Client) -> None:
        for place in places:
            body = client.ask("GET", f"/crl/{place}", missing=True)
            if body is None:
                continue  # also while no certificate names that part yet
            crl = x509.load_der_x509_crl(body)
            number = crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
            made = client.heard.lists.setdefault(place, {})
            made.setdefault(number, set()).add(hashlib.sha256(body).digest())
            assert number == max(made), f"{place}: an older list after a newer one"
        time.sleep(0.01)

    return act


def for_timestamps(authorities: Sequence[str]) -> Callable[[Client], None]:
    def act(client: Client) -> None:
        authority = random.choice(authorities)
        imprint = tsp.MessageImprint(
            {"hash_algorithm": algos.DigestAlgorithm({"algorithm": "sha256"}), "hashed_message": random.randbytes(32)}
        )
        request = tsp.TimeStampReq({"version": 1, "message_imprint": imprint, "nonce": random.getrandbits(63)})
        asked = time.monotonic_ns()
        body = client.ask("POST", f"/tsa/{authority}", request.dump(), "application/timestamp-query")
        if body is None:
            return
        response = Response.load(body)
        if response["status"]["status"].native != "granted":
            client.heard.unsure += "time_not_available" in response["status"]["fail_info"].native
            return
        info = response["time_stamp_token"]["content"]["encap_content_info"]["content"].parsed
        assert info["nonce"].native == request["nonce"].native
        at = round(info["gen_time"].native.timestamp() * 1_000_000)
        client.heard.tokens.append(Token(authority, info["serial_number"].native, at, asked, time.monotonic_ns()))

    return act


def out_of_order(tokens: Sequence[Token], allowed: int) -> Iterator[tuple[Token, Token]]:
    """Those that say a time more than `allowed` microseconds before that of one that was there before they were asked
    for, which stands behind each. A negative one asks for times that are later."""
    heard = sorted(tokens, key=lambda one: one.heard)
    place, latest = 0, None
    for one in sorted(tokens, key=lambda one: one.asked):
        while place < len(heard) and heard[place].heard < one.asked:
            latest = max(latest or heard[place], heard[place], key=lambda found: found.at)
            place += 1
        if latest is not None and one.at + allowed < latest.at:
            yield one, latest
