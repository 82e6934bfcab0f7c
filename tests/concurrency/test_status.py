"""Whoever asks for status, lists and timestamps while servers, workers, revokers and the database are killed and clocks
are moved: nobody hears `good` after a revocation was acknowledged, no serial and no number comes twice, and no time
comes after a later one."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pytest
from cryptography import x509

from tests.concurrency.asking import Client, Heard, for_lists, for_status, for_timestamps, out_of_order
from tests.concurrency.children import issue_and_revoke_whatever_happens
from tests.concurrency.killing import Kept, at_work, killable_postgresql
from tests.concurrency.moved_clock import MovedClock
from tests.ports import free_port
from tests.processes import Log, start
from tests.serving.running import Installation, eventually
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
    timestamp: {{ enabled: true, record: count }}
    crl: {{ partitions: 2, delta: 1h }}
  - name: ordered
    issuer: root
    key: {{ curve: p256 }}
    default_templates: []
    timestamp: {{ enabled: true, ordering: true, accuracy: 1s }}
templates:
  - {{ name: web, authority: issuing }}
  - {{ name: web, authority: divided }}
"""
_AUTHORITIES = ("issuing", "divided")
_STAMPING = ("issuing", "divided", "ordered")
_LISTS = ("issuing/1.crl", "divided/1.crl", "divided/1/1.crl", "divided/1/2.crl", "divided/1/delta.crl",
          "divided/1/1-delta.crl", "divided/1/2-delta.crl")  # fmt: skip
_RECENT = 40
_BEHIND = 5  # seconds that the clock is set back by
_PATIENCE = 300
_CUT = 1_000_000
"""Microseconds that a time in whole seconds leaves out, and as many the clock may go back unnoticed."""


@dataclass
class Told:
    """What the revoking processes have said in their log. `recent` are serials with their authority."""

    log: Log
    issued: dict[int, bytes] = field(default_factory=dict)
    acknowledged: dict[int, int] = field(default_factory=dict)
    recent: list[tuple[int, str]] = field(default_factory=list)
    twice: list[int] = field(default_factory=list)
    _read: int = 0

    def keep(self, stopping: Callable[[], bool]) -> None:
        while not stopping():
            self.read()
            time.sleep(0.05)

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


