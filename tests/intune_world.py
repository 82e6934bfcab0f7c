"""A PKI whose template asks a tenant's Intune, and devices that the tenant sends there."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import sha256
from typing import Any
from uuid import uuid4

from sqlalchemy import insert

from pkiconf.clock import to_epoch
from pkiconf.der.csr import parse_csr
from pkiconf.issuance.intents import Intents
from pkiconf.issuance.order import IssuanceOrder
from pkiconf.issuance.pipeline import Pipeline
from pkiconf.issuance.requests import current_issuer, find_template
from pkiconf.model.actor import SYSTEM
from pkiconf.model.certificate import CertificateID
from pkiconf.model.request import Issued, Outcome, Wanted
from pkiconf.model.scep import Proof, SCEPRequest
from pkiconf.policy.serials import serial_bytes
from pkiconf.scep.intune.bag import Intune
from pkiconf.store import certificates, intune, tables
from pkiconf.store.database import Connection
from pkiconf.worker import Worker
from tests.intune_client import make_csr
from tests.intune_server import StandIn
from tests.intune_tenant import SECRET
from tests.world import World

TEMPLATE = "issuing/device"


def declaration(stand_in: StandIn, **scep: Any) -> str:
    """Of a root, an authority below it, and its template with Intune."""
    places = "\n".join(f"        {name}: {value}" for name, value in stand_in.declaration().items())
    more = "".join(f"      {name}: {value}\n" for name, value in scep.items())
    return f"""
authorities:
  - name: root
  - name: issuing
    issuer: root
templates:
  - name: device
    authority: issuing
    starter: device
    scep:
      enabled: true
{more}      intune:
        client_secret: !env INTUNE_SECRET
{places}
"""


@dataclass
class _NoOrigin:
    def completed(self, c: Connection, origin_id: str, certificate: CertificateID, der: bytes) -> None:
        pass

    def given_back(self, c: Connection, origin_id: str) -> None:
        pass


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
        os.environ["INTUNE_SECRET"] = SECRET
        self.pki.apply(declaration(self.stand_in, **scep))

    def device(self, **asks: Any) -> Device:
        """One that the tenant sent here; `asks` is what its request says differently."""
        challenge = asks.pop("challenge", None) or self.stand_in.tenant.challenge()
        return Device(self, make_csr(challenge, **asks), challenge)

    def check(self, device: Device) -> Proof:
        scep = self.pki.services.scep
        return scep.proofs.check(device.request, scep.terms.get(self.template_id))

    def make(self, device: Device, proof: Proof) -> Outcome:
        """What SCEP's core does with a proof: consume it where the certificate is reserved."""
        request, template_id = device.request, self.template_id
        pipeline = Pipeline(self.pki.parts, Intents(self.pki.parts, {"scep": _NoOrigin()}))
        return pipeline.issue(
            IssuanceOrder(
                issuer_id=self.pki.parts.db.read(lambda c: current_issuer(c, template_id)),
                template_id=template_id,
                wanted=Wanted(request.subject, request.wanted.spki, request.wanted.key, request.sans),
                origin_kind="scep",
                origin_id=f"{template_id}/{device.transaction}",
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

    def state(self, device: Device) -> str | None:
        template_id = self.template_id
        row = self.pki.parts.db.read(lambda c: intune.find(c, template_id, device.transaction))
        return row.state if row else None

    def pass_time(self, length: timedelta) -> None:
        self.pki.pass_time(length)

    def work(self) -> None:
        """The worker's turn."""
        Worker(self.pki.services).run_once()


def _reserved(c: Connection, request: SCEPRequest, proof: Proof, certificate: CertificateID) -> None:
    assert proof.consume is not None
    proof.consume(c)
    c.execute(
        insert(tables.scep_transaction).values(
            template_id=request.template_id,
            transaction_id=request.transaction_id,
            csr_sha256=sha256(request.csr).digest(),
            signer_spki_sha256=b"",
            state="issued",
            method=proof.method.value,
            issuer_id=certificate.issuer_id,
            serial=serial_bytes(certificate.serial_number),
            created_at=to_epoch(request.received_at),
        )
    )
