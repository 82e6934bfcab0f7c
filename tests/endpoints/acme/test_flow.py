"""What a client does from registration to renewal (RFC 8555 §7)."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography import x509

from pkiconf.steps import Step
from tests.endpoints.acme.wire import BASE, Wire, csr_for


@pytest.mark.row("F97")
def test_a_certificate_from_registration_to_download(wire: Wire) -> None:
    """§7.1, §7.4, §7.4.2: the certificate has the order's names, and its chain follows it."""
    order = wire.issued("a.corp.example", "b.corp.example")
    chain = wire.post(order.json["certificate"])
    assert chain.status == 200
    assert chain.headers["content-type"] == "application/pem-certificate-chain"
    leaf, *rest = x509.load_pem_x509_certificates(chain.body)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["a.corp.example", "b.corp.example"]
    leaf.verify_directly_issued_by(rest[0])
    assert order.location.startswith(f"{BASE}/acme/order/")


@pytest.mark.parametrize("proved", [True, False], ids=["proved", "pre-approved"])
def test_what_is_written_for_one_certificate(wire: Wire, monkeypatch: pytest.MonkeyPatch, proved: bool) -> None:
    """§7.4, §7.5.1: each step once and durable, but for the claim of the job, which may be lost; to look at things
    writes nothing."""
    name = "web.needs-proof.example" if proved else "a.corp.example"
    wire.place.world.network.proofs.add("*")
    wire.issued("first.corp.example")  # what is made when it is first needed stands from here on
    wire.get("/acme/directory")
    db, said = wire.place.world.parts.db, list[tuple[Step, bool]]()
    real = type(db).write

    def write(self: object, step: Step, fn: Any, *, durable: bool = True) -> Any:
        said.append((step, durable))
        return real(db, step, fn, durable=durable)

    monkeypatch.setattr(type(db), "write", write)
    order = wire.order(name)
    for url in order.json["authorizations"] if proved else ():
        assert wire.post(f"{url.replace('/authz/', '/chall/')}/http-01", {}).status == 200
        (task,) = wire.place.acme.validations.claim("w", 16)
        wire.place.acme.validations.attempt(task)
        assert wire.post(url).json["status"] == "valid"
    assert wire.post(order.location).json["status"] == "ready"
    done = wire.post(order.json["finalize"], {"csr": csr_for(name)})
    assert done.json["status"] == "valid"
    assert wire.post(done.location).json["status"] == "valid"
    assert wire.post(done.json["certificate"]).status == 200
    asked = [(Step.ACME_CHALLENGE_ACCEPT, True), (Step.JOB_CLAIM, False), (Step.ACME_VALIDATED, True)]
    assert said == [
        (Step.ACME_ORDER_CREATE, True),
        *(asked if proved else []),
        (Step.CERTIFICATE_RESERVE, True),
        (Step.CERTIFICATE_COMPLETE, True),
    ]
