"""One frozen bag of everything that endpoints, the reconciler, the worker and the command line call.

What only some of them need is imported and made when it is asked for first: every command would start later for it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from pkiconf.acme.origin import ORIGIN as ACME_ORIGIN
from pkiconf.acme.origin import OrderOrigin
from pkiconf.authority.destroy import Destruction
from pkiconf.authority.establish import ORIGIN as CA_ORIGIN
from pkiconf.authority.establish import CAOrigin, Establisher
from pkiconf.authority.installed import ExternalAuthorities
from pkiconf.authority.lifecycle import Authorities
from pkiconf.authority.listener import ORIGIN as LISTENER_ORIGIN
from pkiconf.authority.listener import ListenerCertificates, ListenerOrigin
from pkiconf.authority.lookup import AuthorityLookup
from pkiconf.authority.service_certificates import ORIGIN as SERVICE_ORIGIN
from pkiconf.authority.service_certificates import ServiceCertificates, ServiceOrigin
from pkiconf.authority.settings import DeclaredSettings
from pkiconf.authority.template_lookup import TemplateLookup
from pkiconf.authority.templates import Templates
from pkiconf.egress.https import HTTPSClient, SharedHTTPS
from pkiconf.egress.network import Network
from pkiconf.egress.transparency import HTTPSLogs
from pkiconf.issuance.certificates import Certificates
from pkiconf.issuance.intents import Intents
from pkiconf.issuance.order import Origin
from pkiconf.issuance.parts import Parts
from pkiconf.issuance.pipeline import Pipeline
from pkiconf.issuance.requests import ORIGIN as REQUEST_ORIGIN
from pkiconf.issuance.requests import RequestOrigin, Requests
from pkiconf.issuance.transparency import Transparency
from pkiconf.revocation.crl import CRLs
from pkiconf.revocation.crl_downloads import PLACES, CRLDownloads
from pkiconf.revocation.ocsp import OCSPResponder
from pkiconf.revocation.presigning import Presigning
from pkiconf.revocation.revoke import Revocations
from pkiconf.revocation.whereabouts import WhereaboutsLookup
from pkiconf.scep.origin import ORIGIN as SCEP_ORIGIN
from pkiconf.scep.origin import TransactionOrigin
from pkiconf.store.sealer import Sealer

if TYPE_CHECKING:
    from pkiconf.acme.bag import ACME
    from pkiconf.enrolment.bag import Enrolment
    from pkiconf.scep.bag import SCEP
    from pkiconf.timestamps.bag import Timestamping
    from pkiconf.timestamps.clock_inquiry import ClockInquiry
    from pkiconf.timestamps.records import TimestampRecords
    from pkiconf.timestamps.service import Timestamps

T = TypeVar("T")

_LATE: Final = (
    "pkiconf.acme.bag", "pkiconf.enrolment.bag", "pkiconf.scep.bag", "pkiconf.timestamps.bag",
    "pkiconf.egress.https_streams",
)  # fmt: skip


def import_everything() -> None:
    """What is imported later otherwise: for a process that forks others, which would import it one by one."""
    for name in _LATE:
        import_module(name)


class Later(Generic[T]):
    """What is made when it is asked for first, once, whichever thread asks."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._making = threading.Lock()
        self._made: T | None = None

    def get(self) -> T:
        if self._made is None:
            with self._making:
                if self._made is None:
                    self._made = self._make()
        return self._made

    @property
    def made(self) -> T | None:
        return self._made


