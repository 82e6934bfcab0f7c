"""Everything that is asked of the network to validate a name, behind one value that tests replace."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from pkiconf.clock import Timepiece
from pkiconf.egress.deadline import Deadline
from pkiconf.egress.dns_challenge import check_dns
from pkiconf.egress.ntp import ask_servers
from pkiconf.egress.reach import Names, Reach
from pkiconf.egress.tls_alpn import check_tls_alpn
from pkiconf.egress.unproved import Unproved
from pkiconf.entropy import Entropy, SystemEntropy
from pkiconf.model.acme import ChallengeType, Identifier, Problem, ProblemType
from pkiconf.model.time_source import TimeAnswer
from pkiconf.policy.caa import CAARecord
from pkiconf.policy.targets import TargetRules
from pkiconf.spec.patterns import parse_resolver
from pkiconf.spec.settings import ValidationSettings


@dataclass(frozen=True, slots=True)
class Proof:
    """What a client says that it has put where only the holder of the name can (RFC 8555 §8.1)."""

    identifier: Identifier
    challenge: ChallengeType
    token: str
    key_authorization: str


class Network(Protocol):
    """Nothing is raised for what strangers do: it comes back as a problem."""

    def find(self, proof: Proof, settings: ValidationSettings, deadline: Deadline) -> Problem | None:
        """Why the proof was not found; None when it was."""
        ...

    def relevant_caa(
        self, name: str, settings: ValidationSettings, deadline: Deadline
    ) -> tuple[CAARecord, ...] | Problem:
        """The relevant record set (RFC 8659 §3): of the name or of the nearest one above it that has any; empty where
        none has. A problem when it could not be learned."""
        ...

    def ask_time(
        self,
        servers: Sequence[str],
        timepiece: Timepiece,
        deadline: Deadline,
        enough: Callable[[Sequence[TimeAnswer]], bool],
    ) -> list[TimeAnswer]:
        """What servers of time say of this machine's clock, until it is enough."""
        ...


class SystemNetwork:
    """The real one. What it needs of DNS and HTTP is imported when a name is validated: most commands validate none."""

    def __init__(self, entropy: Entropy | None = None) -> None:
        self._entropy = entropy or SystemEntropy()

    def find(self, proof: Proof, settings: ValidationSettings, deadline: Deadline) -> Problem | None:
        return find_proof(proof, settings, self._reach(settings), deadline)

    def relevant_caa(
        self, name: str, settings: ValidationSettings, deadline: Deadline
    ) -> tuple[CAARecord, ...] | Problem:
        return find_caa(name, self._resolver(settings), deadline)

    def ask_time(
        self,
        servers: Sequence[str],
        timepiece: Timepiece,
        deadline: Deadline,
        enough: Callable[[Sequence[TimeAnswer]], bool],
    ) -> list[TimeAnswer]:
        return ask_servers(servers, timepiece, self._entropy, deadline, enough)

    def _reach(self, settings: ValidationSettings) -> Reach:
        return Reach(self._resolver(settings), _rules(settings.allowed_networks, settings.forbidden_networks))

    def _resolver(self, settings: ValidationSettings) -> Names:
        from pkiconf.egress.dns import Resolver, system_resolvers

        return Resolver(_servers(settings.resolvers) or system_resolvers(), self._entropy)


def find_proof(proof: Proof, settings: ValidationSettings, reach: Reach, deadline: Deadline) -> Problem | None:
    """Why the proof was not found; None when it was."""
    try:
        match proof.challenge:
            case ChallengeType.HTTP_01:
                from pkiconf.egress.http_challenge import check_http

                check_http(proof.identifier, proof.token, proof.key_authorization, settings.http_port, reach, deadline)
            case ChallengeType.DNS_01:
                check_dns(proof.identifier, proof.key_authorization, reach.names, deadline)
            case ChallengeType.TLS_ALPN_01:
                check_tls_alpn(proof.identifier, proof.key_authorization, settings.tls_port, reach, deadline)
    except Unproved as ex:
        return ex.problem
    except TimeoutError:
        return Problem(ProblemType.CONNECTION, f"{proof.identifier.value}: no answer in time")
    return None


def find_caa(name: str, names: Names, deadline: Deadline) -> tuple[CAARecord, ...] | Problem:
    """Climbs from the name to the top-level domain."""
    try:
        for domain in _climb(name):
            if records := names.caa(domain, deadline):
                return records
    except Unproved as ex:
        return Problem(ProblemType.CAA, ex.problem.detail)
    except TimeoutError:
        return Problem(ProblemType.CAA, f"CAA records of {name} could not be looked up in time")
    return ()


def _climb(name: str) -> Iterator[str]:
    while name:
        yield name
        name = name.partition(".")[2]


@lru_cache(maxsize=8)
def _servers(resolvers: tuple[str, ...]) -> tuple[tuple[str, int], ...]:
    return tuple(parse_resolver(text) for text in resolvers)


@lru_cache(maxsize=8)
def _rules(allowed: tuple[str, ...], forbidden: tuple[str, ...]) -> TargetRules:
    return TargetRules.parse(allowed, forbidden)
