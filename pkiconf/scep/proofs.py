"""What lets a first enrolment in (F116): Intune, a one-time challenge, the static passphrase, in this order.

A renewal is proved by the certificate that signed it, which is not judged here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from pkiconf.clock import to_epoch
from pkiconf.issuance.parts import Parts
from pkiconf.model.scep import BoundNames, NotProved, Proof, ProofMethod, RefusedByIntune, SCEPRequest
from pkiconf.policy.scep import names_refusal
from pkiconf.scep.challenges import Challenge, Challenges
from pkiconf.scep.passphrases import Passphrases
from pkiconf.scep.terms import SCEPTerms
from pkiconf.scep.tries import Tries

_PADDING: Final = "\0\r\n\t "
"""What some clients send around a challenge (a C string's end, the end of a line)."""

_LONGEST: Final = 16 * 1024
"""Characters: challenges of Intune have some thousands."""


class IntuneCheck(Protocol):
    def check(self, request: SCEPRequest, terms: SCEPTerms) -> Proof | None:
        """None where the challenge is not one of Intune's. Raises NotProved; another SCEPFailure or Unavailable when
        Intune cannot be asked, and then nothing else lets the request in."""
        ...


Check = Callable[[SCEPRequest, SCEPTerms, str], Proof | str]
"""A proof; or why it is none, for the log: empty where the template takes no such proof."""


class Proofs:
    def __init__(
        self, parts: Parts, challenges: Challenges, passphrases: Passphrases, intune: IntuneCheck | None = None
    ) -> None:
        self._parts = parts
        self._challenges = challenges
        self._passphrases = passphrases
        self._intune = intune
        self.tries: Final = Tries(parts)
        self._checks: Final[tuple[Check, ...]] = (self._by_intune, self._by_challenge, self._by_passphrase)

    def check(self, request: SCEPRequest, terms: SCEPTerms, failures: int | None = None) -> Proof:
        """Why the request may have a certificate. Nothing is consumed before the proof's `consume` is called.
        `failures`: how often the client was wrong lately, where that was read beside something else.

        Raises NotProved: one text for the client, whatever was wrong; the reason is for the log. A wrong challenge
        counts against the client's address, and so does what a person would have to look at; what Intune refuses of its
        own does not: many devices may share an address.
        """
        challenge = (request.challenge or "").strip(_PADDING)
        if not challenge and terms.spec.unproved != "approval":
            return _without_challenge(terms)
        if self.tries.are_used_up(terms, request.client_address, failures):
            raise NotProved(f"too many wrong challenges came from {request.client_address or 'an unknown address'}")
        if not challenge:
            return self._by_a_person(request, terms)
        try:
            return self._first_proof(request, terms, challenge)
        except RefusedByIntune:
            raise
        except NotProved:
            self.tries.record(terms, request.client_address)
            raise

    def confirm(self, proof: Proof) -> None:
        """Raise Replaced where it is by a passphrase that was kept, and is not accepted now."""
        if proof.method is ProofMethod.PASSPHRASE and proof.consume is not None:
            self._parts.db.look(proof.consume)

    def look_again(self, terms: SCEPTerms) -> None:
        """What was kept of the template's passphrases is not true any more."""
        self._passphrases.forget(terms.template_id)

    def _by_a_person(self, request: SCEPRequest, terms: SCEPTerms) -> Proof:
        self.tries.record(terms, request.client_address)
        return Proof(ProofMethod.APPROVAL, "a person decides")

    def _first_proof(self, request: SCEPRequest, terms: SCEPTerms, challenge: str) -> Proof:
        if len(challenge) > _LONGEST:
            raise NotProved(f"the challenge has {len(challenge)} characters")
        reasons = []
        for check in self._checks:
            found = check(request, terms, challenge)
            if isinstance(found, Proof):
                return found
            reasons.append(found)
        raise NotProved("; ".join(filter(None, reasons)) or "the template takes no challenge")

    def _by_intune(self, request: SCEPRequest, terms: SCEPTerms, challenge: str) -> Proof | str:
        if terms.spec.intune is None or self._intune is None:
            return ""
        return self._intune.check(request, terms) or "it is no challenge of Intune"

    def _by_challenge(self, request: SCEPRequest, terms: SCEPTerms, challenge: str) -> Proof | str:
        if not terms.spec.takes_challenges:
            return ""
        found = self._challenges.find(terms.template_id, challenge)
        if found is None:
            return "it is no challenge of this template"
        state = found.state(to_epoch(self._parts.now()))
        if state != "unused":
            return f"challenge {found.row.id} is {state}"
        wrong = _names_refusal(found.bound, request, terms) if found.bound is not None else ""
        if wrong:
            self._challenges.record_try(found)
            return f"challenge {found.row.id} is good for other names: {wrong}"
        return self._proof_of(found, request)

    def _proof_of(self, found: Challenge, request: SCEPRequest) -> Proof:
        return Proof(
            ProofMethod.CHALLENGE,
            f"challenge {found.row.id}",
            found.bound,
            lambda c: self._challenges.consume(c, found, request.attempt_name),
            request_id=found.row.grant_id,
        )

    def _by_passphrase(self, request: SCEPRequest, terms: SCEPTerms, challenge: str) -> Proof | str:
        if terms.spec.static_passphrase is None:
            return ""
        found = self._passphrases.recall(terms, challenge)
        if found is None:
            return "it is not the static passphrase"
        return Proof(
            ProofMethod.PASSPHRASE,
            f"passphrase {found.id}",
            consume=lambda c: self._passphrases.check_accepted(c, found),
        )


def _names_refusal(bound: BoundNames, request: SCEPRequest, terms: SCEPTerms) -> str:
    return names_refusal(bound, request.subject, request.sans, subject_is_written=terms.subject_is_written)


def _without_challenge(terms: SCEPTerms) -> Proof:
    if terms.spec.unproved == "issue":
        return Proof(ProofMethod.NONE, "the template asks for no proof")
    raise NotProved("there is no challenge in it")
