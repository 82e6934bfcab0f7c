"""What the processes of these tests do. Each says in a log what it was told, after it was told."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from cryptography import x509

from pkiconf.errors import Conflict, PkiconfError, Unavailable
from pkiconf.model.certificate import CertificateID
from pkiconf.model.request import Issued, Overrides
from pkiconf.model.revocation import RevocationReason
from pkiconf.services import Services
from tests.processes import Log
from tests.wholeness import ask, issuers, opened
from tests.world import OPERATOR

THREADS = 4


def in_threads(work: Callable[[int], None], count: int = THREADS) -> None:
    """Ends the process with status 1 when one of them raises."""
    failures: list[BaseException] = []

    def guarded(number: int) -> None:
        try:
            work(number)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def issue(services: Services, csr: bytes, template: str = "issuing/web") -> Issued:
    number = services.requests.submit(template, csr, OPERATOR)
    outcome = services.requests.sign(number, Overrides(), OPERATOR)
    assert isinstance(outcome, Issued), outcome
    return outcome


def issue_and_revoke(state: Path, url: str | None, csr: bytes, log: Log, number: int) -> None:
    """For ever: certificates, every third of them revoked, and now and then a CRL."""
    with opened(state, url) as services:

        def work(thread: int) -> None:
            while True:
                issued = issue(services, csr)
                log.say("issued", issued.id.issuer_id, issued.id.serial_number, issued.der.hex())
                chance = random.random()
                if chance < 0.33:
                    services.revocations.revoke(issued.id, RevocationReason.SUPERSEDED, OPERATOR)
                    log.say("revoked", issued.id.issuer_id, issued.id.serial_number)
                if chance < 0.05:
                    log.say("crl", issued.id.issuer_id, services.crls.current(issued.id.issuer_id).number)

        in_threads(work)


def revoke_all(state: Path, url: str | None, ids: list[list[CertificateID]], log: Log, number: int) -> None:
    """The list of this number, or the only one, in an order of this process's own."""
    with opened(state, url) as services:
        mine = list(ids[number % len(ids)])
        random.Random(number).shuffle(mine)
        log.say("ready")
        _wait_for_others(log, "ready")
        for certificate in mine:
            try:
                services.revocations.revoke(certificate, RevocationReason.KEY_COMPROMISE, OPERATOR)
                log.say("revoked", certificate.serial_number)
            except Conflict:
                log.say("late", certificate.serial_number)


def _wait_for_others(log: Log, word: str, count: int = 8) -> None:
    deadline = time.monotonic() + 60
    while sum(line[0] == word for line in log.lines()) < count and time.monotonic() < deadline:
        time.sleep(0.005)


def ask_for_ever(state: Path, url: str | None, serials: list[int], log: Log, number: int) -> None:
    """OCSP answers, each with the time at which it was asked for and what it said."""
    with opened(state, url) as services:
        issuer = next(issuer for issuer in issuers(services) if issuer.slug == "issuing")
        while True:
            for serial in serials:
                began = time.monotonic_ns()
                log.say(began, serial, ask(services, issuer, serial).certificate_status.name)


def revoke_and_list(state: Path, url: str | None, ids: list[CertificateID], log: Log, number: int) -> None:
    """Revoke one, then look whether the CRL that is served now has it."""
    with opened(state, url) as services:
        log.say("ready")
        _wait_for_others(log, "ready", 4)
        for certificate in ids[number::4]:
            services.revocations.revoke(certificate, RevocationReason.SUPERSEDED, OPERATOR)
            served = services.crls.current(certificate.issuer_id)
            crl = x509.load_der_x509_crl(served.der)
            listed = crl.get_revoked_certificate_by_serial_number(certificate.serial_number) is not None
            log.say("crl", served.number, "listed" if listed else "missing", certificate.serial_number)


def make_crls(state: Path, url: str | None, issuer_id: int, rounds: int, log: Log, number: int) -> None:
    """New CRLs from several threads, whether they are due or not."""
    with opened(state, url) as services:

        def work(thread: int) -> None:
            for _ in range(rounds):
                made = services.crls.make(issuer_id)
                log.say("made", made.number, made.covers_epoch)

        in_threads(work, 2)


def issue_and_revoke_whatever_happens(state: Path, url: str | None, csr: bytes, templates: list[str], log: Log) -> None:
    """For ever, also while the database is away: certificates, every second of them revoked after a moment. A line
    says when a revocation was acknowledged, by the monotonic clock that all processes share."""
    with suppress(Unavailable), opened(state, url) as services:  # the database may be away just now

        def work(thread: int) -> None:
            while True:
                try:
                    template = random.choice(templates)
                    issued = issue(services, csr, template)
                    log.say("issued", issued.id.serial_number, template.partition("/")[0], issued.der.hex())
                    time.sleep(random.uniform(0, 0.1))
                    if random.random() < 0.5:
                        services.revocations.revoke(issued.id, RevocationReason.SUPERSEDED, OPERATOR)
                        log.say("revoked", issued.id.serial_number, time.monotonic_ns())
                except PkiconfError:
                    time.sleep(0.1)

        in_threads(work, 2)
