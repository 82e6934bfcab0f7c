"""Whoever asks for status, lists and timestamps while servers, workers, revokers and the database are killed: nobody
hears `good` after a revocation was acknowledged, and no serial and no number comes twice."""

from __future__ import annotations

import hashlib
import http.client
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pytest
from asn1crypto import algos, core, tsp
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from tests.concurrency.children import issue_and_revoke_whatever_happens
from tests.concurrency.killing import Kept, at_work, killable_postgresql
from tests.processes import Log, start
from tests.serving.running import Installation, eventually, free_port
from tests.wholeness import check_whole, opened, rows, settle, stored_certificates
from tests.world import make_csr

pytestmark = pytest.mark.timeout(3600)  # with --soak

_DECLARATION = """
settings: {{ base_url: "http://127.0.0.1:{port}" }}
authorities:
  - {{ name: root, key: {{ curve: p256 }}, default_templates: [] }}
  - name: issuing
    issuer: root
    key: {{ curve: p256 }}
    default_templates: []
    timestamp: {{ enabled: true }}
    ocsp: {{ presign: [sha1] }}
  - name: divided
    issuer: root
    key: {{ curve: p256 }}
    default_templates: []
    crl: {{ partitions: 2, delta: 1h }}
templates:
  - {{ name: web, authority: issuing }}
  - {{ name: web, authority: divided }}
"""
_AUTHORITIES = ("issuing", "divided")
_LISTS = ("issuing/1.crl", "divided/1.crl", "divided/1/1.crl", "divided/1/2.crl", "divided/1/delta.crl",
          "divided/1/1-delta.crl", "divided/1/2-delta.crl")  # fmt: skip
_LOST = (OSError, http.client.HTTPException)
_RECENT = 40


@dataclass
class Heard:
    """What was heard: `good` holds when it was asked (nanoseconds) and of which serial; `lists` the digests of CRLs by
    where they are and their number, `tokens` the serials of timestamps."""

    good: list[tuple[int, int]] = field(default_factory=list)
    revoked: int = 0
    lists: dict[str, dict[int, set[bytes]]] = field(default_factory=dict)
    tokens: list[int] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


@dataclass
class Client:
    """One that goes on asking, over a connection that it keeps as long as it holds."""

    port: int
    stopping: Callable[[], bool]
    heard: Heard
    act: Callable[[Client], None]
    connection: http.client.HTTPConnection | None = None

    def run(self) -> None:
        while not self.stopping():
            try:
                self.act(self)
            except _LOST:
                self.forget()
                time.sleep(0.02)
            except Exception as error:
                self.heard.wrong.append(repr(error))
                return
        self.forget()

    def forget(self) -> None:
        if self.connection is not None:
            self.connection.close()
        self.connection = None

    def ask(
        self, method: str, target: str, body: bytes | None = None, media_type: str = "", *, missing: bool = False
    ) -> bytes | None:
        """The body of an answer; None for one that says that it cannot be had now."""
        if self.connection is None:
            self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        self.connection.request(method, target, body, {"Content-Type": media_type} if media_type else {})
        answer = self.connection.getresponse()
        content = answer.read()
        refused = answer.status >= 500 or (missing and answer.status == 404)
        assert answer.status == 200 or refused, (answer.status, content[:200])
        return content if answer.status == 200 else None


@dataclass
class Told:
    """What the revoking processes have said in their log. `recent` are serials with their authority."""

    log: Log
    issued: dict[int, bytes] = field(default_factory=dict)
    acknowledged: dict[int, int] = field(default_factory=dict)
    recent: list[tuple[int, str]] = field(default_factory=list)
    twice: list[int] = field(default_factory=list)
    _read: int = 0

    def read(self) -> None:
        """What came since the last time; a line that is not whole yet is left for the next."""
        if not self.log.path.exists():
            return
        with self.log.path.open("rb") as file:
            file.seek(self._read)
            new = file.read()
        new = new[: new.rfind(b"\n") + 1]
        self._read += len(new)
        for line in new.decode().splitlines():
            word, text, *more = line.split()
            serial = int(text)
            if word == "revoked":
                self.acknowledged[serial] = int(more[0])
                continue
            if serial in self.issued:
                self.twice.append(serial)
            self.issued[serial] = bytes.fromhex(more[1])
            self.recent = [*self.recent[1 - _RECENT :], (serial, more[0])]


