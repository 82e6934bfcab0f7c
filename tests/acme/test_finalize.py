"""Finalizing (RFC 8555 §7.4): one certificate for one order, whatever happens in between."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pkiconf.errors import NotSigned, OutcomeUnknown, Unavailable
from pkiconf.model.acme import Account, ACMEProblem, ChallengeType, Order, OrderStatus, ProblemType
from pkiconf.reconciler.state import Action
from pkiconf.store import acme_orders
from tests.acme.place import PKI, Place, at_once, der_csr, make_account_key

NAMES = ("a.corp.example", "b.corp.example", "c.corp.example")


def ready(place: Place, *names: str, **policy: Any) -> tuple[Account, Order]:
    place.policy(preapproved_domains=["*.corp.example"], **policy)
    account = place.account()
    order = place.order(account, *(names or ("web.corp.example",)))
    assert order.status is OrderStatus.READY
    return account, order


def certificates(place: Place) -> int:
    return int(place.rows("SELECT count(*) FROM certificate WHERE origin_kind = 'acme'")[0][0])


def names_in(der: bytes) -> list[str]:
    found = x509.load_der_x509_certificate(der).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return list(found.get_values_for_type(x509.DNSName))


def broken(csr: bytes) -> bytes:
    return csr[:-1] + bytes([csr[-1] ^ 1])


CSRS: dict[str, Callable[[], tuple[bytes, str]]] = {
    "garbage": lambda: (b"garbage", "neither PEM nor DER"),
    "empty": lambda: (b"", "neither PEM nor DER|empty|octets"),
    "cut": lambda: (der_csr("web.corp.example")[:-5], ""),
    "trailing": lambda: (der_csr("web.corp.example") + b"\0", ""),
    "not its key's": lambda: (broken(der_csr("web.corp.example")), "not signed with its own key"),
    "too much": lambda: (der_csr("web.corp.example", "evil.example"), "asks for evil.example"),
    "too little": lambda: (der_csr("other.corp.example"), "asks for other.corp.example"),
    "nothing": lambda: (der_csr(), "lacks web.corp.example"),
    "common name": lambda: (der_csr("web.corp.example", common_name="evil.example"), "asks for evil.example"),
    "size": lambda: (bytes(100_000), "more than"),
}


@pytest.mark.parametrize("what", CSRS)
def test_a_bad_csr_leaves_the_order_ready(sqlite_place: Place, what: str) -> None:
    account, order = ready(sqlite_place)
    csr, says = CSRS[what]()
    with sqlite_place.refusal(ProblemType.BAD_CSR, says or None):
        sqlite_place.acme.orders.finalize(account, order.name, csr)
    done = sqlite_place.acme.orders.finalize(account, order.name, der_csr("web.corp.example"))
    assert done.status is OrderStatus.VALID


def test_the_account_key_is_refused(sqlite_place: Place) -> None:
    sqlite_place.policy(preapproved_domains=["*.corp.example"])
    key = ec.generate_private_key(ec.SECP256R1())
    account = sqlite_place.account(key=make_account_key(key))
    order = sqlite_place.order(account, "web.corp.example")
    with sqlite_place.refusal(ProblemType.BAD_CSR, "account's own key"):
        sqlite_place.acme.orders.finalize(account, order.name, der_csr("web.corp.example", key=key))


def test_what_the_template_refuses_leaves_the_order_ready(sqlite_place: Place) -> None:
    sqlite_place.world.apply(PKI + "\ntemplates: [{ name: rsa, authority: issuing, allowed_keys: [rsa-2048] }]")
    account, order = ready(sqlite_place, template="issuing/rsa")
    with sqlite_place.refusal(ProblemType.BAD_CSR, "stays ready for another CSR"):
        sqlite_place.acme.orders.finalize(account, order.name, der_csr("web.corp.example"))
    assert sqlite_place.acme.orders.get(account, order.name) == order


def test_a_compromised_key_is_refused(place: Place) -> None:
    account, order = ready(place)
    key = ec.generate_private_key(ec.SECP256R1())
    _, leaf = place.issued(account, "old.corp.example", key=key)
    place.acme.revocations.by_key(make_account_key(key).spki, leaf, 1)
    with place.refusal(ProblemType.BAD_CSR, "known to be compromised"):
        place.acme.orders.finalize(account, order.name, der_csr("web.corp.example", key=key))
    assert place.acme.orders.get(account, order.name).status is OrderStatus.READY


def test_an_order_that_is_not_ready(place: Place) -> None:
    place.policy()
    account = place.account()
    order = place.order(account, "web.example")
    with place.refusal(ProblemType.ORDER_NOT_READY, "pending", status=403):
        place.acme.orders.finalize(account, order.name, der_csr("web.example"))


def test_another_key_after_the_fact(place: Place) -> None:
    account, order = ready(place)
    csr = der_csr("web.corp.example")
    done = place.acme.orders.finalize(account, order.name, csr)
    with place.refusal(ProblemType.ORDER_NOT_READY, "another key", status=403):
        place.acme.orders.finalize(account, order.name, der_csr("web.corp.example"))
    before = place.state()
    assert place.acme.orders.finalize(account, order.name, csr) == done
    assert place.state() == before


CHANGES: dict[str, tuple[dict[str, Any], ProblemType, str]] = {
    "retired": ({"state": "absent"}, ProblemType.UNAUTHORIZED, "retired"),
    "no longer pre-approved": ({"preapproved_domains": []}, ProblemType.UNAUTHORIZED, "not valid any more"),
    "another profile": ({"profiles": {"other": "issuing/web-server"}}, ProblemType.INVALID_PROFILE, "offered: other"),
    "another template": ({"template": "issuing/second"}, ProblemType.INVALID_PROFILE, "another template"),
    "template gone": ({"template": "issuing/gone"}, ProblemType.UNAUTHORIZED, "issues nothing now"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_policy_that_changed_since_the_order(sqlite_place: Place, what: str) -> None:
    place = sqlite_place
    place.world.apply(PKI + "\ntemplates: [{ name: second, authority: issuing }]")
    account, order = ready(place)
    change, kind, says = CHANGES[what]
    place.policy(**{"preapproved_domains": ["*.corp.example"], **change})
    with place.refusal(kind, says):
        place.acme.orders.finalize(account, order.name, der_csr("web.corp.example"))
    assert place.acme.orders.get(account, order.name).status is OrderStatus.READY


def test_a_binding_that_was_narrowed_since_the_order(sqlite_place: Place) -> None:
    place = sqlite_place
    place.policy(preapproved_domains=["*.corp.example"])
    account = place.account(binding=place.binding())
    order = place.order(account, *NAMES)
    place.binding(domains=["a.corp.example", "b.corp.example"])
    with place.refusal(ProblemType.REJECTED_IDENTIFIER, "c.corp.example lies outside"):
        place.acme.orders.finalize(account, order.name, der_csr(*NAMES))


def test_a_challenge_that_was_withdrawn_since_it_was_proved(place: Place) -> None:
    """Whoever turns http-01 off does not want what it has proved; another order proves it anew."""
    place.policy(challenges=["http-01", "dns-01"])
    account = place.account()
    orders = [
        place.prove(account, place.order(account, name), kind)
        for name, kind in (("a.example", ChallengeType.HTTP_01), ("b.example", ChallengeType.DNS_01))
    ]
    place.policy(challenges=["dns-01"])
    before = certificates(place)
    with place.refusal(ProblemType.UNAUTHORIZED, "a.example is not valid any more; make a new order"):
        place.acme.orders.finalize(account, orders[0].name, der_csr("a.example"))
    assert certificates(place) == before
    assert place.acme.orders.finalize(account, orders[1].name, der_csr("b.example")).status is OrderStatus.VALID
    assert place.order(account, "a.example").status is OrderStatus.PENDING
    place.issued(account, "a.example")


def test_a_template_that_was_narrowed_since_the_order(sqlite_place: Place) -> None:
    place = sqlite_place
    account, order = ready(place, *NAMES)
    place.world.apply(
        PKI + "\ntemplates: [{ name: web-server, authority: issuing, names: { deny: { dns: [b.corp.example] } } }]"
    )
    with place.refusal(ProblemType.REJECTED_IDENTIFIER, "b.corp.example is denied"):
        place.acme.orders.finalize(account, order.name, der_csr(*NAMES))


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lost=st.sets(st.sampled_from(range(3)), min_size=1), how=st.sampled_from(["status", "expires_at", "account_id"]))
def test_every_single_proof_is_looked_at_again(sqlite_place: Place, lost: set[int], how: str) -> None:
    """Whichever of an order's authorizations has gone: the certificate names all, so each has to stand."""
    place = sqlite_place
    place.policy()
    account, other = place.account(), place.account()
    order = place.prove(account, place.order(account, *NAMES))
    values = {"status": "'revoked'", "expires_at": str(place.now), "account_id": str(other.id)}
    for number in lost:
        place.sql(f"UPDATE acme_authorization SET {how} = {values[how]} WHERE name = '{order.authorizations[number]}'")
    gone = ", ".join(NAMES[number] for number in sorted(lost))
    with place.refusal(ProblemType.UNAUTHORIZED, f"authorization for {gone} is not valid any more"):
        place.acme.orders.finalize(account, order.name, der_csr(*NAMES))


