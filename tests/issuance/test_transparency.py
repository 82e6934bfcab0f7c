"""Certificate transparency: logs see a precertificate first, and what they promise stands in the certificate."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509 import ocsp
from sqlalchemy import text

from pkiconf.errors import NotSigned, OutcomeUnknown
from pkiconf.issuance.intents import SIGNING_TIME
from pkiconf.model.request import Issued, Outcome, Overrides, Pending, Rejected
from pkiconf.signing.local import LocalSigner
from pkiconf.signing.signer import Kind, SigningOrder
from pkiconf.steps import Step
from pkiconf.store import certificates
from pkiconf.store.audit import list_events
from pkiconf.store.audit_verify import verify
from tests.ct_log import POISON, Log, check_timestamps, serving, trusting, without
from tests.serving.running import eventually
from tests.wholeness import ask, issuers, rows
from tests.world import OPERATOR, World, make_csr

_AUTHORITIES = """
authorities:
  - { name: root, key: { curve: p256 }, validity: 20y }
  - { name: issuing, issuer: root, key: { curve: p256 }, validity: 10y }
"""


@pytest.fixture
def sqlite_pki(sqlite_world: World) -> Iterator[World]:
    yield from _trusting(sqlite_world)


@pytest.fixture
def pki(world: World) -> Iterator[World]:
    yield from _trusting(world)


def _trusting(world: World) -> Iterator[World]:
    world.https.trust = trusting
    yield world
    world.https.close()


def log(world: World, **more: object) -> Log:
    return Log(clock=lambda: world.clock.now().timestamp(), **more)  # type: ignore[arg-type]


@pytest.fixture
def logs(sqlite_pki: World) -> Iterator[tuple[Log, ...]]:
    """Two, and a template `web` whose certificates both have to see."""
    with serving(log(sqlite_pki), log(sqlite_pki)) as made:
        declare(sqlite_pki, made)
        yield made


def declare(world: World, logs: tuple[Log, ...], terms: str = "required_scts: 2", more: str = "") -> None:
    listed = ", ".join(one.declared for one in logs)
    ct = f"ct: {{ logs: [{listed}], timeout: 20s, {terms} }}"
    templates = f"templates: [{{ name: web, authority: issuing, {ct}{more} }}]\n"
    assert world.apply(_AUTHORITIES + templates).exit_code == 0


def submit(world: World) -> int:
    return world.services.requests.submit("issuing/web", make_csr(), OPERATOR)


def sign(world: World, number: int) -> Outcome:
    return world.services.requests.sign(number, Overrides(), OPERATOR)


def row_of(world: World, number: int) -> certificates.CertificateRow:
    found = world.parts.db.read(lambda c: certificates.find_by_origin(c, "request", str(number)))
    assert found is not None
    return found


def ocsp_says(world: World, number: int) -> ocsp.OCSPCertStatus:
    row = row_of(world, number)
    issuer = next(one for one in issuers(world.services) if one.id == row.issuer_id)
    return ask(world.services, issuer, int.from_bytes(row.serial)).certificate_status


def check_nothing_left(world: World, number: int) -> None:
    """Its serial counts as revoked, and nothing was signed that anybody could be given."""
    assert row_of(world, number).status == "abandoned"
    assert ocsp_says(world, number) is ocsp.OCSPCertStatus.REVOKED
    assert (
        rows(
            world.services, "SELECT 1 FROM certificate_signature s WHERE s.serial = :s", s=row_of(world, number).serial
        )
        == []
    )
    assert world.services.requests.get(number).row.state == "rejected"


def check_audit(world: World) -> None:
    report = verify(world.parts.db, world.parts.audit, lambda message, signature: None, None)
    assert report.findings == ()


# --- certificates with timestamps ----------------------------------------------------------------------------------


@pytest.mark.row("F85")
def test_a_certificate_carries_what_logs_promised_for_its_precertificate(pki: World) -> None:
    with serving(
        log(pki),
        log(pki, key=rsa.generate_private_key(65537, 2048)),
        log(pki, static=True),
    ) as made:
        declare(pki, made, "required_scts: 3")
        issued = pki.issued("issuing/web", make_csr())
        assert set(map(id, check_timestamps(issued.der, issued.chain[0], made))) == set(map(id, made))
        for one in made:
            ((shown, *above),) = one.seen
            assert without(shown, POISON) == x509.load_der_x509_certificate(issued.der).tbs_precertificate_bytes
            assert above[0] == issued.chain[0]
            x509.load_der_x509_certificate(above[-1]).verify_directly_issued_by(
                x509.load_der_x509_certificate(above[-1])
            )
            assert len(above) == 2, "with its root"
        leaf = x509.load_der_x509_certificate(issued.der)
        leaf.verify_directly_issued_by(x509.load_der_x509_certificate(issued.chain[0]))
        assert leaf.serial_number == x509.load_der_x509_certificate(made[0].seen[0][0]).serial_number
    actions = [event.fields["action"] for event in pki.parts.db.read(lambda c: list_events(c, limit=1000))]
    last = [action for action in actions if action.startswith("certificate.")][-4:]
    assert last == [f"certificate.{act}" for act in ("reserve", "precertify", "disclose", "complete")]
    check_audit(pki)


def test_what_a_static_log_says_besides_is_kept(sqlite_pki: World) -> None:
    with serving(log(sqlite_pki, static=True)) as made:
        declare(sqlite_pki, made, "required_scts: 1")
        for index in range(3):
            leaf = x509.load_der_x509_certificate(sqlite_pki.issued("issuing/web", make_csr()).der)
            (sct,) = leaf.extensions.get_extension_for_class(x509.PrecertificateSignedCertificateTimestamps).value
            assert sct.extension_bytes == b"\x00\x00\x05" + index.to_bytes(5)


def test_as_many_as_are_asked_for_suffice(sqlite_pki: World) -> None:
    with serving(log(sqlite_pki, fault="silent"), log(sqlite_pki), log(sqlite_pki)) as made:
        declare(sqlite_pki, made)
        issued = sqlite_pki.issued("issuing/web", make_csr())
        assert set(map(id, check_timestamps(issued.der, issued.chain[0], made))) == set(map(id, made[1:]))


def test_a_log_that_hangs_keeps_no_other_waiting(sqlite_pki: World) -> None:
    """More certificates than one log is shown at once."""
    with serving(log(sqlite_pki, fault="silent"), log(sqlite_pki)) as made:
        declare(sqlite_pki, made, "required_scts: 1")
        for _ in range(40):
            assert isinstance(sign(sqlite_pki, submit(sqlite_pki)), Issued)
        assert len(made[1].seen) == 40


def test_every_key_type_of_an_authority(sqlite_pki: World) -> None:
    with serving(log(sqlite_pki)) as made:
        for key in ("type: rsa, size: 2048", "type: ed25519", "type: ec, curve: p521"):
            name = f"ca-{key.split(':')[1].split(',')[0].strip()}"
            declared = f"authorities: [{{ name: {name}, key: {{ {key} }} }}]\n"
            ct = f"ct: {{ logs: [{made[0].declared}], required_scts: 1 }}"
            templates = f"templates: [{{ name: web, authority: {name}, {ct} }}]"
            assert sqlite_pki.apply(declared + templates).exit_code == 0
            issued = sqlite_pki.issued(f"{name}/web", make_csr())
            root = made[0].seen[-1][1]
            assert issued.chain == (), "its issuer is a root"
            assert check_timestamps(issued.der, root, made) == [made[0]]


def test_a_template_without_logs_asks_none_and_records_nothing_more(sqlite_pki: World, logs: tuple[Log, ...]) -> None:
    sqlite_pki.issued("issuing/web-server", make_csr())
    assert [one.seen for one in logs] == [[], []]
    for table in ("precertificate", "certificate_timestamp"):
        assert rows(sqlite_pki.services, f"SELECT count(*) FROM {table}") == [(0,)]


def test_many_at_once(sqlite_pki: World, logs: tuple[Log, ...]) -> None:
    plain = sqlite_pki.services.requests.submit("issuing/web-server", make_csr(), OPERATOR)
    numbers = [submit(sqlite_pki), plain, submit(sqlite_pki)]
    logs[1].faults = ["403"]
    found = dict(sqlite_pki.services.requests.sign_many(numbers, Overrides(), OPERATOR))
    assert isinstance(found[numbers[0]], Rejected)
    assert isinstance(found[numbers[1]], Issued)
    last = found[numbers[2]]
    assert isinstance(last, Issued)
    check_timestamps(last.der, last.chain[0], logs)
    check_audit(sqlite_pki)


# --- logs that lie, are slow, or are down ---------------------------------------------------------------------------

LIES = {
    "wrong key": "signature does not hold",
    "wrong hash": "signature does not hold",
    "wrong issuer": "signature does not hold",
    "other extensions": "signature does not hold",
    "wrong id": "is of log 0000",
    "short id": "another length",
    "stale": "2030-01-01T11:00:00Z, which cannot be",
    "future": "2030-01-01T13:00:00Z, which cannot be",
    "beyond all time": "4611687911926587904 ms, which cannot be",
    "version 2": "version 1",
    "version true": "version 1",
    "no version": "version 1",
    "timestamp in words": "no number of milliseconds",
    "timestamp below zero": "no number of milliseconds",
    "timestamp too large": "no number of milliseconds",
    "no base64": "signature in its answer is not base64",
    "a number for a signature": "signature in its answer is not base64",
    "cut signature": "ends in the middle",
    "long signature": "octets left over",
    "empty signature": "ends in the middle",
    "another algorithm": "another algorithm",
    "another hash": "another algorithm",
    "endless extensions": "longer than a timestamp can hold",
    "no JSON": "not JSON",
    "a list": "no signed certificate timestamp",
    "huge": "more than 262144 octets",
    "400": "it answered 400: [31mnot now",
    "403": "it answered 403",
    "404": "it answered 404",
    "429": "it answered 429",
    "500": "it answered 500",
    "503": "it answered 503",
    "redirect": "redirects to",
    "gone": "closed the connection",
}


@pytest.mark.row("F85")
@pytest.mark.parametrize("fault", LIES)
def test_a_log_that_lies_or_fails_counts_for_nothing(sqlite_pki: World, logs: tuple[Log, ...], fault: str) -> None:
    logs[1].fault = fault
    number = submit(sqlite_pki)
    outcome = sign(sqlite_pki, number)
    assert isinstance(outcome, Rejected)
    assert "1 of 2 certificate transparency logs promised" in outcome.reason
    assert f"{logs[1].url}: " in outcome.reason
    assert logs[0].url not in outcome.reason
    assert LIES[fault] in outcome.reason
    assert "\x1b" not in outcome.reason
    check_nothing_left(sqlite_pki, number)
    check_audit(sqlite_pki)


def test_a_log_that_does_not_know_the_root(sqlite_pki: World, logs: tuple[Log, ...]) -> None:
    logs[0].roots = {b"another"}
    outcome = sign(sqlite_pki, submit(sqlite_pki))
    assert isinstance(outcome, Rejected)
    assert f"{logs[0].url}: it answered 400: unknown root" in outcome.reason


def test_a_log_that_is_silent_is_waited_for_as_long_as_declared(sqlite_pki: World) -> None:
    with serving(log(sqlite_pki, fault="silent")) as made:
        declare(sqlite_pki, made, "required_scts: 1")
        assert sqlite_pki.apply(_one_second(made)).exit_code == 0
        outcome = sign(sqlite_pki, submit(sqlite_pki))
    assert isinstance(outcome, Rejected)
    assert "gave no" in outcome.reason


def _one_second(logs: tuple[Log, ...]) -> str:
    ct = f"ct: {{ logs: [{logs[0].declared}], required_scts: 1, timeout: 1s }}"
    return _AUTHORITIES + f"templates: [{{ name: web, authority: issuing, {ct} }}]"


def test_a_log_that_is_not_there(sqlite_pki: World) -> None:
    with serving(log(sqlite_pki)) as made:
        pass
    declare(sqlite_pki, made, "required_scts: 1")
    outcome = sign(sqlite_pki, submit(sqlite_pki))
    assert isinstance(outcome, Rejected)
    assert "cannot be reached" in outcome.reason


def test_a_log_whose_server_nobody_vouches_for_is_not_asked(sqlite_world: World) -> None:
    with serving(log(sqlite_world)) as made:
        declare(sqlite_world, made, "required_scts: 1")
        outcome = sign(sqlite_world, submit(sqlite_world))
        sqlite_world.https.close()
    assert isinstance(outcome, Rejected)
    assert "certificate verify failed" in outcome.reason.lower() or "not trusted" in outcome.reason
    assert made[0].seen == []


@pytest.mark.parametrize("faults", [["429 in a moment"], ["503", "500"], ["gone", "429"]])
def test_a_log_that_is_busy_is_asked_again(sqlite_pki: World, logs: tuple[Log, ...], faults: list[str]) -> None:
    logs[0].faults = faults
    issued = sqlite_pki.issued("issuing/web", make_csr())
    check_timestamps(issued.der, issued.chain[0], logs)
    assert logs[0].faults == []


def test_a_refused_request_stays_refused_and_another_one_does_better(sqlite_pki: World, logs: tuple[Log, ...]) -> None:
    logs[0].fault = "503"
    number = submit(sqlite_pki)
    assert isinstance(sign(sqlite_pki, number), Rejected)
    logs[0].fault = ""
    assert sqlite_pki.services.intents.sweep_precertificates() == 0
    check_nothing_left(sqlite_pki, number)
    assert isinstance(sign(sqlite_pki, submit(sqlite_pki)), Issued)


# --- on_failure: pending --------------------------------------------------------------------------------------------


@pytest.mark.row("F85")
def test_pending_asks_the_logs_again_until_they_promise(pki: World) -> None:
    with serving(log(pki), log(pki, fault="503")) as made:
        declare(pki, made, "on_failure: pending")
        number = submit(pki)
        outcome = sign(pki, number)
        assert isinstance(outcome, Pending)
        assert outcome.retry_after == 60
        assert "1 of 2 certificate transparency logs" in outcome.reason
        assert pki.services.requests.get(number).row.state == "approved"
        assert ocsp_says(pki, number) is ocsp.OCSPCertStatus.GOOD
        assert pki.services.intents.sweep_precertificates() == 0, "it is left alone for a while"
        shown = len(made[1].seen)
        pki.pass_time(timedelta(seconds=61))
        assert pki.services.intents.sweep_precertificates() == 0
        made[1].fault = ""
        pki.pass_time(timedelta(seconds=61))
        assert pki.services.intents.sweep() == 0, "another thread's"
        assert pki.services.intents.sweep_precertificates() == 1
        issued = sign(pki, number)
        assert isinstance(issued, Issued)
        check_timestamps(issued.der, issued.chain[0], made)
        assert len(made[0].seen) == 1, "its promise was kept"
        assert len(made[1].seen) == shown + 1
        assert {chain[0] for chain in made[1].seen} == {made[0].seen[0][0]}, "one precertificate was shown"
    check_audit(pki)


def test_pending_leaves_the_logs_alone_for_longer_and_longer_and_gives_up(sqlite_pki: World) -> None:
    with serving(log(sqlite_pki, fault="403")) as made:
        declare(sqlite_pki, made, "required_scts: 1, on_failure: pending, give_up_after: 6h")
        number = submit(sqlite_pki)
        assert isinstance(sign(sqlite_pki, number), Pending)
        pauses, began = [], sqlite_pki.clock.now()
        while (row := row_of(sqlite_pki, number)).status == "reserved":
            pauses.append(row.lease_until - int(sqlite_pki.clock.now().timestamp()))
            sqlite_pki.pass_time(timedelta(seconds=pauses[-1]))
            sqlite_pki.services.intents.sweep_precertificates()
        assert pauses == sorted(pauses)
        assert (pauses[0], pauses[-1]) == (60, 3600)
        assert timedelta(hours=6) <= sqlite_pki.clock.now() - began < timedelta(hours=7)
        check_nothing_left(sqlite_pki, number)


def test_a_silent_log_is_asked_once_a_round(sqlite_pki: World) -> None:
    with serving(log(sqlite_pki, fault="gone")) as made:
        declare(sqlite_pki, made, "required_scts: 1, on_failure: pending")
        numbers = [submit(sqlite_pki) for _ in range(3)]
        for number in numbers:
            assert isinstance(sign(sqlite_pki, number), Pending)
        seen: list[str] = []
        made[0].fault = ""
        made[0].faults = ["gone"] * 3
        sqlite_pki.pass_time(timedelta(seconds=61))
        assert sqlite_pki.services.intents.sweep_precertificates() == 0
        assert (made[0].faults, made[0].seen) == (seen, [])
        sqlite_pki.pass_time(timedelta(minutes=2))
        assert sqlite_pki.services.intents.sweep_precertificates() == 3


def test_a_declaration_that_was_wrong_is_mended_for_those_that_wait(sqlite_pki: World) -> None:
    with serving(log(sqlite_pki)) as made:
        mine = made[0].key
        made[0].key = ec.generate_private_key(ec.SECP256R1())
        declare(sqlite_pki, made, "required_scts: 1, on_failure: pending")
        made[0].key = mine
        number = submit(sqlite_pki)
        outcome = sign(sqlite_pki, number)
        assert isinstance(outcome, Pending)
        assert "is of log" in outcome.reason
        declare(sqlite_pki, made, "required_scts: 1")
        issued = sign(sqlite_pki, number)
        assert isinstance(issued, Issued)
        check_timestamps(issued.der, issued.chain[0], made)


def test_a_template_that_changes_meanwhile_changes_nothing_in_what_logs_saw(sqlite_pki: World) -> None:
    """While it waits, and while a log is being asked."""
    with serving(log(sqlite_pki, fault="503")) as made:
        declare(sqlite_pki, made, "required_scts: 1, on_failure: pending")
        number = submit(sqlite_pki)
        assert isinstance(sign(sqlite_pki, number), Pending)
        stapled = ", validity: 30d, extensions: { must_staple: true }"
        declare(sqlite_pki, made, "required_scts: 1, on_failure: pending", stapled)
        made[0].fault = ""
        plain = ", validity: 60d, extensions: { must_staple: false }"
        _meanwhile(made[0], lambda: declare(sqlite_pki, made, "required_scts: 1, on_failure: pending", plain))
        issued = sign(sqlite_pki, number)
        assert isinstance(issued, Issued)
        assert check_timestamps(issued.der, issued.chain[0], made) == [made[0]]
        leaf = x509.load_der_x509_certificate(issued.der)
        assert (leaf.not_valid_after_utc - leaf.not_valid_before_utc) > timedelta(days=89)
        with pytest.raises(x509.ExtensionNotFound):
            leaf.extensions.get_extension_for_class(x509.TLSFeature)


def test_those_that_wait_go_on_waiting_where_todays_logs_do_not_take_them(sqlite_pki: World) -> None:
    with serving(log(sqlite_pki, fault="503")) as made:
        declare(sqlite_pki, made, "required_scts: 1, on_failure: pending")
        number = submit(sqlite_pki)
        assert isinstance(sign(sqlite_pki, number), Pending)
        made[0].fault = ""
        early = made[0].declared.replace(" }", ", not_after: { until: 2030-02-01 } }")
        ct = f"ct: {{ logs: [{early}], required_scts: 1, on_failure: pending }}"
        templates = f"templates: [{{ name: web, authority: issuing, {ct} }}]"
        assert sqlite_pki.apply(_AUTHORITIES + templates).exit_code == 0
        shown = len(made[0].seen)
        outcome = sign(sqlite_pki, number)
        assert isinstance(outcome, Pending)
        assert "0 of the template's logs take a certificate that ends on 2030-04-01" in outcome.reason
        assert len(made[0].seen) == shown
        declare(sqlite_pki, made, "required_scts: 1")
        assert isinstance(sign(sqlite_pki, number), Issued)


def test_those_that_wait_are_finished_by_the_logs_they_began_with_where_the_template_has_none_any_more(
    sqlite_pki: World,
) -> None:
    with serving(log(sqlite_pki, fault="503")) as made:
        declare(sqlite_pki, made, "required_scts: 1, on_failure: pending")
        number = submit(sqlite_pki)
        assert isinstance(sign(sqlite_pki, number), Pending)
        cleared = _AUTHORITIES + "templates: [{ name: web, authority: issuing, ct: null }]"
        assert sqlite_pki.apply(cleared).exit_code == 0
        made[0].fault = ""
        issued = sign(sqlite_pki, number)
        assert isinstance(issued, Issued)
        check_timestamps(issued.der, issued.chain[0], made)
        without_logs = sqlite_pki.issued("issuing/web", make_csr())
        leaf = x509.load_der_x509_certificate(without_logs.der)
        assert all(extension.oid.dotted_string[:13] != "1.3.6.1.4.1.1" for extension in leaf.extensions)


def test_a_key_that_becomes_known_to_be_compromised_gets_no_certificate(sqlite_pki: World) -> None:
    from pkiconf.der.csr import parse_csr
    from pkiconf.store import compromised_keys

    with serving(log(sqlite_pki, fault="503")) as made:
        declare(sqlite_pki, made, "required_scts: 1, on_failure: pending")
        number = submit(sqlite_pki)
        assert isinstance(sign(sqlite_pki, number), Pending)
        spki = parse_csr(sqlite_pki.services.requests.get(number).row.csr).spki
        now = int(sqlite_pki.clock.now().timestamp())
        sqlite_pki.parts.db.write(Step.CERTIFICATE_REVOKE, lambda c: compromised_keys.add(c, spki, now))
        made[0].fault = ""
        shown = len(made[0].seen)
        assert isinstance(sign(sqlite_pki, number), Rejected)
        assert len(made[0].seen) == shown
        check_nothing_left(sqlite_pki, number)


# --- interrupted, and side by side ----------------------------------------------------------------------------------


def _failing(world: World, monkeypatch: pytest.MonkeyPatch, error: Exception, at: int, number: int) -> Outcome:
    """Sign while the key fails at its `at`-th certificate."""
    calls: list[SigningOrder] = []
    real = LocalSigner.sign

    def fails(self: LocalSigner, order: SigningOrder) -> bytes:
        if order.kind is Kind.CERTIFICATE:
            calls.append(order)
            if len(calls) == at:
                raise error
        return real(self, order)

    with monkeypatch.context() as patched:
        patched.setattr(LocalSigner, "sign", fails)
        outcome = sign(world, number)
    names = {(order.id, order.tbs) for order in calls}
    assert len({id for id, _ in names}) == len(names), "an order's name stands for one thing"
    return outcome


@pytest.mark.parametrize("at", [1, 2])
def test_a_key_that_gives_no_answer_is_asked_again(
    sqlite_pki: World, logs: tuple[Log, ...], monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    number = submit(sqlite_pki)
    outcome = _failing(sqlite_pki, monkeypatch, OutcomeUnknown("the connection broke"), at, number)
    assert isinstance(outcome, Pending)
    assert len(logs[0].seen) == at - 1
    sqlite_pki.pass_time(timedelta(minutes=2))
    assert sqlite_pki.services.intents.sweep_precertificates() == 1
    assert len(logs[0].seen) == 1, "what was promised needs no second promise"
    issued = sign(sqlite_pki, number)
    assert isinstance(issued, Issued)
    check_timestamps(issued.der, issued.chain[0], logs)


@pytest.mark.parametrize("at", [1, 2])
def test_a_key_that_refuses_ends_it(
    sqlite_pki: World, logs: tuple[Log, ...], monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    number = submit(sqlite_pki)
    assert isinstance(_failing(sqlite_pki, monkeypatch, NotSigned("the key refused"), at, number), Rejected)
    check_nothing_left(sqlite_pki, number)


def _meanwhile(one: Log, act: Callable[[], object]) -> None:
    """Once, while the log is being asked."""
    clock, waiting = one.clock, [act]

    def then() -> float:
        if waiting:
            waiting.pop()()
        return clock()

    one.clock = then


def test_no_transaction_is_open_while_a_log_is_asked(pki: World) -> None:
    with serving(log(pki)) as made:
        declare(pki, made, "required_scts: 1")
        others: list[int] = []
        _meanwhile(made[0], lambda: others.append(submit(pki)))
        assert isinstance(sign(pki, submit(pki)), Issued)
        assert len(others) == 1


def test_two_that_finish_the_same_give_one_certificate(pki: World) -> None:
    """The second one shows it to the logs, gets other promises and is done first."""
    with serving(log(pki), log(pki), log(pki)) as made:
        declare(pki, made, "required_scts: 1")
        number = submit(pki)
        second: list[Outcome] = []
        made[1].fault = made[2].fault = "silent"

        def finish() -> None:
            eventually(lambda: all(one.arrived for one in made))
            made[0].fault, made[1].fault = "403", ""
            second.append(pki.services.intents.resume(row_of(pki, number).id))

        _meanwhile(made[0], finish)
        first = sign(pki, number)
        assert isinstance(first, Issued)
        assert second == [first]
        assert rows(
            pki.services, "SELECT count(*) FROM certificate_signature WHERE serial = :s", s=row_of(pki, number).serial
        ) == [(1,)]
        check_timestamps(first.der, first.chain[0], made)
    check_audit(pki)


def test_what_was_recorded_to_be_signed_is_what_is_signed(pki: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second one gets other promises and records them, but its key gives no answer."""
    with serving(log(pki), log(pki), log(pki)) as made:
        declare(pki, made, "required_scts: 1")
        number = submit(pki)
        made[1].fault = made[2].fault = "silent"

        def begin() -> None:
            eventually(lambda: all(one.arrived for one in made))
            made[0].fault, made[1].fault = "403", ""
            assert isinstance(pki.services.intents.resume(row_of(pki, number).id), Pending)

        _meanwhile(made[0], begin)
        issued = _failing(pki, monkeypatch, OutcomeUnknown("the connection broke"), 2, number)
        assert isinstance(issued, Issued)
        assert check_timestamps(issued.der, issued.chain[0], made) == [made[1]]
        leaf = x509.load_der_x509_certificate(issued.der)
        leaf.verify_directly_issued_by(x509.load_der_x509_certificate(issued.chain[0]))


