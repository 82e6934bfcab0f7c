"""Who may revoke over ACME, and for which reasons (RFC 8555 §7.6)."""

from __future__ import annotations

from typing import Final

from pkiconf.model.acme import ACMEProblem, Identifier, ProblemType
from pkiconf.model.attributes import COMMON_NAME
from pkiconf.model.names import GeneralName, Name
from pkiconf.model.revocation import RevocationReason
from pkiconf.policy.acme.identifiers import find_identifier
from pkiconf.policy.claims import claims_of

REASONS: Final = (
    RevocationReason.UNSPECIFIED,
    RevocationReason.KEY_COMPROMISE,
    RevocationReason.AFFILIATION_CHANGED,
    RevocationReason.SUPERSEDED,
    RevocationReason.CESSATION_OF_OPERATION,
    RevocationReason.PRIVILEGE_WITHDRAWN,
)


def parse_reason(code: int | None, *, may_blame_key: bool) -> RevocationReason:
    """The reason of a code; none is `unspecified` (RFC 5280 §5.3.1).

    Only who ordered the certificate or holds its key may give keyCompromise; whoever holds it bars it so from every
    certificate to come. Raises ACMEProblem `badRevocationReason`, with the codes that may be given.
    """
    if code is None:
        return RevocationReason.UNSPECIFIED
    allowed = [reason for reason in REASONS if may_blame_key or reason is not RevocationReason.KEY_COMPROMISE]
    for reason in allowed:
        if reason.code == code and not isinstance(code, bool):
            return reason
    known = ", ".join(f"{reason.code} ({reason.text})" for reason in allowed)
    raise ACMEProblem(
        ProblemType.BAD_REVOCATION_REASON,
        f"a client cannot revoke for reason {code}; leave it out, or give one of {known}",
    )


def names_to_prove(subject: Name, sans: tuple[GeneralName, ...]) -> frozenset[Identifier] | None:
    """Every name that an account must hold an authorization for; None for a certificate that names something which
    ACME proves nothing about, or nothing at all."""
    needed = set()
    for claim in claims_of(subject, sans, single_labels=True):
        identifier = find_identifier(claim.name)
        if identifier is None:
            return None
        needed.add(identifier)
    common_names = (attribute for attribute in subject.attributes if attribute.oid == COMMON_NAME)
    if not all(claims_of(Name(((attribute,),)), (), single_labels=True) for attribute in common_names):
        return None
    return frozenset(needed) or None
