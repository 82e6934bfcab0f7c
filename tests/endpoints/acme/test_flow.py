"""What a client does from registration to renewal (RFC 8555 §7)."""

from __future__ import annotations

import pytest
from cryptography import x509

from tests.endpoints.acme.wire import BASE, Wire


@pytest.mark.row("F97")
def test_a_certificate_from_registration_to_download(wire: Wire) -> None:
    order = wire.issued("a.corp.example", "b.corp.example")
    chain = wire.post(order.json["certificate"])
    assert chain.status == 200
    assert chain.headers["content-type"] == "application/pem-certificate-chain"
    leaf, *rest = x509.load_pem_x509_certificates(chain.body)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["a.corp.example", "b.corp.example"]
    leaf.verify_directly_issued_by(rest[0])
    assert order.location.startswith(f"{BASE}/acme/order/")