@dataclass
class KeptRevoker:
    """A process that issues and revokes, started again whenever it has ended."""

    begin: Callable[[], ForkServerProcess]
    process: ForkServerProcess | None = None
    deaths: int = 0

    def keep(self, stopping: Callable[[], bool]) -> None:
        while not stopping():
            self.process = self.begin()
            while self.process.is_alive() and not stopping():
                time.sleep(0.02)
            self.kill()
            self.process.join(60)
            self.deaths += not stopping()

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()


def _ask_for_status(place: Installation, told: Told) -> Callable[[Client], None]:
    names: dict[str, tuple[bytes, bytes]] = {}
    for authority in _AUTHORITIES:
        issuer = x509.load_pem_x509_certificate(place.run("authority", "export", authority).stdout.encode())
        key = x509.SubjectKeyIdentifier.from_public_key(issuer.public_key()).key_identifier  # SHA-1 of its bits
        names[authority] = (hashlib.sha1(issuer.subject.public_bytes()).digest(), key)

    def act(client: Client) -> None:
        if not told.recent:
            time.sleep(0.02)
            return
        serial, authority = random.choice(told.recent)
        builder = ocsp.OCSPRequestBuilder().add_certificate_by_hash(*names[authority], serial, hashes.SHA1())
        if random.random() < 0.2:
            builder = builder.add_extension(x509.OCSPNonce(random.randbytes(32)), critical=False)
        asked = time.monotonic_ns()
        request = builder.build().public_bytes(Encoding.DER)
        body = client.ask("POST", f"/ocsp/{authority}", request, "application/ocsp-request")
        answer = ocsp.load_der_ocsp_response(body) if body is not None else None
        if answer is None or answer.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
            return
        if answer.certificate_status is ocsp.OCSPCertStatus.GOOD:
            client.heard.good.append((asked, serial))
        else:
            assert answer.certificate_status is ocsp.OCSPCertStatus.REVOKED, answer.certificate_status
            client.heard.revoked += 1

    return act


def _ask_for_lists(client: Client) -> None:
    for place in _LISTS:
        body = client.ask("GET", f"/crl/{place}", missing=True)
        if body is None:
            continue  # also while no certificate names that part yet
        crl = x509.load_der_x509_crl(body)
        number = crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
        made = client.heard.lists.setdefault(place, {})
        made.setdefault(number, set()).add(hashlib.sha256(body).digest())
        assert number == max(made), f"{place}: an older list after a newer one"
    time.sleep(0.01)


def _ask_for_timestamps(client: Client) -> None:
    imprint = tsp.MessageImprint(
        {"hash_algorithm": algos.DigestAlgorithm({"algorithm": "sha256"}), "hashed_message": random.randbytes(32)}
    )
    asked = tsp.TimeStampReq({"version": 1, "message_imprint": imprint, "nonce": random.getrandbits(63)})
    body = client.ask("POST", "/tsa/issuing", asked.dump(), "application/timestamp-query")
    if body is None:
        return
    response = tsp.TimeStampResp.load(body)
    if response["status"]["status"].native != "granted":
        return
    info = response["time_stamp_token"]["content"]["encap_content_info"]["content"].parsed
    assert info["nonce"].native == asked["nonce"].native
    assert isinstance(info["serial_number"], core.Integer)
    client.heard.tokens.append(info["serial_number"].native)


@pytest.fixture
def place(tmp_path: Path) -> Installation:
    return Installation(tmp_path)


def test_killed_on_sqlite(place: Installation, soak: bool) -> None:
    _soak(place, soak, ())


