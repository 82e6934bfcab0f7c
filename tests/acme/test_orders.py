"""Orders, from newOrder to the certificate (RFC 8555 §7.4)."""

from __future__ import annotations

import pytest
from cryptography import x509

from pkiconf.der.pem import pem_decode_all
from pkiconf.model.acme import OrderStatus
from tests.acme.place import Place
from tests.world import make_csr


def der_csr(*names: str, **more: object) -> bytes:
    return pem_decode_all(make_csr("", names, **more), "CERTIFICATE REQUEST")[0]  # type: ignore[arg-type]


@pytest.mark.row("F97")
def test_from_order_to_certificate(place: Place) -> None:
    place.policy()
    account = place.account()
    order = place.order(account, "web.corp.example", "*.corp.example")
    assert order.status is OrderStatus.PENDING
    assert place.prove(account, order).status is OrderStatus.READY
    csr = der_csr("*.corp.example", "web.corp.example")
    done = place.acme.orders.finalize(account, order.name, csr)
    assert (done.status, done.has_certificate) == (OrderStatus.VALID, True)
    assert place.acme.orders.get(account, order.name) == done
    assert place.acme.orders.finalize(account, order.name, csr) == done
    chain = place.acme.orders.certificate(account, order.name)
    leaf, issuing = map(x509.load_der_x509_certificate, chain.certificates)
    leaf.verify_directly_issued_by(issuing)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(x509.DNSName)
    assert names == ["web.corp.example", "*.corp.example"]


@pytest.mark.row("F101")
def test_preapproved_names_are_ready_at_once(place: Place) -> None:
    place.policy(preapproved_domains=["*.corp.example"])
    account = place.account()
    order = place.order(account, "web.corp.example", "*.corp.example")
    assert order.status is OrderStatus.READY
    done = place.acme.orders.finalize(account, order.name, der_csr("web.corp.example", "*.corp.example"))
    assert done.status is OrderStatus.VALID
