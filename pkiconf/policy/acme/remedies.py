"""What an operator, or whoever runs the client, can do about a problem: one sentence each."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from pkiconf.model.acme import Authorization, ChallengeStatus, ChallengeType, Problem, ProblemType

_CHALLENGES: Final[Mapping[ChallengeType, str]] = MappingProxyType(
    {
        ChallengeType.HTTP_01: "See that http://{name}/.well-known/acme-challenge/ reaches the client from here",
        ChallengeType.DNS_01: "See that the TXT record _acme-challenge.{name} is published where the resolvers ask",
        ChallengeType.TLS_ALPN_01: "See that the TLS port of {name} reaches the client from here (ALPN acme-tls/1)",
    }
)
_REMEDIES: Final[Mapping[ProblemType, str]] = MappingProxyType(
    {
        ProblemType.BAD_CSR: "Let the client's CSR have the names it ordered, no others, and a key the template takes",
        ProblemType.CAA: "Name one of settings.acme.caa_identities in the CAA records, or write caa: false",
        ProblemType.CONNECTION: "See that this machine reaches the client: name, port, firewall, settings.validation",
        ProblemType.DNS: "See that settings.validation.resolvers know the name",
        ProblemType.INVALID_PROFILE: "Let the client ask for a profile that the policy offers, or for none",
        ProblemType.RATE_LIMITED: "Wait, or raise rate_limits in the policy",
        ProblemType.REJECTED_IDENTIFIER: "Let template, policy and binding allow the name, or order another",
        ProblemType.SERVER_INTERNAL: "Look at the logs of server and worker; then let the client order anew",
        ProblemType.TLS: "See that the client answers TLS with ALPN acme-tls/1 on the port of tls-alpn-01",
        ProblemType.UNAUTHORIZED: "See that the client that ordered answers, not another server or a cache",
        ProblemType.INCORRECT_RESPONSE: "See that the answer is of this order, not of an earlier one or of a cache",
    }
)


def remedy(problem: Problem) -> str:
    """What to do about a problem; empty where its own words say it."""
    return _REMEDIES.get(problem.type, "")


def explain_authorization(authorization: Authorization) -> tuple[str, ...]:
    """Why a name is not proved, and what to do, in lines; none for a proved one."""
    name = authorization.identifier.value
    lines: list[str] = []
    for challenge in authorization.challenges:
        if challenge.error is not None:
            lines.append(f"{challenge.type}: {challenge.error.detail} ({challenge.error.type})")
            lines += filter(None, (remedy(challenge.error), _CHALLENGES[challenge.type].format(name=name)))
        elif challenge.status is ChallengeStatus.PROCESSING:
            lines.append(f"{challenge.type}: is being tried")
    if not lines and authorization.status == "pending":
        offered = ", ".join(challenge.type for challenge in authorization.challenges)
        lines.append(f"the client has not answered a challenge yet; it may choose: {offered or 'none'}")
    return tuple(lines)
