"""A whole PKI in a test: real services over a real database, with a clock that the test sets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding

from pkiconf.authority.declared import DeclaredAuthority
from pkiconf.authority.telling import Telling
from pkiconf.clock import SetClock, to_epoch
from pkiconf.egress.https import HTTPSClient, SharedHTTPS
from pkiconf.entropy import SystemEntropy
from pkiconf.issuance.parts import Parts
from pkiconf.model.actor import Actor
from pkiconf.model.keys import get_key_algorithm
from pkiconf.model.request import Issued, Outcome, Overrides
from pkiconf.model.secret import Secret
from pkiconf.policy.authority import authority_defaults
from pkiconf.reconciler.apply import Recap, apply_plan
from pkiconf.reconciler.observe import load_plan
from pkiconf.reconciler.state import Action
from pkiconf.services import Services, make_services
from pkiconf.signing.keyring import Keyring
from pkiconf.signing.local import generate, load_sealed
from pkiconf.signing.master import FileSource, create_master_key_file, load_master_keys
from pkiconf.signing.signer import Kind, SigningOrder
from pkiconf.spec.loader import load_files
from pkiconf.store.audit import AuditLog
from pkiconf.store.database import Database
from tests.network import ScriptedNetwork

NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)
OPERATOR = Actor("operator", "test", "local-shell")


@dataclass
class FollowingTimepiece:
    """Shows what the world's clock shows, and `moved` microseconds more: hands that somebody moved. The steady counter
    is as exact, and nobody moves it."""

    clock: SetClock
    moved: int = 0
    passed: int = 0
    """Microseconds that have gone by within the second."""

    def wall(self) -> int:
        return self.steady() + self.moved

    def steady(self) -> int:
        return to_epoch(self.clock.moment) * 1_000_000 + self.passed


@dataclass
class World:
    services: Services
    clock: SetClock
    folder: Path
    network: ScriptedNetwork
    timepiece: FollowingTimepiece
    https: SharedHTTPS
    """Connects to whatever a test lets it `trust`; a test that has it connect closes it."""

    @property
    def parts(self) -> Parts:
        return self.services.parts

    def pass_time(self, length: timedelta) -> None:
        self.clock.moment += length

    def apply(
        self, text: str, *, allow: tuple[Action, ...] = (), prune: bool = False, telling: Telling | None = None
    ) -> Recap:
        """Declare YAML text and converge to it."""
        path = self.folder / "pki.yaml"
        path.write_text(text)
        document = load_files([path])
        plan = load_plan(self.services, document, now=self.clock.now(), prune=prune)
        return apply_plan(self.services, plan, document, allow, OPERATOR, telling=telling)

    def authority(self, name: str, issuer: str = "self", **explicit: Any) -> int:
        """A declared authority, made at once, without a reconciler; its issuer's id."""
        declared = {"name": name, "issuer": issuer, **explicit}
        spec = authority_defaults(declared, 1 if issuer == "self" else 0, issuer == "self")
        row = self.services.authorities.create(DeclaredAuthority(name, spec, "yaml:default"), OPERATOR)
        assert row.current_issuer_id is not None
        return row.current_issuer_id

    def issue(self, template: str, csr: bytes, overrides: Overrides | None = None) -> Outcome:
        number = self.services.requests.submit(template, csr, OPERATOR)
        return self.services.requests.sign(number, overrides or Overrides(), OPERATOR)

    def issued(self, template: str, csr: bytes, overrides: Overrides | None = None) -> Issued:
        outcome = self.issue(template, csr, overrides)
        assert isinstance(outcome, Issued), outcome
        return outcome


def make_world(database: Database, folder: Path, https: HTTPSClient | None = None) -> World:
    """`folder` gets the master key; the database holds nothing yet but its schema."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    source = FileSource(folder / "master.key")
    create_master_key_file(source.path, SystemEntropy())
    keyring = Keyring(load_master_keys(source), lambda: load_master_keys(source))
    clock = SetClock(NOW)
    checkpoint = load_sealed(generate(get_key_algorithm("ed25519"))[0])

    def sign(message: bytes) -> bytes:
        return checkpoint.sign(SigningOrder(UUID(int=0), Kind.CHECKPOINT, message, checkpoint.algorithms[0], NOW))

    timepiece = FollowingTimepiece(clock)
    parts = Parts(
        database, keyring, AuditLog(Secret(bytes(32))), clock, SystemEntropy(), lambda: None, folder, timepiece
    )
    network = ScriptedNetwork()
    shared = SharedHTTPS()
    services = make_services(parts, sign, network, https or shared)
    return World(services, clock, folder, network, timepiece, shared)


def make_csr(
    common_name: str = "web.corp.example",
    dns: tuple[str, ...] = ("web.corp.example",),
    key: CertificateIssuerPrivateKeyTypes | None = None,
    extensions: Mapping[x509.ExtensionType, bool] | None = None,
) -> bytes:
    """A PEM request made by a stranger's library."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)] if common_name else [])
    )
    if dns:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in dns]), False)
    for extension, critical in (extensions or {}).items():
        builder = builder.add_extension(extension, critical)
    private = key or ec.generate_private_key(ec.SECP256R1())
    algorithm = hashes.SHA256() if hasattr(private, "key_size") else None
    return builder.sign(private, algorithm).public_bytes(Encoding.PEM)