@dataclass(frozen=True)
class Services:
    parts: Parts
    pipeline: Pipeline
    intents: Intents
    requests: Requests
    certificates: Certificates
    establisher: Establisher
    authorities: Authorities
    external: ExternalAuthorities
    lookup: AuthorityLookup
    templates: Templates
    template_lookup: TemplateLookup
    destruction: Destruction
    listener: ListenerCertificates
    settings: DeclaredSettings
    service_certificates: ServiceCertificates
    revocations: Revocations
    crls: CRLs
    crl_downloads: CRLDownloads
    ocsp: OCSPResponder
    presigning: Presigning
    whereabouts: WhereaboutsLookup
    sealer: Sealer
    https: HTTPSClient
    _acme: Later[ACME]
    _scep: Later[SCEP]
    _timestamping: Later[Timestamping]
    _enrolment: Later[Enrolment]

    @property
    def acme(self) -> ACME:
        return self._acme.get()

    @property
    def scep(self) -> SCEP:
        return self._scep.get()

    @property
    def timestamps(self) -> Timestamps:
        return self._timestamping.get().service

    @property
    def timestamp_records(self) -> TimestampRecords:
        return self._timestamping.get().records

    @property
    def clock_inquiry(self) -> ClockInquiry:
        return self._timestamping.get().clock_inquiry

    @property
    def enrolment(self) -> Enrolment:
        return self._enrolment.get()

    def make_everything(self) -> None:
        """For a program that runs for long: what cannot be made ends it when it starts."""
        for later in (self._acme, self._scep, self._timestamping, self._enrolment):
            later.get()

    def close(self) -> None:
        """When nobody asks for anything any more."""
        if self._timestamping.made is not None:
            self._timestamping.made.service.close()
        self.https.close()
        self.parts.db.close()


def make_services(
    parts: Parts,
    sign_checkpoint: Callable[[bytes], bytes],
    network: Network,
    https: HTTPSClient | None = None,
    *,
    waiting_places: int = 0,
) -> Services:
    """Wire everything once, in the open. `https` is how named services are asked, by default the real one;
    `waiting_places` is how many threads may wait for what a worker does."""
    https = https or SharedHTTPS()
    origins: dict[str, Origin] = {
        REQUEST_ORIGIN: RequestOrigin(),
        CA_ORIGIN: CAOrigin(parts),
        SERVICE_ORIGIN: ServiceOrigin(parts),
        LISTENER_ORIGIN: ListenerOrigin(),
        ACME_ORIGIN: OrderOrigin(),
        SCEP_ORIGIN: TransactionOrigin(),
    }
    intents = Intents(parts, origins, Transparency(parts, HTTPSLogs(https)))
    pipeline = Pipeline(parts, intents)
    requests = Requests(parts, pipeline)
    service_certificates = ServiceCertificates(parts, pipeline)
    revocations = Revocations(parts)
    crls = CRLs(parts)
    crl_downloads = CRLDownloads(parts, crls, waiting_places or PLACES)

    def make_acme() -> ACME:
        from pkiconf.acme.bag import make_acme

        return make_acme(parts, pipeline, revocations, network, waiting_places)

    def make_scep() -> SCEP:
        from pkiconf.scep.bag import make_scep

        return make_scep(parts, pipeline, service_certificates, revocations, crl_downloads, https)

    def make_timestamping() -> Timestamping:
        from pkiconf.timestamps.bag import make_timestamping

        return make_timestamping(parts, service_certificates, network)

    def make_enrolment() -> Enrolment:
        from pkiconf.enrolment.bag import make_enrolment

        return make_enrolment(parts, pipeline, requests, scep.get().challenges, service_certificates)

    scep = Later(make_scep)
    establisher = Establisher(parts, pipeline, service_certificates)
    return Services(
        parts=parts,
        pipeline=pipeline,
        intents=intents,
        requests=requests,
        certificates=Certificates(parts),
        establisher=establisher,
        authorities=Authorities(parts, establisher),
        external=ExternalAuthorities(parts),
        lookup=AuthorityLookup(parts),
        templates=Templates(parts),
        template_lookup=TemplateLookup(parts),
        destruction=Destruction(parts),
        listener=ListenerCertificates(parts, pipeline),
        settings=DeclaredSettings(parts),
        service_certificates=service_certificates,
        revocations=revocations,
        crls=crls,
        crl_downloads=crl_downloads,
        ocsp=OCSPResponder(parts, service_certificates),
        presigning=Presigning(parts, service_certificates),
        whereabouts=WhereaboutsLookup(parts),
        sealer=Sealer(parts.db, parts.audit, sign_checkpoint, parts.state),
        https=https,
        _acme=Later(make_acme),
        _scep=scep,
        _timestamping=Later(make_timestamping),
        _enrolment=Later(make_enrolment),
    )
