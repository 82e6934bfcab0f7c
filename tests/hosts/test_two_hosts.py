"""Two hosts with one database: what one acknowledged the other knows, and neither does what the other does."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from random import Random

import pytest
from cryptography import x509
from cryptography.x509 import ocsp
from sqlalchemy import text

from pkiconf.clock import to_epoch
from pkiconf.model.request import Issued, Overrides
from pkiconf.model.revocation import RevocationReason
from pkiconf.steps import KILL_VARIABLE, Step
from pkiconf.store.database import Connection
from tests.acme_client import Client, csr_for
from tests.hosts.conftest import BASE_URL, PASSPHRASE, SERVICES, Site
from tests.hosts.network import PORT, WIRE, Host
from tests.revocation.pki import question
from tests.scep_client import Device, Wish, make_request, message, read_answer
from tests.serving.running import eventually
from tests.wholeness import check_whole, let_minutes_pass, rows, settle
from tests.world import OPERATOR, make_csr

Status = ocsp.OCSPCertStatus
DIRECTORY = f"{BASE_URL}/acme/p/everyone/directory"


def request(there: Host, method: str, target: str, body: bytes | None = None, media_type: str = "") -> bytes:
    connection = http.client.HTTPConnection(there.address, PORT, timeout=60)
    try:
        connection.request(method, target, body, {"Content-Type": media_type} if media_type else {})
        answer = connection.getresponse()
        content = answer.read()
    finally:
        connection.close()
    assert answer.status == 200, (answer.status, content)
    return content


def issue(site: Site, template: str, count: int) -> list[Issued]:
    issued, csr = [], make_csr()
    for _ in range(count):
        number = site.services.requests.submit(template, csr, OPERATOR)
        outcome = site.services.requests.sign(number, Overrides(), OPERATOR)
        assert isinstance(outcome, Issued)
        issued.append(outcome)
    return issued


def status(there: Host, authority: str, asked: bytes) -> ocsp.OCSPCertStatus:
    answer = request(there, "POST", f"/ocsp/{authority}", asked, "application/ocsp-request")
    return ocsp.load_der_ocsp_response(answer).certificate_status


def ids(site: Site, names: str) -> list[int]:
    """Of issuers, by their authorities' names, LIKE."""
    sql = "SELECT i.id FROM issuer i JOIN authority a ON a.id = i.authority_id WHERE a.name LIKE :names ORDER BY i.id"
    return [number for (number,) in rows(site.services, sql, names=names)]


def change(site: Site, sql: str, **values: object) -> int:
    def write(c: Connection) -> int:
        return int(c.execute(text(sql), values).rowcount)

    return site.services.parts.db.write(Step.JOB_CLAIM, write)


@contextmanager
def asking(*asks: Callable[[], None]) -> Iterator[None]:
    """Meanwhile, again and again; what one of them raises is raised in the end."""
    over, failed = threading.Event(), []

    def run(ask: Callable[[], None]) -> None:
        try:
            while not over.is_set():
                ask()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=run, args=(ask,), daemon=True) for ask in asks]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join(90)
    assert not failed, failed


@contextmanager
def both_working(site: Site) -> Iterator[None]:
    with site.a.running("worker"), site.b.running("worker"):
        yield


# --- status ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("direction", ["a to b", "b to a"])
def test_an_acknowledged_revocation_is_in_the_next_answer_of_the_other(site: Site, direction: str) -> None:
    """Which has given the answer `good` all the time, from its memory."""
    here, there = site.both if direction == "a to b" else site.both[::-1]
    certificates = issue(site, "issuing/web", 25)
    issuer = x509.load_der_x509_certificate(certificates[0].chain[0])
    asked = {one.id: question(issuer, one.id.serial_number) for one in certificates}
    chance = Random(1)
    with site.revoker(here) as revoke:
        left = dict(asked)

        def ask() -> None:
            for _, body in chance.sample(list(left.items()), min(3, len(left))):
                status(there, "issuing", body)

        with asking(ask, ask):
            for certificate, body in asked.items():
                assert [status(there, "issuing", body) for _ in range(2)] == [Status.GOOD] * 2
                revoke(certificate.issuer_id, certificate.serial_number)
                assert [status(there, "issuing", body) for _ in range(3)] == [Status.REVOKED] * 3
                assert status(here, "issuing", body) is Status.REVOKED


def test_no_crl_number_comes_twice_and_none_is_made_twice(site: Site) -> None:
    """Both serve it and both have a worker that makes it, after every revocation at once."""
    certificates = issue(site, "issuing/web", 12)
    [issuer] = ids(site, "issuing")
    sql = "SELECT crl_number FROM issuer WHERE id = :issuer"
    [(before,)] = rows(site.services, sql, issuer=issuer)
    made: dict[int, set[bytes]] = {}
    latest = {host.name: 0 for host in site.both}

    def fetch(there: Host) -> x509.CertificateRevocationList:
        body = request(there, "GET", "/crl/issuing/1.crl")
        crl = x509.load_der_x509_crl(body)
        number = crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
        made.setdefault(number, set()).add(body)
        assert number >= latest[there.name], "an older list after a newer one"
        latest[there.name] = number
        return crl

    with both_working(site), site.revoker(site.a) as at_a, site.revoker(site.b) as at_b, ThreadPoolExecutor(2) as pool:
        for number, one in enumerate(certificates):
            (at_a, at_b)[number % 2](one.id.issuer_id, one.id.serial_number)
            for crl in pool.map(fetch, site.both):
                assert crl.get_revoked_certificate_by_serial_number(one.id.serial_number) is not None
    [(after,)] = rows(site.services, sql, issuer=issuer)
    assert all(len(forms) == 1 for forms in made.values()), "one number, one list"
    # Four would make it, and one does; where the machine stands still for seconds, a second one loses patience.
    assert after - before < 1.5 * len(certificates)


