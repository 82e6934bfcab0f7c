"""Everything of SCEP in one frozen value, for endpoints, reconciler and command line."""

from __future__ import annotations

from dataclasses import dataclass

from pkiconf.egress.https import HTTPSClient
from pkiconf.issuance.parts import Parts
from pkiconf.revocation.revoke import Revocations
from pkiconf.scep.challenges import Challenges
from pkiconf.scep.intune.bag import Intune, make_intune
from pkiconf.scep.passphrases import Passphrases
from pkiconf.scep.proofs import Proofs
from pkiconf.scep.secrets import TemplateSecrets
from pkiconf.scep.terms import TermsLookup
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


def make_scep(parts: Parts, revocations: Revocations, https: HTTPSClient) -> SCEP:
    terms, secrets = TermsLookup(parts), TemplateSecrets(parts)
    challenges, passphrases = Challenges(parts, terms), Passphrases(parts, terms)
    intune = make_intune(parts, revocations, https, terms, secrets)
    return SCEP(
        terms=terms,
        secrets=secrets,
        passphrases=passphrases,
        challenges=challenges,
        tries=Tries(parts),
        proofs=Proofs(parts, challenges, passphrases, intune.enrolment),
        intune=intune,
    )
