"""ACME clients at work while server, worker and database are killed under them: nothing acknowledged is lost or done
twice, and no nonce is accepted twice."""

from __future__ import annotations

import base64
import http.client
import random
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from pkiconf.services import Services
from tests.acme_client import Answer, Client, csr_for
from tests.acme_world import challenge_responder, name_server
from tests.concurrency.killing import Kept, at_work, killable_postgresql
from tests.ports import free_port
from tests.serving.running import Installation, eventually
from tests.wholeness import check_whole, opened, rows, settle, stored_certificates

pytestmark = pytest.mark.timeout(3600)  # with --soak

_HMAC = base64.urlsafe_b64encode(bytes(range(32))).rstrip(b"=").decode()
_DECLARATION = """
settings:
  base_url: http://127.0.0.1:{port}
  validation:
    resolvers: ["127.0.0.1:{dns}"]
    http_port: {http}
    allowed_networks: [127.0.0.0/8]
    attempts: 10
authorities:
  - {{ name: root, key: {{ type: ec, curve: p256 }}, default_templates: [] }}
  - {{ name: issuing, issuer: root, key: {{ type: ec, curve: p256 }} }}
acme_policies:
  - name: everyone
    template: issuing/web-server
    preapproved_domains: ["*.known.example"]
    challenges: [http-01]
    external_account_bindings:
      - {{ name: clients, max_accounts: null, key_id: clients, hmac_key: !env TEST_HMAC }}
"""
_LOST = (OSError, http.client.HTTPException)


@dataclass
class Told:
    """What clients were told: `orders` by URL that the server acknowledged, `certificates` that it handed out, and
    some of the requests whose nonces it accepted."""

    orders: set[str] = field(default_factory=set)
    certificates: dict[str, bytes] = field(default_factory=dict)
    spent: list[tuple[str, bytes]] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    replayed: int = 0

    def heard(self, url: str, request: bytes, answer: Answer) -> None:
        # Of an answer that says the server could not do it, nobody knows whether it came to the nonce.
        if answer.status < 500 and random.random() < 0.2:
            self.spent.append((url, request))


@dataclass
class Enrolment:
    """One client that gets one certificate after another, whatever happens to the server."""

    number: int
    directory: str
    tokens: dict[str, str]
    told: Told
    stopping: Callable[[], bool]

    def run(self) -> None:
        client = Client(self.directory, heard=self.told.heard, timeout=20)
        try:
            self._insist(client, lambda: client.register(("clients", _HMAC)), 200, 201)
            count = 0
            while not self.stopping():
                domain = "known.example" if count % 2 else "proved.example"
                self._enrol(client, [f"c{self.number}-{count}.{domain}"])
                count += 1
        except BaseException as error:
            self.told.wrong.append(f"client {self.number}: {error!r}")
        finally:
            client.forget()

    def _enrol(self, client: Client, names: list[str]) -> None:
        url = self._insist(client, lambda: client.order(names), 201).headers["location"]
        self.told.orders.add(url)
        private = ec.generate_private_key(ec.SECP256R1())
        while (order := self._insist(client, lambda: client.post(url), 200).json)["status"] != "valid":
            if order["status"] == "pending":
                self._prove(client, order["authorizations"])
            elif order["status"] == "ready":
                self._insist(client, lambda: client.post(order["finalize"], {"csr": csr_for(names, private)}), 200, 403)
            else:
                assert order["status"] == "processing", order
            time.sleep(0.02)
        chain = self._insist(client, lambda: client.post(order["certificate"]), 200).body
        certificate = x509.load_pem_x509_certificates(chain)[0]
        assert certificate.public_key() == private.public_key()
        self.told.certificates[url] = chain

    def _prove(self, client: Client, authorizations: list[str]) -> None:
        for url in authorizations:
            found = self._insist(client, lambda url=url: client.post(url), 200).json  # type: ignore[misc]
            for challenge in found["challenges"]:
                if found["status"] == "pending" and challenge["status"] == "pending":
                    self.tokens[challenge["token"]] = client.key_authorization(challenge["token"])
                    self._insist(client, lambda at=challenge["url"]: client.post(at, {}), 200, 400)  # type: ignore[misc]

    def _insist(self, client: Client, ask: Callable[[], Answer], *wanted: int) -> Answer:
        """Until it is answered with one of the wanted statuses; a server that is away or busy is asked again."""
        for _ in range(600):
            with suppress(*_LOST):
                answer = ask()
                if answer.status < 500:
                    assert answer.status in wanted, (answer.status, answer.body)
                    return answer
            client.forget()
            time.sleep(0.1)
        raise AssertionError("the server stays away")