# --- work -----------------------------------------------------------------------------------------------------------


def test_each_certificate_is_renewed_once(site: Site) -> None:
    issuers = ids(site, "renewed-%")
    assert len(issuers) == len(SERVICES)
    now = to_epoch(site.services.parts.now())
    # As if they had lived for a year, and had a month to go.
    aged = "UPDATE service_certificate SET from_at = from_at - 31536000, until_at = :until WHERE issuer_id = :issuer"
    for issuer in issuers:
        assert change(site, aged, until=now + 30 * 86400, issuer=issuer) == 1

    def count(issuer: int) -> int:
        sql = "SELECT count(*) FROM service_certificate WHERE issuer_id = :issuer AND serial IS NOT NULL"
        return int(rows(site.services, sql, issuer=issuer)[0][0])

    with both_working(site):
        eventually(lambda: all(count(issuer) > 1 for issuer in issuers), 120)
        worked_once_more(site)
    assert [count(issuer) for issuer in issuers] == [2] * len(issuers)


def worked_once_more(site: Site) -> None:
    """Until a worker has come to something that was asked for later: nobody here fetches the CRL."""
    [certificate] = issue(site, "issuing/web", 1)
    site.services.revocations.revoke(certificate.id, RevocationReason.SUPERSEDED, OPERATOR)
    sql = (
        "SELECT 1 FROM crl JOIN issuer ON issuer.id = crl.issuer_id"
        " WHERE crl.issuer_id = :issuer AND crl.covers_epoch = issuer.status_epoch"
    )
    eventually(lambda: rows(site.services, sql, issuer=certificate.id.issuer_id), 120)


def all_signed(site: Site, issuer: int) -> bool:
    """Whether there is an answer about each certificate of an issuer."""
    sql = (
        "SELECT (SELECT count(*) FROM certificate WHERE issuer_id = :issuer AND not_after > :now),"
        " (SELECT count(*) FROM ocsp_answer WHERE issuer_id = :issuer)"
    )
    [(wanted, signed)] = rows(site.services, sql, issuer=issuer, now=to_epoch(site.services.parts.now()))
    return bool(wanted == signed)


def backends(site: Site) -> set[int]:
    """Processes of PostgreSQL that serve connections from other hosts."""
    sql = "SELECT pid FROM pg_stat_activity WHERE host(client_addr) <> :here"
    return {pid for (pid,) in rows(site.services, sql, here=WIRE)}


def test_each_answer_is_signed_ahead_once(site: Site) -> None:
    issue(site, "ahead/web", 400)
    [issuer] = ids(site, "ahead")
    before = backends(site)
    with both_working(site):
        eventually(lambda: all_signed(site, issuer), 120)
    # Backends say what they wrote when they end, which is a moment after those whom they served.
    eventually(lambda: backends(site) <= before)
    # Nothing is ever written over: nobody was too late.
    sql = "SELECT n_tup_ins, n_tup_upd, n_tup_del FROM pg_stat_user_tables WHERE relname = 'ocsp_answer'"
    [(inserted, updated, _)] = rows(site.services, sql)
    [(kept,)] = rows(site.services, "SELECT count(*) FROM ocsp_answer")
    assert (inserted, updated) == (kept, 0)


# --- enrolment ------------------------------------------------------------------------------------------------------


def through(client: Client, there: Host) -> Client:
    """From now on it asks this host, as behind a name that stands for both."""
    client.forget()
    client._connection = http.client.HTTPConnection(there.address, PORT, timeout=60)
    return client


@pytest.fixture
def client(site: Site) -> Iterator[Client]:
    """One with an account."""
    registered = through(Client(DIRECTORY), site.a)
    assert registered.register().status == 201
    yield registered
    registered.forget()


def test_an_order_begun_on_one_is_proved_and_finalised_on_the_other(site: Site, client: Client) -> None:
    names = ["two-hosts.proved.example"]
    order = through(client, site.a).order(names)
    assert order.status == 201, order.body
    url = order.headers["location"]
    [place] = through(client, site.b).post(url).json["authorizations"]
    [challenge] = client.post(place).json["challenges"]
    site.tokens[challenge["token"]] = client.key_authorization(challenge["token"])
    with both_working(site):
        assert through(client, site.a).post(challenge["url"], {}).status == 200
        assert through(client, site.b).wait(place).json["status"] == "valid"
        assert site.tokens.fetched.count(challenge["token"]) == 1, "one of them looked, once"
        assert through(client, site.b).post(order.json["finalize"], {"csr": csr_for(names)}).status == 200
        ready = through(client, site.a).wait(url).json
    assert ready["status"] == "valid"
    chains = [through(client, there).post(ready["certificate"]).body for there in site.both]
    assert chains[0] == chains[1]
    assert x509.load_pem_x509_certificates(chains[0])[0]


