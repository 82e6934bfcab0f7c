"""Everything of Intune in one frozen value."""

from __future__ import annotations

from dataclasses import dataclass

from pkiconf.egress.https import HTTPSClient
from pkiconf.issuance.parts import Parts
from pkiconf.revocation.revoke import Revocations
from pkiconf.scep.intune.access import DeclaredAccesses, IntuneServices, service_maker
from pkiconf.scep.intune.diagnosis import IntuneDiagnosis
from pkiconf.scep.intune.enrolment import IntuneEnrolment
from pkiconf.scep.intune.revocations import IntuneRevocations
from pkiconf.scep.secrets import TemplateSecrets
from pkiconf.scep.terms import TermsLookup


@dataclass(frozen=True)
class Intune:
    enrolment: IntuneEnrolment
    revocations: IntuneRevocations
    diagnosis: IntuneDiagnosis


def make_intune(
    parts: Parts, revocations: Revocations, https: HTTPSClient, terms: TermsLookup, secrets: TemplateSecrets
) -> Intune:
    make = service_maker(parts, https)
    services, access_of = IntuneServices(make), DeclaredAccesses(terms, secrets)
    return Intune(
        enrolment=IntuneEnrolment(parts, revocations, services, access_of),
        revocations=IntuneRevocations(parts, revocations, services, access_of),
        diagnosis=IntuneDiagnosis(parts, make, access_of),
    )