def test_two_that_sign_the_precertificate_show_the_same_one(pki: World, monkeypatch: pytest.MonkeyPatch) -> None:
    real = LocalSigner.sign
    entered: list[SigningOrder] = []

    def sign_twice(self: LocalSigner, order: SigningOrder) -> bytes:
        if order.kind is Kind.CERTIFICATE and not entered:
            entered.append(order)
            assert isinstance(pki.services.intents.resume(row_of(pki, number).id), Issued)
        return real(self, order)

    with serving(log(pki)) as made:
        declare(pki, made, "required_scts: 1")
        number = submit(pki)
        monkeypatch.setattr(LocalSigner, "sign", sign_twice)
        assert isinstance(sign(pki, number), Issued)
        assert len({chain[0] for chain in made[0].seen}) == 1


def test_whoever_gives_up_hands_out_what_another_finished(sqlite_pki: World) -> None:
    with serving(log(sqlite_pki)) as made:
        declare(sqlite_pki, made, "required_scts: 1")
        number = submit(sqlite_pki)
        made[0].faults = ["wrong key"]
        _meanwhile(made[0], lambda: sqlite_pki.services.intents.resume(row_of(sqlite_pki, number).id))
        outcome = sign(sqlite_pki, number)
        assert isinstance(outcome, Issued)
        assert row_of(sqlite_pki, number).status == "good"


