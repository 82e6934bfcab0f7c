"""Devices of a tenant, made by a stranger's library; and the client under test, pointed at the stand-in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import AttributeOID, ExtendedKeyUsageOID, NameOID

from pkiconf.clock import SetClock
from pkiconf.egress.deadline import Deadline
from pkiconf.egress.https import SharedHTTPS
from pkiconf.entropy import SystemEntropy
from pkiconf.model.intune import IntuneAccess, IntuneServiceName
from pkiconf.model.secret import Secret
from pkiconf.scep.intune.service import IntuneService
from pkiconf.scep.intune.tokens import Resource
from tests.intune_server import StandIn
from tests.intune_tenant import APPLICATION, SECRET, SID, TENANT
from tests.keys import rsa_key

SANS: Sequence[x509.GeneralName] = (
    x509.DNSName("laptop-7.corp.example"),
    x509.UniformResourceIdentifier(SID),
)
TRANSACTION = "6A7F0E0E-4A53-4B1C-8A8B-0C6F2A7B9C11"


def make_csr(
    challenge: str | None,
    *,
    name: str | None = "laptop-7",
    sans: Sequence[x509.GeneralName] = SANS,
    usage: tuple[bool, bool] | None = (True, True),
    extended: Sequence[x509.ObjectIdentifier] = (ExtendedKeyUsageOID.CLIENT_AUTH,),
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | None = None,
    string: _ASN1Type = _ASN1Type.UTF8String,
) -> bytes:
    """DER. `usage` is digitalSignature and keyEncipherment; `string` what the challenge is written as."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)] if name else [])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    if sans:
        builder = builder.add_extension(x509.SubjectAlternativeName(sans), critical=False)
    if usage is not None:
        wanted = x509.KeyUsage(usage[0], False, usage[1], False, False, False, False, False, False)
        builder = builder.add_extension(wanted, critical=True)
    if extended:
        builder = builder.add_extension(x509.ExtendedKeyUsage(extended), critical=False)
    if challenge is not None:
        builder = builder.add_attribute(AttributeOID.CHALLENGE_PASSWORD, challenge.encode(), _tag=string)
    return builder.sign(key or rsa_key(), hashes.SHA256()).public_bytes(Encoding.DER)


@dataclass
class Asker:
    """`pauses` are the seconds that the client would have slept, in order: nobody sleeps here."""

    stand_in: StandIn
    https: SharedHTTPS
    clock: SetClock
    pauses: list[float] = field(default_factory=list)

    @property
    def access(self) -> IntuneAccess:
        url = self.stand_in.url
        return IntuneAccess(
            TENANT, APPLICATION, Secret(SECRET.encode()), f"{url}/login/", f"{url}/graph/", f"{url}/api/"
        )

    def service(self, seconds: float = 60, **changes: str | Secret) -> IntuneService:
        access = replace(self.access, **changes)  # type: ignore[arg-type]
        return self.of(access, seconds)

    def of(self, access: IntuneAccess, seconds: float = 60) -> IntuneService:
        return IntuneService(self.https, access, self.clock.now, SystemEntropy(), self.pauses.append, seconds)

    def hurried(self, service: IntuneService) -> IntuneService:
        """One that has asked before, and now has no time for what gives no answer."""
        service.line.discovery.find(IntuneServiceName.VALIDATION, service.request_id(), Deadline.within(60))
        service.line.tokens.get(Resource.INTUNE, Deadline.within(60))
        service.seconds = 0.3
        return service