def test_what_ends_between_looking_and_reserving_is_seen(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proof goes, the account ends, the policy changes: after the first look, before the intent is recorded."""
    pipeline = place.world.services.pipeline
    issue = pipeline.issue
    for change, kind in (
        ("UPDATE acme_authorization SET status = 'deactivated'", ProblemType.UNAUTHORIZED),
        ("UPDATE acme_policy SET lifecycle = 'retired', generation = generation + 1", ProblemType.UNAUTHORIZED),
        ("UPDATE acme_account SET status = 'revoked'", ProblemType.UNAUTHORIZED),
        ("UPDATE acme_order SET status = 'invalid'", ProblemType.ORDER_NOT_READY),
        ("UPDATE acme_order SET expires_at = 0", ProblemType.ORDER_NOT_READY),
    ):
        account, order = ready(place)

        def change_first(wish: Any, change: str = change) -> Any:
            place.sql(change)
            return issue(wish)

        monkeypatch.setattr(type(pipeline), "issue", lambda self, wish, act=change_first: act(wish))
        with pytest.raises(ACMEProblem) as caught:
            place.acme.orders.finalize(account, order.name, der_csr("web.corp.example"))
        assert caught.value.problem.type is kind
        assert certificates(place) == 0
        monkeypatch.undo()
        place.sql("UPDATE acme_policy SET lifecycle = 'active', generation = generation + 1")
    assert place.rows("SELECT count(*) FROM certificate WHERE status = 'reserved'") == [(0,)]


@pytest.mark.row("F109")
def test_the_same_csr_at_once_is_one_certificate(place: Place) -> None:
    account, order = ready(place)
    csr = der_csr("web.corp.example")
    found = at_once(*[lambda: place.acme.orders.finalize(account, order.name, csr)] * 8)
    assert {one.status for one in found} <= {OrderStatus.VALID, OrderStatus.PROCESSING}, found
    assert certificates(place) == 1
    assert place.acme.orders.get(account, order.name).status is OrderStatus.VALID


def test_other_csrs_at_once_are_one_certificate(place: Place) -> None:
    account, order = ready(place)
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(6)]
    csrs = [der_csr("web.corp.example", key=key) for key in keys]
    found = at_once(*[lambda csr=csr: place.acme.orders.finalize(account, order.name, csr) for csr in csrs])
    refused = [one for one in found if isinstance(one, ACMEProblem)]
    winners = [number for number, one in enumerate(found) if isinstance(one, Order)]
    assert len(winners) == 1, found
    assert {one.problem.type for one in refused} == {ProblemType.ORDER_NOT_READY}
    assert certificates(place) == 1
    leaf = x509.load_der_x509_certificate(place.acme.orders.certificate(account, order.name).certificates[0])
    assert leaf.public_key() == keys[winners[0]].public_key()


class _Key:
    """A key in whose place `error` stands."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def sign(self, order: Any) -> bytes:
        raise self.error


def test_a_key_that_does_not_answer_now(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    account, order = ready(place)
    intents, csr = place.world.services.intents, der_csr("web.corp.example")
    monkeypatch.setattr(type(intents), "signer", lambda self, key: _Key(OutcomeUnknown("no answer")))
    waiting = place.acme.orders.finalize(account, order.name, csr)
    assert (waiting.status, waiting.retry_after, waiting.has_certificate) == (OrderStatus.PROCESSING, 60, False)
    looked = place.acme.orders.get(account, order.name)
    assert looked.status is OrderStatus.PROCESSING
    assert looked.retry_after
    with place.refusal(ProblemType.MALFORMED, "no certificate yet", status=404):
        place.acme.orders.certificate(account, order.name)
    assert place.acme.orders.finalize(account, order.name, csr).status is OrderStatus.PROCESSING
    with place.refusal(ProblemType.ORDER_NOT_READY, "another key"):
        place.acme.orders.finalize(account, order.name, der_csr("web.corp.example"))
    monkeypatch.undo()
    place.world.pass_time(timedelta(minutes=2))
    assert intents.sweep() == 1
    assert place.acme.orders.get(account, order.name).status is OrderStatus.VALID
    assert certificates(place) == 1


def test_a_key_that_certainly_did_not_sign(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    account, order = ready(place)
    intents, csr = place.world.services.intents, der_csr("web.corp.example")
    monkeypatch.setattr(type(intents), "signer", lambda self, key: _Key(NotSigned("refused")))
    ended = place.acme.orders.finalize(account, order.name, csr)
    assert ended.status is OrderStatus.INVALID
    assert ended.error is not None
    assert ended.error.type is ProblemType.SERVER_INTERNAL
    assert "make a new order" in ended.error.detail
    monkeypatch.undo()
    with place.refusal(ProblemType.ORDER_NOT_READY, "gave no signature"):
        place.acme.orders.finalize(account, order.name, csr)
    again = place.order(account, "web.corp.example")
    assert place.acme.orders.finalize(account, again.name, csr).status is OrderStatus.VALID


@pytest.mark.parametrize("step", ["certificate.reserve", "certificate.complete"])
def test_a_database_that_is_away(sqlite_place: Place, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """Nothing is lost: the order is ready still, or it is processing and comes to its end."""
    place = sqlite_place
    account, order = ready(place)
    db, csr = place.world.parts.db, der_csr("web.corp.example")
    write = type(db).write

    def away(self: Any, name: Any, fn: Any, **more: Any) -> Any:
        if name == step:
            raise Unavailable("the database is away")
        return write(self, name, fn, **more)

    monkeypatch.setattr(type(db), "write", away)
    with pytest.raises(Unavailable):
        place.acme.orders.finalize(account, order.name, csr)
    monkeypatch.undo()
    expected = OrderStatus.READY if step == "certificate.reserve" else OrderStatus.PROCESSING
    assert place.acme.orders.get(account, order.name).status is expected
    place.world.pass_time(timedelta(minutes=2))
    place.world.services.intents.sweep()
    assert place.acme.orders.finalize(account, order.name, csr).status is OrderStatus.VALID
    assert certificates(place) == 1


def test_a_rollover_between_order_and_finalize(place: Place) -> None:
    account, order = ready(place)
    place.world.apply(
        "authorities: [{ name: root }, { name: issuing, issuer: root, key: { generation: 2 } }]",
        allow=(Action.ROLLOVER,),
    )
    done = place.acme.orders.finalize(account, order.name, der_csr("web.corp.example"))
    leaf, issuing = map(x509.load_der_x509_certificate, place.acme.orders.certificate(account, done.name).certificates)
    leaf.verify_directly_issued_by(issuing)
    ((generation,),) = place.rows(
        "SELECT i.generation FROM acme_order o JOIN issuer i ON i.id = o.issuer_id WHERE o.name = :name",
        name=order.name,
    )  # fmt: skip
    assert generation == 2


@pytest.mark.parametrize("ends", [False, True])
def test_an_issuer_that_ends_while_the_order_is_finalized(
    place: Place, monkeypatch: pytest.MonkeyPatch, ends: bool
) -> None:
    """Between choosing it and drafting the certificate: the next generation signs, or none, which is said."""
    account, order = ready(place)
    pipeline = place.world.services.pipeline
    issue = pipeline.issue
    rolled: list[bool] = []

    def roll_first(wish: Any) -> Any:
        if not rolled:
            rolled.append(True)
            if ends:
                place.sql("UPDATE authority SET lifecycle = 'retired' WHERE name = 'issuing'")
            else:
                place.world.apply(
                    "authorities: [{ name: root }, { name: issuing, issuer: root, key: { generation: 2 } }]",
                    allow=(Action.ROLLOVER,),
                )
        return issue(wish)

    # Only this order's way: the rollover issues certificates of its own by the same pipeline.
    monkeypatch.setattr(
        type(pipeline), "issue", lambda self, wish: roll_first(wish) if wish.origin_kind == "acme" else issue(wish)
    )
    csr = der_csr("web.corp.example")
    if ends:
        with pytest.raises(ACMEProblem, match="'issuing' is retired") as caught:
            place.acme.orders.finalize(account, order.name, csr)
        assert caught.value.problem.type is ProblemType.UNAUTHORIZED
        assert place.acme.orders.get(account, order.name).status is OrderStatus.READY
    else:
        assert place.acme.orders.finalize(account, order.name, csr).status is OrderStatus.VALID
        assert certificates(place) == 1


@pytest.mark.parametrize("lifecycle", ["retired", "waiting_certificate"])
def test_an_authority_that_issues_nothing_more(sqlite_place: Place, lifecycle: str) -> None:
    place = sqlite_place
    account, order = ready(place)
    place.sql(f"UPDATE authority SET lifecycle = '{lifecycle}', current_issuer_id = NULL WHERE name = 'issuing'")
    with place.refusal(ProblemType.UNAUTHORIZED, "authority 'issuing' (is retired|waits)"):
        place.acme.orders.finalize(account, order.name, der_csr("web.corp.example"))


def test_the_order_decides_the_names(sqlite_place: Place) -> None:
    account, order = ready(sqlite_place, "b.corp.example", "a.corp.example")
    csr = der_csr("A.corp.example", "b.corp.example", "B.CORP.example", common_name="A.Corp.Example")
    sqlite_place.acme.orders.finalize(account, order.name, csr)
    der = sqlite_place.acme.orders.certificate(account, order.name).certificates[0]
    assert names_in(der) == ["b.corp.example", "a.corp.example"]
    assert x509.load_der_x509_certificate(der).subject.rfc4514_string() == "CN=a.corp.example"


def test_times_that_were_ordered_are_kept(sqlite_place: Place) -> None:
    place = sqlite_place
    place.policy(preapproved_domains=["*"])
    account = place.account()
    start, end = place.now + 3600, place.now + 86400
    order = place.order(account, "a.example", not_before=start, not_after=end)
    place.acme.orders.finalize(account, order.name, der_csr("a.example"))
    leaf = x509.load_der_x509_certificate(place.acme.orders.certificate(account, order.name).certificates[0])
    assert (leaf.not_valid_before_utc.timestamp(), leaf.not_valid_after_utc.timestamp()) == (start, end)


def test_an_order_is_reserved_only_once(place: Place) -> None:
    account, order = ready(place)
    place.acme.orders.finalize(account, order.name, der_csr("web.corp.example"))
    row = place.world.parts.db.read(lambda c: acme_orders.find(c, order.name))
    assert row is not None
    for moved in (
        lambda c: acme_orders.reserve(c, row.id, 1, b"\1", b"", place.now),
        lambda c: acme_orders.complete(c, row.name),
        lambda c: acme_orders.give_up(c, row.name, "{}"),
        lambda c: acme_orders.invalidate(c, row.id, "{}"),
        lambda c: acme_orders.make_ready(c, row.id),
    ):
        assert place.write("acme.order-write", moved) is False  # type: ignore[arg-type]