@dataclass
class Done:
    """What has been done so far."""

    heard: Heard
    told: Told

    def __post_init__(self) -> None:
        self.answers, self.tokens, self.revoked = self._now()

    def is_followed_by(self, number: int) -> bool:
        """Whether so many answers and tokens came since, and a revocation or some; or something went wrong."""
        answers, tokens, revoked = self._now()
        return bool(self.heard.wrong) or (
            answers >= self.answers + number
            and tokens >= self.tokens + number
            and revoked >= self.revoked + max(1, number // 10)
        )

    def _now(self) -> tuple[int, int, int]:
        return self.heard.answers, len(self.heard.tokens), len(self.told.acknowledged)


def _move(clock: MovedClock, heard: Heard, stopping: Callable[[], bool]) -> None:
    """Set it back until somebody is told that no time can be told, and right again until there are tokens again."""

    def until(true: Callable[[], bool]) -> None:
        while not stopping() and not true():
            time.sleep(0.02)

    while not stopping():
        until(partial(heard.has_tokens, len(heard.tokens) + 20))
        unsure, given = heard.unsure, len(heard.tokens)
        clock.set(-_BEHIND)
        # A server that begins after a silence as long as this knows nothing that is later.
        until(partial(heard.is_unsure_or_has_tokens, unsure, given + 100))
        clock.set(0)


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
    seconds, enough, ports = (300 if soak else 10), (40 if soak else 5), (free_port(), free_port())
    chance, heard, told = random.Random(20300102), Heard(), Told(Log(place.folder / "log"))
    (place.folder / "pki.yaml").write_text(_DECLARATION.format(port=ports[0]))
    place.run("apply", "--yes", "pki.yaml")
    issuers = {name: _certificate(place, name) for name in _AUTHORITIES}
    url, csr = place.settings.get("PKICONF_DATABASE_URL"), make_csr()
    templates = [f"{authority}/web" for authority in _AUTHORITIES]
    clock, moved = MovedClock.of(place)
    servers = [
        Kept(moved, ("serve", "--bind", f"127.0.0.1:{port}", "--status-server", name))
        for port, name in zip(ports, ("gunicorn", "granian"), strict=True)
    ]
    workers = [Kept(place, ("worker",)) for _ in range(2)]
    revokers = [
        KeptRevoker(lambda: start(issue_and_revoke_whatever_happens, place.state, url, csr, templates, told.log))
        for _ in range(2)
    ]
    over = threading.Event()
    acts = [*[for_status(issuers, told)] * 3, for_lists(_LISTS), *[for_timestamps(_STAMPING)] * 3]
    clients = [Client(ports, over.is_set, heard, act) for act in acts]
    kept = [lambda one=one: one.keep(over.is_set) for one in (*servers, *workers, *revokers, told)]
    kills: list[Callable[[], None]] = [
        lambda: chance.choice(servers).kill(chance, whole=False),
        lambda: chance.choice(servers).kill(chance, whole=True),
        lambda: chance.choice(workers).kill(chance, whole=True), lambda: chance.choice(revokers).kill(), *crashes,
    ]  # fmt: skip
    with at_work(*kept, *(client.run for client in clients), lambda: _move(clock, heard, over.is_set)):
        try:
            eventually(lambda: heard.wrong or _begun(heard, told), _PATIENCE)
            end = time.monotonic() + seconds
            while time.monotonic() < end and not heard.wrong:
                before = Done(heard, told)
                chance.choice(kills)()
                # Mostly the next one waits until work goes on: else little is done on a slow machine but to begin.
                if chance.random() < 0.8:
                    eventually(partial(before.is_followed_by, enough), _PATIENCE)
                time.sleep(chance.uniform(0, 2 if soak else 0.2))
            eventually(lambda: heard.wrong or (heard.unsure and heard.by_get), _PATIENCE)
        finally:
            over.set()
    assert heard.wrong == []
    told.read()
    _check(place, heard, told)
    deaths = tuple(sum(one.deaths for one in group) for group in (servers, workers, revokers))
    print(
        f"{len(told.issued)} certificates, {len(told.acknowledged)} revoked; {len(heard.good)} good and {heard.revoked}"
        f" revoked answers, {heard.by_get} by GET; {sum(map(len, heard.lists.values()))} lists; {len(heard.tokens)}"
        f" tokens, {heard.unsure} times none because the clock went back; deaths {deaths}"
    )


def _certificate(place: Installation, authority: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(place.run("authority", "export", authority).stdout.encode())


def _begun(heard: Heard, told: Told) -> bool:
    stamped = {token.authority for token in heard.tokens}
    return bool(heard.good and heard.lists and told.acknowledged and stamped.issuperset(_STAMPING))


def _check(place: Installation, heard: Heard, told: Told) -> None:
    stale = [serial for asked, serial in heard.good if asked > told.acknowledged.get(serial, asked)]
    assert stale == []
    assert told.twice == []
    forms: dict[tuple[str, int], set[bytes]] = {}
    for where, made in heard.lists.items():  # full lists, parts and deltas of an issuer share one sequence
        for number, found in made.items():
            forms.setdefault((where.partition("/")[0], number), set()).update(found)
    assert {len(found) for found in forms.values()} == {1}, "one number, one list"
    assert told.acknowledged
    with opened(place.state, place.settings.get("PKICONF_DATABASE_URL")) as services:
        settle(services)
        check_whole(services, clock_back=_BEHIND)
        stored = stored_certificates(services)
        by_serial = {serial: der for (_, serial), der in stored.items()}
        assert len(by_serial) == len(stored), "no serial twice, whoever's it is"
        assert {serial: by_serial[serial] for serial in told.issued} == told.issued
        recorded = {int.from_bytes(serial) for (serial,) in rows(services, "SELECT serial FROM timestamp_token")}
        counted = sum(number for (number,) in rows(services, "SELECT number FROM timestamp_count"))
    _check_tokens(heard, recorded, counted)


def _check_tokens(heard: Heard, recorded: set[int], counted: int) -> None:
    serials = [token.serial for token in heard.tokens]
    assert len(set(serials)) == len(serials)
    listed = [token for token in heard.tokens if token.authority != "divided"]
    assert recorded.issuperset(token.serial for token in listed), "every token that was handed out is recorded"
    assert counted >= len(serials) - len(listed), "or counted"
    ordered = [token for token in listed if token.authority == "ordered"]
    assert len({token.at for token in ordered}) == len(ordered)
    assert list(out_of_order(ordered, -1)) == []
    assert list(out_of_order(listed, 2 * _CUT)) == []
