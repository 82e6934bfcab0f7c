"""Asking resolvers: addresses, TXT and CAA records.

Resolvers are asked one after the other, twice, until one gives an answer that can be used. What cannot be learned is
never taken for "there is none": a broken, truncated or refused answer is a failure (RFC 8659 §3 for CAA).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

import dns.exception
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
from dns.message import Message, QueryMessage
from dns.rdata import Rdata
from dns.rdatatype import RdataType
from dns.rdtypes.ANY.CAA import CAA
from dns.rdtypes.ANY.TXT import TXT
from dns.rdtypes.IN.A import A
from dns.rdtypes.IN.AAAA import AAAA

from pkiconf.egress.deadline import Deadline
from pkiconf.egress.dns_exchange import PORT, Server, exchange, late, query
from pkiconf.egress.unproved import Unproved
from pkiconf.entropy import Entropy
from pkiconf.model.acme import Problem, ProblemType
from pkiconf.policy.caa import CAARecord
from pkiconf.policy.targets import Address

_ROUNDS: Final = (2.0, 5.0)  # seconds that a server has to answer, the first time and the second
_MOST_FOLLOWED: Final = 10
_RESOLVER_FILE: Final = Path("/etc/resolv.conf")


@dataclass(frozen=True, slots=True)
class Resolver:
    """Everything raises Unproved (`dns`), which says who answered what."""

    servers: tuple[Server, ...]
    entropy: Entropy

    def addresses(self, name: str, deadline: Deadline) -> tuple[Address, ...]:
        """IPv6 before IPv4. One kind may fail when the other is there."""
        asked = _name(name)
        found = self._find([query(asked, kind) for kind in (RdataType.AAAA, RdataType.A)], deadline)
        records = [cast(A | AAAA, data) for datas in found if not isinstance(datas, Problem) for data in datas]
        addresses = tuple(ipaddress.ip_address(record.address) for record in records)
        if not addresses:
            failed = [one.detail for one in found if isinstance(one, Problem)]
            raise _none(failed[0] if failed else f"{name} has no address: there are neither A nor AAAA records")
        return addresses

    def texts(self, name: str, deadline: Deadline) -> tuple[bytes, ...]:
        """The TXT records, the strings of each joined; none where the name has none. Raises Unproved also where there
        is no such name."""
        (found,) = self._find([query(_name(name), RdataType.TXT)], deadline)
        if isinstance(found, Problem):
            raise _none(found.detail)
        return tuple(b"".join(cast(TXT, data).strings) for data in found)

    def caa(self, name: str, deadline: Deadline) -> tuple[CAARecord, ...]:
        """The CAA records of exactly this name, or of what it is an alias of; none where there is no such name."""
        (found,) = self._find([query(_name(name), RdataType.CAA)], deadline, absent_is_empty=True)
        if isinstance(found, Problem):
            raise _none(found.detail)
        records = [cast(CAA, data) for data in found]
        return tuple(CAARecord(one.flags, one.tag.decode("ascii").lower(), one.value) for one in records)

    def _find(
        self, wishes: Sequence[QueryMessage], deadline: Deadline, *, absent_is_empty: bool = False
    ) -> list[Sequence[Rdata] | Problem]:
        """The data of the records, one for each wish; where it failed no exception, which would hold its holders."""
        answers = self._ask_all(wishes, deadline)
        return [self._follow(*pair, deadline, absent_is_empty) for pair in zip(wishes, answers, strict=True)]

    def _follow(
        self, wish: QueryMessage, answer: Message | Problem, deadline: Deadline, absent_is_empty: bool
    ) -> Sequence[Rdata] | Problem:
        """Along CNAMEs, to names that the resolver has not followed itself."""
        for _ in range(_MOST_FOLLOWED):
            if isinstance(answer, Problem):
                return answer
            try:
                found, owner = _picked(answer)
            except Unproved as ex:
                return ex.problem
            if not found and answer.rcode() == dns.rcode.NXDOMAIN:
                return () if absent_is_empty else _none(f"there is no such name in the DNS: {_text(owner)}").problem
            question = wish.question[0]
            if found or owner == question.name:
                return found
            wish = query(owner, question.rdtype)
            (answer,) = self._ask_all([wish], deadline)
        return _lead_nowhere(wish.question[0].name).problem

    def _ask_all(self, wishes: Sequence[QueryMessage], deadline: Deadline) -> list[Message | Problem]:
        """An answer for each, from the first server that gives a usable one."""
        answers: list[Message | str] = [""] * len(wishes)
        for seconds in _ROUNDS:
            for server in self.servers:
                missing = [number for number, answer in enumerate(answers) if isinstance(answer, str)]
                if not missing or deadline.is_over:
                    break
                part = deadline.part(seconds)
                found = exchange(server, [wishes[number] for number in missing], self.entropy, part)
                for number, answer in zip(missing, found, strict=True):
                    answers[number] = answer
        return [
            self._failed(wish, answer) if isinstance(answer, str) else answer
            for wish, answer in zip(wishes, answers, strict=True)
        ]

    def _failed(self, wish: QueryMessage, complaint: str) -> Problem:
        question = wish.question[0]
        what = complaint or (late(self.servers[0]) if self.servers else "there is no resolver")
        kind = dns.rdatatype.to_text(question.rdtype)
        return _none(f"{kind} records of {_text(question.name)} could not be looked up: {what}").problem


def system_resolvers(file: Path = _RESOLVER_FILE) -> tuple[Server, ...]:
    """Those that resolv.conf(5) names; this machine when it names none."""
    try:
        lines = [line.split() for line in file.read_text(errors="replace").splitlines()]
    except OSError:
        lines = []
    named = tuple((words[1], PORT) for words in lines if len(words) > 1 and words[0] == "nameserver")
    return named or (("127.0.0.1", PORT),)


def _picked(answer: Message) -> tuple[Sequence[Rdata], dns.name.Name]:
    """The data that is asked for, and the name at the end of the aliases that lead there."""
    assert isinstance(answer, QueryMessage)
    if not answer.answer:  # the library would now look for how long that may be remembered
        return (), answer.question[0].name
    try:
        chain = answer.resolve_chaining()
    except dns.message.ChainTooLong:
        raise _lead_nowhere(answer.question[0].name) from None
    except dns.exception.DNSException as ex:
        raise _none(f"a resolver gave a broken answer about {_text(answer.question[0].name)}: {ex}") from None
    return tuple(chain.answer or ()), chain.canonical_name


def _name(text: str) -> dns.name.Name:
    try:
        labels = text.rstrip(".").lower().encode("ascii").split(b".")
        return dns.name.Name((*labels, b""))
    except (UnicodeEncodeError, dns.exception.DNSException):
        raise _none(f"{text!r} is no name that can be asked for") from None


def _text(name: dns.name.Name) -> str:
    """For people: what is not printable is escaped."""
    return name.to_text(omit_final_dot=True)


def _none(detail: str) -> Unproved:
    return Unproved(ProblemType.DNS, detail)


def _lead_nowhere(name: dns.name.Name) -> Unproved:
    return _none(f"the aliases of {_text(name)} lead nowhere: there are too many CNAME records, or they go in a circle")
