"""Asking resolvers: addresses, TXT and CAA records; over UDP, and over TCP when an answer was too long.

Resolvers are asked one after the other, twice, until one gives an answer that can be used. What cannot be learned is
never taken for "there is none": a broken, truncated or refused answer is a failure (RFC 8659 §3 for CAA).
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pkiconf.egress.deadline import Deadline
from pkiconf.egress.dns_message import (
    CODES,
    FORMAT_ERROR,
    NAME_ERROR,
    NO_ERROR,
    NOT_IMPLEMENTED,
    Answer,
    RecordType,
    encode_name,
    encode_question,
    name_text,
    parse_answer,
)
from pkiconf.egress.unproved import Unproved, reason
from pkiconf.entropy import Entropy
from pkiconf.errors import Malformed
from pkiconf.model.acme import ProblemType
from pkiconf.policy.caa import CAARecord
from pkiconf.policy.targets import Address

_ROUNDS: Final = (2.0, 5.0)  # seconds that a server has to answer, the first time and the second
_LONGEST_CHAIN: Final = 10
_LARGEST: Final = 65535
_RESOLVER_FILE: Final = Path("/etc/resolv.conf")
_PORT: Final = 53


@dataclass(frozen=True, slots=True)
class Asked:
    name: bytes
    type: RecordType

    def __str__(self) -> str:
        return f"{self.type.name} records of {name_text(self.name)}"


@dataclass(frozen=True, slots=True)
class Resolver:
    """`servers` are addresses with ports. Everything raises Unproved (`dns`), which says who answered what."""

    servers: tuple[tuple[str, int], ...]
    entropy: Entropy

    def addresses(self, name: str, deadline: Deadline) -> tuple[Address, ...]:
        """IPv6 before IPv4. One kind may fail when the other is there."""
        kinds = (RecordType.AAAA, RecordType.A)
        found = self._find([Asked(_encoded(name), kind) for kind in kinds], deadline)
        addresses = tuple(
            ipaddress.ip_address(data) for datas in found if not isinstance(datas, Unproved) for data in datas
        )
        if not addresses:
            failed = [one for one in found if isinstance(one, Unproved)]
            raise failed[0] if failed else _none(f"{name} has no address: there are neither A nor AAAA records")
        return addresses

    def texts(self, name: str, deadline: Deadline) -> tuple[bytes, ...]:
        """The TXT records, the strings of each joined; none where the name has none. Raises Unproved also where there
        is no such name."""
        (found,) = self._find([Asked(_encoded(name), RecordType.TXT)], deadline)
        if isinstance(found, Unproved):
            raise found
        return tuple(_joined(data) for data in found)

    def caa(self, name: str, deadline: Deadline) -> tuple[CAARecord, ...]:
        """The CAA records of exactly this name, or of what it is an alias of; none where there is no such name."""
        (found,) = self._find([Asked(_encoded(name), RecordType.CAA)], deadline, absent_is_empty=True)
        if isinstance(found, Unproved):
            raise found
        return tuple(_caa(data) for data in found)

    def _find(
        self, wishes: Sequence[Asked], deadline: Deadline, *, absent_is_empty: bool = False
    ) -> list[Sequence[bytes] | Unproved]:
        """The data of the records, one for each wish."""
        answers = self._ask_all(list(wishes), deadline)
        return [self._follow(*pair, deadline, absent_is_empty) for pair in zip(wishes, answers, strict=True)]

    def _follow(
        self, wish: Asked, answer: Answer | Unproved, deadline: Deadline, absent_is_empty: bool
    ) -> Sequence[bytes] | Unproved:
        """Along CNAMEs, to names that the resolver has not followed itself."""
        for _ in range(_LONGEST_CHAIN):
            if isinstance(answer, Unproved):
                return answer
            try:
                found, owner = _picked(answer, wish)
            except Unproved as ex:
                return ex
            if not found and answer.code == NAME_ERROR:
                return () if absent_is_empty else _none(f"there is no such name in the DNS: {name_text(owner)}")
            if found or owner == wish.name:
                return found
            wish = Asked(owner, wish.type)
            (answer,) = self._ask_all([wish], deadline)
        return _lead_nowhere(wish)

    def _ask_all(self, wishes: Sequence[Asked], deadline: Deadline) -> list[Answer | Unproved]:
        """An answer for each, from the first server that gives a usable one."""
        answers: list[Answer | str] = [""] * len(wishes)
        for seconds in _ROUNDS:
            for server in self.servers:
                missing = [number for number, answer in enumerate(answers) if isinstance(answer, str)]
                if not missing or deadline.is_over:
                    break
                part = deadline.part(seconds)
                found = _exchange(server, [wishes[number] for number in missing], self.entropy, part)
                for number, answer in zip(missing, found, strict=True):
                    answers[number] = answer
        return [
            _failed(wish, answer, self.servers) if isinstance(answer, str) else answer
            for wish, answer in zip(wishes, answers, strict=True)
        ]


def system_resolvers(file: Path = _RESOLVER_FILE) -> tuple[tuple[str, int], ...]:
    """Those that resolv.conf(5) names; this machine when it names none."""
    try:
        lines = [line.split() for line in file.read_text(errors="replace").splitlines()]
    except OSError:
        lines = []
    named = tuple((words[1], _PORT) for words in lines if len(words) > 1 and words[0] == "nameserver")
    return named or (("127.0.0.1", _PORT),)


def _exchange(
    server: tuple[str, int], wishes: Sequence[Asked], entropy: Entropy, deadline: Deadline
) -> list[Answer | str]:
    """What one server says; of a question that it did not answer usably, why."""
    try:
        found = _ask_over_udp(server, wishes, entropy, deadline)
    except (OSError, Malformed) as ex:
        return [_complaint(server, ex)] * len(wishes)
    return [_settled(server, wish, answer, entropy, deadline) for wish, answer in zip(wishes, found, strict=True)]


def _settled(
    server: tuple[str, int], wish: Asked, answer: Answer | None, entropy: Entropy, deadline: Deadline
) -> Answer | str:
    """An answer over UDP, or what the server says instead when it was asked otherwise."""
    try:
        if answer is not None and answer.code in (FORMAT_ERROR, NOT_IMPLEMENTED):  # one that knows no EDNS
            (answer,) = _ask_over_udp(server, [wish], entropy, deadline, extended=False)
        if answer is not None and answer.truncated:
            answer = _ask_over_tcp(server, wish, entropy, deadline)
    except (OSError, Malformed) as ex:
        return _complaint(server, ex)
    return _usable(server, answer)


def _usable(server: tuple[str, int], answer: Answer | None) -> Answer | str:
    if answer is None:
        return f"{_at(server)} gave no answer in time"
    if answer.truncated:
        return f"{_at(server)} gave a truncated answer, over TCP as well"
    if answer.code not in (NO_ERROR, NAME_ERROR):
        return f"{_at(server)} said {CODES.get(answer.code, f'code {answer.code}')}"
    return answer


def _ask_over_udp(
    server: tuple[str, int], wishes: Sequence[Asked], entropy: Entropy, deadline: Deadline, *, extended: bool = True
) -> list[Answer | None]:
    """All at once, from a port that nobody can guess; datagrams that answer something else are passed over."""
    numbers = [int.from_bytes(entropy.token(2), "big") for _ in wishes]
    answers: list[Answer | None] = [None] * len(wishes)
    with socket.socket(_family(server), socket.SOCK_DGRAM) as s:
        s.connect(server)  # so that only this server's datagrams arrive
        for wish, number in zip(wishes, numbers, strict=True):
            s.send(encode_question(number, wish.name, wish.type, extended=extended))
        with suppress(TimeoutError):  # whoever is missing then has not answered
            while None in answers:
                s.settimeout(deadline.left())
                message = s.recv(_LARGEST)
                for at, wish in enumerate(wishes):
                    if answers[at] is None and (answer := parse_answer(message, numbers[at], wish.name, wish.type)):
                        answers[at] = answer
                        break
    return answers


def _ask_over_tcp(server: tuple[str, int], wish: Asked, entropy: Entropy, deadline: Deadline) -> Answer | None:
    number = int.from_bytes(entropy.token(2), "big")
    question = encode_question(number, wish.name, wish.type)
    with socket.socket(_family(server), socket.SOCK_STREAM) as s:
        s.settimeout(deadline.left())
        s.connect(server)
        s.sendall(len(question).to_bytes(2, "big") + question)
        size = int.from_bytes(_receive(s, 2, deadline), "big")
        return parse_answer(_receive(s, size, deadline), number, wish.name, wish.type)


def _receive(s: socket.socket, size: int, deadline: Deadline) -> bytes:
    received = b""
    while len(received) < size:
        s.settimeout(deadline.left())
        more = s.recv(size - len(received))
        if not more:
            raise Malformed("an answer over TCP ends early")
        received += more
    return received


def _family(server: tuple[str, int]) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in server[0] else socket.AF_INET


def _picked(answer: Answer, wish: Asked) -> tuple[list[bytes], bytes]:
    """The data that is asked for, and the name at the end of the aliases that lead there."""
    owner = wish.name
    for _ in range(_LONGEST_CHAIN):
        own = [record for record in answer.records if record.owner == owner]
        found = [record.data for record in own if record.type == wish.type]
        alias = next((record.data for record in own if record.type == RecordType.CNAME), None)
        if found or alias is None:
            return [_checked(data, wish) for data in found], owner
        owner = alias
    raise _lead_nowhere(wish)


def _checked(data: bytes, wish: Asked) -> bytes:
    wanted = {RecordType.A: 4, RecordType.AAAA: 16}.get(wish.type)
    if wanted is not None and len(data) != wanted:
        raise _none(f"a resolver gave a broken answer: an {wish.type.name} record of {len(data)} octets")
    return data


def _joined(data: bytes) -> bytes:
    """RFC 1035 §3.3.14: strings, each behind its length."""
    parts, at = [], 0
    while at < len(data):
        parts.append(data[at + 1 : at + 1 + data[at]])
        at += 1 + data[at]
    if at != len(data):
        raise _none("a resolver gave a broken answer: a TXT record ends in the middle")
    return b"".join(parts)


def _caa(data: bytes) -> CAARecord:
    """RFC 8659 §4.1."""
    size = data[1] if len(data) > 1 else 0
    tag = data[2 : 2 + size]
    if not size or len(tag) < size or not tag.isalnum() or not tag.isascii():
        raise _none("a resolver gave a broken answer: a CAA record that cannot be read")
    return CAARecord(data[0], tag.decode("ascii").lower(), data[2 + size :])


def _encoded(name: str) -> bytes:
    try:
        return encode_name(name)
    except Malformed as ex:
        raise Unproved(ProblemType.DNS, f"{ex}") from None


def _none(detail: str) -> Unproved:
    return Unproved(ProblemType.DNS, detail)


def _lead_nowhere(wish: Asked) -> Unproved:
    return _none(f"the aliases of {name_text(wish.name)} lead nowhere: more than {_LONGEST_CHAIN} CNAME records")


def _failed(wish: Asked, complaint: str, servers: Sequence[tuple[str, int]]) -> Unproved:
    what = complaint or (f"{_at(servers[0])} gave no answer in time" if servers else "there is no resolver")
    return Unproved(ProblemType.DNS, f"{wish} could not be looked up: {what}")


def _complaint(server: tuple[str, int], error: Exception) -> str:
    if isinstance(error, Malformed):
        return f"{_at(server)} gave a broken answer: {error.detail}"
    return f"{_at(server)}: {reason(error) if isinstance(error, OSError) else error}"


def _at(server: tuple[str, int]) -> str:
    host = f"[{server[0]}]" if ":" in server[0] else server[0]
    return f"resolver {host}" if server[1] == _PORT else f"resolver {host}:{server[1]}"