def test_what_was_given_up_meanwhile_is_not_handed_out(sqlite_pki: World) -> None:
    with serving(log(sqlite_pki)) as made:
        declare(sqlite_pki, made, "required_scts: 1")
        number = submit(sqlite_pki)
        _meanwhile(made[0], lambda: sqlite_pki.services.intents.abandon(row_of(sqlite_pki, number).id, "why not"))
        assert isinstance(sign(sqlite_pki, number), Rejected)
        check_nothing_left(sqlite_pki, number)


def test_an_interrupted_one_is_left_to_whoever_has_it_in_hand(sqlite_pki: World, logs: tuple[Log, ...]) -> None:
    number = submit(sqlite_pki)
    swept: list[int] = []
    _meanwhile(logs[0], lambda: swept.append(sqlite_pki.services.intents.sweep_precertificates()))
    assert isinstance(sign(sqlite_pki, number), Issued)
    assert swept == [0]
    assert timedelta(seconds=30) < SIGNING_TIME, "no wait for logs outlasts a lease"


# --- what is refused before anything is recorded ---------------------------------------------------------------------


def test_an_end_that_no_log_takes_is_refused_before_anything_is_recorded(sqlite_pki: World) -> None:
    with serving(log(sqlite_pki)) as made:
        interval = "not_after: { from: 2030-01-01, until: 2030-04-01 }"
        declared = made[0].declared.replace(" }", f", {interval} }}")
        ct = f"ct: {{ logs: [{declared}], required_scts: 1 }}"
        templates = f"templates: [{{ name: web, authority: issuing, {ct} }}]"
        assert sqlite_pki.apply(_AUTHORITIES + templates).exit_code == 0
        number = submit(sqlite_pki)
        outcome = sign(sqlite_pki, number)  # 90 days
        assert isinstance(outcome, Rejected)
        assert "0 of the template's logs take a certificate that ends on 2030-04-01" in outcome.reason
        assert made[0].seen == []
        assert rows(sqlite_pki.services, "SELECT 1 FROM certificate WHERE origin_kind = 'request'") == []
        assert sqlite_pki.services.requests.get(number).row.state == "pending"
        shorter = sqlite_pki.services.requests.sign(number, Overrides(days=30), OPERATOR)
        assert isinstance(shorter, Issued)
        check_timestamps(shorter.der, shorter.chain[0], made)


def test_the_tables_hold_what_was_seen(sqlite_pki: World, logs: tuple[Log, ...]) -> None:
    issued = sqlite_pki.issued("issuing/web", make_csr())

    def read(sql: str) -> list[tuple[object, ...]]:
        return sqlite_pki.parts.db.read(lambda c: [tuple(row) for row in c.execute(text(sql))])

    ((tbs, signature),) = read("SELECT tbs, signature FROM precertificate")
    shown = x509.load_der_x509_certificate(logs[0].seen[0][0])
    assert (shown.tbs_certificate_bytes, shown.signature) == (tbs, signature)
    assert {log_id for (log_id,) in read("SELECT log_id FROM certificate_timestamp")} == {one.id for one in logs}
    assert sqlite_pki.services.certificates.get(f"{issued.id.serial_number:x}").der == issued.der
