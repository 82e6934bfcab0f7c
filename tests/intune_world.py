"""A PKI whose template asks a tenant's Intune, and devices that the tenant sends there."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import sha256
from typing import Any
from uuid import uuid4

from sqlalchemy import text

from pkiconf.clock import to_epoch
from pkiconf.der.csr import parse_csr
from pkiconf.issuance.order import IssuanceOrder
from pkiconf.issuance.requests import current_issuer, find_template
from pkiconf.model.actor import SYSTEM
from pkiconf.model.certificate import CertificateID
from pkiconf.model.request import Issued, Outcome, Wanted
from pkiconf.model.scep import Proof, SCEPRequest
from pkiconf.policy.serials import serial_bytes
from pkiconf.scep.intune.bag import Intune
from pkiconf.scep.origin import ORIGIN, origin_id
from pkiconf.store import certificates, intune, scep_transactions
from pkiconf.store.database import Connection
from pkiconf.store.scep_transactions import NewTransaction
from pkiconf.worker import Worker
from tests.intune_client import make_csr
from tests.intune_server import StandIn
from tests.intune_tenant import SECRET
from tests.scep_client import device_key
from tests.world import World

TEMPLATE = "issuing/device"


def declaration(stand_in: StandIn, names: object = None, **scep: Any) -> str:
    """Of a root, an authority below it, and its template with Intune."""
    places = "\n".join(f"        {name}: {value}" for name, value in stand_in.declaration().items())
    more = "".join(f"      {name}: {value}\n" for name, value in scep.items())
    rules = f"    names: {json.dumps(names)}\n" if names else ""
    return f"""
authorities:
  - {{name: root, key: {{type: ec, curve: p256}}}}
  - {{name: issuing, issuer: root, key: {{type: ec, curve: p256}}}}
templates:
  - name: device
    authority: issuing
    starter: device
{rules}    scep:
      enabled: true
{more}      intune:
        client_secret: !env INTUNE_SECRET
{places}
"""


@dataclass
class Device:
    """What one device asks for, in one SCEP transaction."""

    world: IntuneWorld
    csr: bytes
    challenge: str
    transaction: str = field(default_factory=lambda: str(uuid4()).upper())

    @property
    def request(self) -> SCEPRequest:
        wanted = parse_csr(self.csr)
        return SCEPRequest(
            self.world.template_id, 0, self.transaction, wanted, self.challenge, b"", False, "192.0.2.7",
            self.world.pki.clock.now(),
        )  # fmt: skip


@dataclass
class IntuneWorld:
    pki: World
    stand_in: StandIn

    @property
    def intune(self) -> Intune:
        return self.pki.services.scep.intune

    @property
    def template_id(self) -> int:
        return self.pki.parts.db.read(lambda c: find_template(c, TEMPLATE)).id

    def apply(self, **scep: Any) -> None:
        """`names` are the template's, everything else is of its SCEP."""
        os.environ["INTUNE_SECRET"] = SECRET
        self.pki.apply(declaration(self.stand_in, **scep))

    def device(self, **asks: Any) -> Device:
        """One that the tenant sent here; `asks` is what its request says differently."""
        challenge = asks.pop("challenge", None) or self.stand_in.tenant.challenge()
        return Device(self, make_csr(challenge, key=device_key(0), **asks), challenge)

    def bare_device(self) -> Device:
        """One that has no challenge, whoever sent it."""
        return Device(self, make_csr(None, key=device_key(0)), "")

    def hurry(self) -> None:
        """From now on there is no time for what gives no answer; what is kept of the tenant is kept."""
        for service in self.intune.enrolment.services.all():
            service.seconds = 2

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        return self.pki.parts.db.read(lambda c: [tuple(row) for row in c.execute(text(sql))])

    def check(self, device: Device) -> Proof:
        scep = self.pki.services.scep
        return scep.proofs.check(device.request, scep.terms.get(self.template_id))

    def make(self, device: Device, proof: Proof) -> Outcome:
        """What SCEP's core does with a proof: consume it where the certificate is reserved."""
        request, template_id = device.request, self.template_id
        return self.pki.services.pipeline.issue(
            IssuanceOrder(
                issuer_id=self.pki.parts.db.read(lambda c: current_issuer(c, template_id)),
                template_id=template_id,
                wanted=Wanted(request.subject, request.wanted.spki, request.wanted.key, request.sans),
                origin_kind=ORIGIN,
                origin_id=origin_id(template_id, device.transaction, 1, device.csr),
                address="scep",
                actor=SYSTEM,
                reserved=lambda c, certificate: _reserved(c, request, proof, certificate),
            )
        )

    def issue(self, device: Device) -> Issued:
        """A certificate that Intune let in, and does not know of yet."""
        outcome = self.make(device, self.check(device))
        assert isinstance(outcome, Issued), outcome
        return outcome

    def deliver(self, device: Device) -> Issued:
        """All of it; what a device gets."""
        issued = self.issue(device)
        self.intune.enrolment.issued(device.request, issued)
        return issued

    def status(self, issued: Issued) -> str:
        return self.pki.parts.db.read(lambda c: certificates.get_certificate(c, issued.id)).status

    def state(self, issued: Issued) -> str | None:
        row = self.pki.parts.db.read(lambda c: intune.find(c, issued.id))
        return row.state if row else None

    def pass_time(self, length: timedelta) -> None:
        self.pki.pass_time(length)

    def work(self) -> None:
        """The worker's turn."""
        Worker(self.pki.services).run_once()


def _reserved(c: Connection, request: SCEPRequest, proof: Proof, certificate: CertificateID) -> None:
    scep_transactions.add(
        c,
        NewTransaction(
            template_id=request.template_id,
            transaction_id=request.transaction_id,
            attempt=1,
            csr_sha256=sha256(request.csr).digest(),
            signer_spki_sha256=sha256(request.wanted.spki).digest(),
            method=proof.method.value,
            created_at=to_epoch(request.received_at),
            issuer_id=certificate.issuer_id,
            serial=serial_bytes(certificate.serial_number),
            after_issue=proof.after_issue,
            csr=request.csr,
        ),
    )
    assert proof.consume is not None
    proof.consume(c)
