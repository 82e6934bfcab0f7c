"""What one account may order: its policy, narrowed by its binding."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pkiconf.model.acme import ACMEProblem, ChallengeType, Identifier, IdentifierType, Problem, ProblemType
from pkiconf.policy.acme.patterns import NamePatterns, is_preapproved
from pkiconf.spec.acme import ACMEPolicySpec, BindingSpec, RateLimitsSpec

CAA_LIFETIME: Final = 8 * 3600
"""Seconds that an authorization lives for which CAA was looked up (RFC 8659 §4): records may change."""

_NOTHING: Final = NamePatterns()


@dataclass(frozen=True, slots=True)
class Terms:
    """Compiled once for each state of its rows. `domains` is None where the binding does not narrow names;
    `profiles` maps what the account may ask for to template references; lifetimes in seconds. `caa` concerns names that
    are proved: what the operator pre-approves is not asked of anybody else."""

    policy: str
    slug: str
    active: bool
    profiles: Mapping[str, str]
    usual_profile: str
    preapproved: NamePatterns
    domains: NamePatterns | None
    challenges: tuple[ChallengeType, ...]
    caa: bool
    order_lifetime: int
    authorization_lifetime: int
    limits: RateLimitsSpec


def make_terms(slug: str, active: bool, spec: ACMEPolicySpec, binding: BindingSpec | None) -> Terms:
    """`binding` is None for an account that registered without one."""
    profiles = dict(spec.offered)
    usual = spec.usual_profile if profiles else ""
    challenges = spec.challenges
    domains, preapproved = None, NamePatterns.compile(spec.preapproved_domains)
    if binding is not None:
        if binding.profiles is not None:
            profiles = {name: profiles[name] for name in binding.profiles if name in profiles}
        if binding.challenges is not None:
            challenges = tuple(kind for kind in challenges if kind in binding.challenges)
        if binding.domains is not None:
            domains = NamePatterns.compile(binding.domains)
        if not binding.preapproved:
            preapproved = _NOTHING
    return Terms(
        policy=spec.name,
        slug=slug,
        active=active,
        profiles=profiles,
        usual_profile=usual if usual in profiles else min(profiles, default=""),
        preapproved=preapproved,
        domains=domains,
        challenges=challenges,
        caa=spec.caa,
        order_lifetime=spec.order_lifetime.seconds,
        authorization_lifetime=spec.authorization_lifetime.seconds,
        limits=spec.rate_limits,
    )


def check_active(terms: Terms) -> None:
    """Raise ACMEProblem `unauthorized` when nothing can be ordered any more."""
    if not terms.active:
        raise ACMEProblem(
            ProblemType.UNAUTHORIZED,
            f"ACME policy {terms.policy!r}, which this account belongs to, is retired and issues nothing more; "
            "register anew with a binding of another policy",
        )


def choose_profile(terms: Terms, wish: str | None) -> str:
    """The profile an order gets. Raises ACMEProblem `invalidProfile`."""
    profile = wish if wish is not None else terms.usual_profile
    if profile in terms.profiles:
        return profile
    known = ", ".join(sorted(terms.profiles)) or "none"
    what = f"profile {profile[:80]!r} is not offered to this account" if profile else "no profile is offered"
    raise ACMEProblem(ProblemType.INVALID_PROFILE, f"{what}; offered: {known}")


def check_within(terms: Terms, identifiers: Iterable[Identifier]) -> list[Problem]:
    """What stands against each identifier by itself: that it lies outside the binding, or could not be proved."""
    problems = []
    for identifier in identifiers:
        if terms.domains is not None and not terms.domains.covers(identifier):
            detail = f"{identifier.value} lies outside the names that this account's binding allows"
            problems.append(Problem(ProblemType.REJECTED_IDENTIFIER, detail, identifier))
        elif not is_preapproved(terms.preapproved, identifier):
            try:
                offered_challenges(terms.challenges, identifier)
            except ACMEProblem as ex:
                problems.append(ex.problem)
    return problems


def offered_challenges(allowed: Sequence[ChallengeType], identifier: Identifier) -> tuple[ChallengeType, ...]:
    """The challenges of `allowed` that can prove the identifier: a wildcard only by dns-01 (RFC 8555 §8.3, RFC 8737
    §3), an address never by it (RFC 8738 §7). Raises ACMEProblem `rejectedIdentifier` when none is left."""
    what, needed = "a name", ", ".join(ChallengeType)
    fitting = tuple(allowed)
    if identifier.type is IdentifierType.IP:
        what, needed = "an IP address", f"{ChallengeType.HTTP_01} or {ChallengeType.TLS_ALPN_01}"
        fitting = tuple(kind for kind in allowed if kind is not ChallengeType.DNS_01)
    elif identifier.is_wildcard:
        what, needed = "a wildcard", ChallengeType.DNS_01.value
        fitting = tuple(kind for kind in allowed if kind is ChallengeType.DNS_01)
    if not fitting:
        raise ACMEProblem(
            ProblemType.REJECTED_IDENTIFIER,
            f"{identifier.value} cannot be proved: {what} needs {needed}, which this account's policy does not offer, "
            "and it is not pre-approved",
            identifier=identifier,
        )
    return fitting
