"""Everything of SCEP in one frozen value, for endpoints, reconciler and command line."""

from __future__ import annotations

from dataclasses import dataclass

from pkiconf.issuance.parts import Parts
from pkiconf.scep.challenges import Challenges
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


def make_scep(parts: Parts) -> SCEP:
    terms = TermsLookup(parts)
    challenges, passphrases = Challenges(parts, terms), Passphrases(parts, terms)
    return SCEP(
        terms=terms,
        secrets=TemplateSecrets(parts),
        passphrases=passphrases,
        challenges=challenges,
        tries=Tries(parts),
        proofs=Proofs(parts, challenges, passphrases),
    )
