"""Everything of SCEP in one frozen value, for endpoints, reconciler and command line."""

from __future__ import annotations

from dataclasses import dataclass

from pkiconf.authority.service_certificates import ServiceCertificates
from pkiconf.egress.https import HTTPSClient
from pkiconf.issuance.parts import Parts
from pkiconf.issuance.pipeline import Pipeline
from pkiconf.revocation.crl_downloads import CRLDownloads
from pkiconf.revocation.revoke import Revocations
from pkiconf.scep.certificates import AuthorityCertificates
from pkiconf.scep.challenges import Challenges
from pkiconf.scep.enrolment import Enrolment
from pkiconf.scep.inquiries import Inquiries
from pkiconf.scep.intune.bag import Intune, make_intune
from pkiconf.scep.intune.enrolment import FOLLOWUP
from pkiconf.scep.passphrases import Passphrases
from pkiconf.scep.places import Places
from pkiconf.scep.proofs import Proofs
from pkiconf.scep.renewals import Renewals
from pkiconf.scep.responder import Responder
from pkiconf.scep.secrets import TemplateSecrets
from pkiconf.scep.terms import TermsLookup
from pkiconf.scep.transactions import Transactions
from pkiconf.scep.tries import Tries


@dataclass(frozen=True)
class SCEP:
    terms: TermsLookup
    secrets: TemplateSecrets
    passphrases: Passphrases
    challenges: Challenges
    tries: Tries
    proofs: Proofs
    intune: Intune
    places: Places
    certificates: AuthorityCertificates
    responder: Responder


def make_scep(
    parts: Parts,
    pipeline: Pipeline,
    services: ServiceCertificates,
    revocations: Revocations,
    crls: CRLDownloads,
    https: HTTPSClient,
) -> SCEP:
    terms, secrets = TermsLookup(parts), TemplateSecrets(parts)
    challenges, passphrases = Challenges(parts, terms), Passphrases(parts, terms)
    intune = make_intune(parts, revocations, https, terms, secrets)
    proofs = Proofs(parts, challenges, passphrases, intune.enrolment)
    transactions = Transactions(parts, pipeline.intents)
    followups = {FOLLOWUP: intune.enrolment}
    enrolment = Enrolment(parts, pipeline, transactions, Renewals(parts), proofs, followups)
    return SCEP(
        terms=terms,
        secrets=secrets,
        passphrases=passphrases,
        challenges=challenges,
        tries=Tries(parts),
        proofs=proofs,
        intune=intune,
        places=Places(parts, terms, services),
        certificates=AuthorityCertificates(parts, services),
        responder=Responder(parts, enrolment, Inquiries(parts, transactions, enrolment, crls)),
    )