def test_a_nonce_of_one_is_taken_by_the_other_and_once_only(site: Site, client: Client) -> None:
    for _ in range(3):
        through(client, site.a)._nonces.clear()
        signed = client.signed(client.account or "", {})
        assert through(client, site.b).exchange("POST", client.account or "", signed).status == 200
        for there in site.both:
            again = through(client, there).exchange("POST", client.account or "", signed)
            assert (again.status, again.problem) == (400, "badNonce")


def test_a_nonce_that_comes_to_both_at_once_is_taken_by_one(site: Site, client: Client) -> None:
    for _ in range(10):
        signed = through(client, site.a).signed(client.account or "", {})
        clients = [through(Client(DIRECTORY), there) for there in site.both]
        with ThreadPoolExecutor(2) as pool:
            answers = list(pool.map(lambda one, body=signed: one.exchange("POST", client.account or "", body), clients))
        assert sorted(answer.status for answer in answers) == [200, 400]
        for one in clients:
            one.forget()


def test_a_device_that_asks_both_gets_one_certificate(site: Site) -> None:
    """As behind something that sends a request again to the other."""
    recipient = _recipient(site)
    device = Device.fresh()
    for number in range(3):
        name = f"device-{number}"
        asked = make_request(device.key, name, dns=(), challenge=PASSPHRASE)
        sent = message(device, asked, recipient, Wish(transaction=name))
        with ThreadPoolExecutor(2) as pool:
            answers = list(pool.map(partial(_enrol, sent), site.both))
        got = [read_answer(answer, device.key) for answer in answers]
        assert [one.status for one in got] == ["0", "0"], got
        assert got[0].certificate == got[1].certificate


def _enrol(sent: bytes, there: Host) -> bytes:
    return request(there, "POST", "/scep/devices/device?operation=PKIOperation", sent)


def _recipient(site: Site) -> bytes:
    from asn1crypto import cms

    body = request(site.a, "GET", "/scep/devices/device?operation=GetCACert")
    first, *_ = cms.ContentInfo.load(body)["content"]["certificates"]
    return bytes(first.chosen.dump())


# --- a host that is gone --------------------------------------------------------------------------------------------


ENDING = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE host(client_addr) = :host"
"""What PostgreSQL does itself to a host that is silent in a transaction, after two minutes."""


def test_what_a_host_was_doing_when_its_power_failed_is_done_by_another(site: Site, client: Client) -> None:
    """Nobody hears of its end. When its time has run out, the next one takes what it had claimed, and not before."""
    url = through(client, site.a).order(["taken-over.proved.example"]).headers["location"]
    [place] = client.post(url).json["authorizations"]
    [challenge] = client.post(place).json["challenges"]
    token = challenge["token"]
    site.tokens[token] = client.key_authorization(token)
    fetched, claims = site.tokens.fetched, "SELECT claimed_by FROM job WHERE kind = 'acme.validate'"
    with site.another("c", 4) as gone, site.tokens.withheld(), gone.running("worker"):
        assert client.post(challenge["url"], {}).status == 200
        eventually(lambda: fetched.count(token) == 1)
        gone.lose_power()
    later = to_epoch(site.services.parts.now()) + 3600  # however slow this machine is
    assert change(site, "UPDATE job SET claimed_until = :later WHERE kind = 'acme.validate'", later=later) == 1
    [(holder,)] = rows(site.services, claims)
    with site.b.running("worker"):
        worked_once_more(site)
        assert (fetched.count(token), rows(site.services, claims)) == (1, [(holder,)])
        eventually(lambda: not rows(site.services, ENDING, host=gone.address))
        let_minutes_pass(site.services)
        assert through(client, site.a).wait(place, seconds=120).json["status"] == "valid"
        assert fetched.count(token) == 2


def test_answers_that_a_killed_host_had_begun_to_sign_are_signed_by_another(site: Site) -> None:
    issue(site, "ahead/web", 300)
    [issuer] = ids(site, "ahead")
    with site.another("d", 5) as gone:
        gone.installation.settings[KILL_VARIABLE] = f"{Step.OCSP_PRESIGN}:after"
        with gone.running("worker") as tree:
            eventually(lambda: tree.process.poll() is not None, 120)
            gone.kill()
    assert not all_signed(site, issuer)
    let_minutes_pass(site.services)
    with site.b.running("worker"):
        eventually(lambda: all_signed(site, issuer), 200)


def test_everything_is_whole(site: Site) -> None:
    """The last of a module's: serials, lists, the audit log, and that nothing waits."""
    settle(site.services)
    check_whole(site.services)
    assert not [one for one in rows(site.services, "SELECT count(*) FROM certificate GROUP BY serial") if one[0] > 1]
