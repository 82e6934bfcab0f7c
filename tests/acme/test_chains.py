"""The chains a certificate is served with (RFC 8555 §7.4.2)."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from pkiconf.model.acme import ProblemType
from pkiconf.reconciler.state import Action
from tests.acme.place import Place

ROLLED = """
authorities:
  - { name: root, key: { generation: 2 }, rollover: { cross_certificates: true } }
  - { name: issuing, issuer: root }
"""


def chain(place: Place, name: str, alternate: int = 0) -> list[x509.Certificate]:
    order = place.acme.orders.list()[0]
    assert order.name == name
    account = place.acme.accounts.list()[0]
    found = place.acme.orders.certificate(account, name, alternate)
    return [x509.load_der_x509_certificate(der) for der in found.certificates]


def assert_path(path: list[x509.Certificate]) -> None:
    """Leaf first, each certified by the next, and no self-signed root at the end."""
    for below, above in pairwise(path):
        below.verify_directly_issued_by(above)
    last = path[-1]
    try:
        last.verify_directly_issued_by(last)
    except Exception:
        return
    raise AssertionError("the chain ends with its root")


def test_one_chain_by_default(place: Place) -> None:
    place.policy(preapproved_domains=["*"])
    account = place.account()
    order, _ = place.issued(account, "a.example")
    found = place.acme.orders.certificate(account, order.name)
    assert (len(found.certificates), found.alternates) == (2, 0)
    assert_path(chain(place, order.name))
    for alternate in (1, 2, -1, 1 << 40):
        with place.refusal(ProblemType.MALFORMED, f"there is no chain {alternate}", status=404):
            place.acme.orders.certificate(account, order.name, alternate)


def test_cross_certificates_make_alternates(place: Place) -> None:
    place.policy(preapproved_domains=["*"])
    account = place.account()
    place.world.apply(ROLLED, allow=(Action.ROLLOVER, Action.REPLACE))
    order, _ = place.issued(account, "a.example")
    found = place.acme.orders.certificate(account, order.name)
    assert found.alternates >= 1
    paths = [chain(place, order.name, number) for number in range(found.alternates + 1)]
    for path in paths:
        assert_path(path)
    assert len({tuple(one.public_bytes(Encoding.DER) for one in path) for path in paths}) == len(paths)
    place.world.pass_time(timedelta(days=365 * 11))
    assert place.acme.orders.certificate(account, order.name).alternates == 0  # what has ended is no way up any more