def test_killed_on_postgresql(place: Installation, soak: bool) -> None:
    with killable_postgresql() as (url, crash):
        place.settings["PKICONF_DATABASE_URL"] = url
        _soak(place, soak, (crash,))


def _soak(place: Installation, soak: bool, crashes: tuple[Callable[[], None], ...]) -> None:
    seconds, port = (300 if soak else 10), free_port()
    chance, heard, told = random.Random(20300102), Heard(), Told(Log(place.folder / "log"))
    (place.folder / "pki.yaml").write_text(_DECLARATION.format(port=port))
    place.run("apply", "--yes", "pki.yaml")
    ask_for_status = _ask_for_status(place, told)
    url, csr = place.settings.get("PKICONF_DATABASE_URL"), make_csr()
    templates = [f"{authority}/web" for authority in _AUTHORITIES]
    server = Kept(place, ("serve", "--bind", f"127.0.0.1:{port}"))
    workers = [Kept(place, ("worker",)) for _ in range(2)]
    revokers = [
        KeptRevoker(lambda: start(issue_and_revoke_whatever_happens, place.state, url, csr, templates, told.log))
        for _ in range(2)
    ]
    over = threading.Event()
    acts = [*[ask_for_status] * 3, _ask_for_lists, *[_ask_for_timestamps] * 2]
    clients = [Client(port, over.is_set, heard, act) for act in acts]
    kept = [lambda one=one: one.keep(over.is_set) for one in (server, *workers, *revokers)]
    kills: list[Callable[[], None]] = [
        lambda: server.kill(chance, whole=False), lambda: server.kill(chance, whole=True),
        lambda: chance.choice(workers).kill(chance, whole=True), lambda: chance.choice(revokers).kill(), *crashes,
    ]  # fmt: skip
    with at_work(*kept, *(client.run for client in clients)):
        try:
            eventually(lambda: heard.wrong or _begun(heard, told), 300)
            end = next_kill = time.monotonic()
            end += seconds
            while time.monotonic() < end and not heard.wrong:
                time.sleep(0.05)
                told.read()
                if time.monotonic() > next_kill:
                    chance.choice(kills)()
                    next_kill = time.monotonic() + chance.uniform(0.5, 8 if soak else 3)
        finally:
            over.set()
    assert heard.wrong == []
    told.read()
    _check(place, heard, told)
    deaths = (server.deaths, sum(one.deaths for one in workers), sum(one.deaths for one in revokers))
    lists = sum(map(len, heard.lists.values()))
    print(
        f"{len(told.issued)} certificates, {len(told.acknowledged)} revoked; {len(heard.good)} good and"
        f" {heard.revoked} revoked answers, {lists} lists, {len(heard.tokens)} tokens; deaths {deaths}"
    )


def _begun(heard: Heard, told: Told) -> bool:
    told.read()
    return bool(heard.tokens and heard.good and heard.lists)


def _check(place: Installation, heard: Heard, told: Told) -> None:
    stale = [serial for asked, serial in heard.good if asked > told.acknowledged.get(serial, asked)]
    assert stale == []
    assert told.twice == []
    assert len(set(heard.tokens)) == len(heard.tokens)
    forms = {(place, number): len(found) for place, made in heard.lists.items() for number, found in made.items()}
    assert set(forms.values()) == {1}, "one number, one list"
    assert told.acknowledged
    with opened(place.state, place.settings.get("PKICONF_DATABASE_URL")) as services:
        settle(services)
        check_whole(services)
        stored = stored_certificates(services)
        by_serial = {serial: der for (_, serial), der in stored.items()}
        assert len(by_serial) == len(stored), "no serial twice, whoever's it is"
        assert {serial: by_serial[serial] for serial in told.issued} == told.issued
        recorded = {int.from_bytes(serial) for (serial,) in rows(services, "SELECT serial FROM timestamp_token")}
        assert recorded.issuperset(heard.tokens), "every token that was handed out is recorded"