def _replay(directory: str, told: Told, stopping: Callable[[], bool]) -> None:
    """Spent requests, sent once more, also by way of a server that was killed in between."""
    client = Client(directory, timeout=20)
    while not stopping():
        time.sleep(0.02)
        if not told.spent:
            continue
        url, request = random.choice(told.spent)
        try:
            answer = client.exchange("POST", url, request)
        except _LOST:
            client.forget()
            continue
        if answer.status < 500:
            told.replayed += 1
            if answer.problem != "badNonce":
                told.wrong.append(f"a spent nonce was accepted at {url}: {answer.status} {answer.body[:200]!r}")
    client.forget()


@pytest.fixture
def place(tmp_path: Path) -> Installation:
    return Installation(tmp_path, {"TEST_HMAC": _HMAC})


def test_killed_on_sqlite(place: Installation, soak: bool) -> None:
    _soak(place, soak, lambda: None)


def test_killed_on_postgresql(place: Installation, soak: bool) -> None:
    """A server of this test's own, which forgets nothing and is killed too."""
    with killable_postgresql() as (url, crash):
        place.settings["PKICONF_DATABASE_URL"] = url
        _soak(place, soak, crash)


def _soak(place: Installation, soak: bool, crash_database: Callable[[], None]) -> None:
    seconds, clients, port = (300, 16, free_port()) if soak else (12, 4, free_port())
    tokens: dict[str, str] = {}
    chance, told = random.Random(20300102), Told()
    over, closed = threading.Event(), threading.Event()
    with ExitStack() as stack:
        http_port = stack.enter_context(challenge_responder(tokens))
        dns = stack.enter_context(name_server())
        (place.folder / "pki.yaml").write_text(_DECLARATION.format(port=port, dns=dns, http=http_port))
        place.run("apply", "--yes", "pki.yaml")
        server, worker = Kept(place, ("serve", "--bind", f"127.0.0.1:{port}")), Kept(place, ("worker",))
        directory = f"http://127.0.0.1:{port}/acme/directory"
        stack.enter_context(at_work(lambda: server.keep(closed.is_set), lambda: worker.keep(closed.is_set)))
        stack.callback(closed.set)
        enrolments = [Enrolment(number, directory, tokens, told, over.is_set) for number in range(clients)]
        with at_work(*(one.run for one in enrolments), lambda: _replay(directory, told, over.is_set)):
            try:
                eventually(lambda: told.certificates or told.wrong, 300)
                end = time.monotonic() + seconds
                kills: list[Callable[[], None]] = [
                    lambda: server.kill(chance, whole=False), lambda: server.kill(chance, whole=True),
                    lambda: worker.kill(chance, whole=True), crash_database,
                ]  # fmt: skip
                while time.monotonic() < end and not told.wrong:
                    time.sleep(chance.uniform(0.3, 2.5))
                    chance.choice(kills)()
            finally:
                over.set()
        assert told.wrong == []
    with opened(place.state, place.settings.get("PKICONF_DATABASE_URL")) as services:
        settle(services)
        check_whole(services)
        _check_told(services, told)
    print(f"{len(told.certificates)} certificates, {told.replayed} replays, {server.deaths}+{worker.deaths} deaths")


def _check_told(services: Services, told: Told) -> None:
    stored = set(stored_certificates(services).values())
    for chain in told.certificates.values():
        assert x509.load_pem_x509_certificates(chain)[0].public_bytes(Encoding.DER) in stored
    statuses = dict(rows(services, "SELECT name, status FROM acme_order"))
    assert told.orders <= told.certificates.keys()
    assert {statuses[url.rpartition("/")[2]] for url in told.orders} == {"valid"}
    issued = rows(services, "SELECT origin_id FROM certificate WHERE origin_kind = 'acme' AND status = 'good'")
    assert sorted(name for (name,) in issued) == sorted(name for name, status in statuses.items() if status == "valid")
    assert told.replayed > 0
