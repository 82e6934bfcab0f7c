"""Questions that are put to one server: over UDP, all at once, and over TCP when an answer was too long."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
from dns.message import Message, QueryMessage
from dns.rdatatype import RdataType

from pkiconf.egress.deadline import Deadline
from pkiconf.egress.unproved import reason, shown
from pkiconf.entropy import Entropy
from pkiconf.errors import Malformed

PORT: Final = 53
_LARGEST_DATAGRAM: Final = 65535
LARGEST: Final = 16384
"""Octets of an answer over TCP: one that is larger proves nothing that a smaller one could not, and reading it would
cost whoever sends it nothing and us a second."""
_UDP_SIZE: Final = 1232  # what no path fragments
_LARGER: Final = b"\0\0\x29" + _UDP_SIZE.to_bytes(2, "big") + bytes(6)

Server = tuple[str, int]
"""An address and a port."""


def query(name: dns.name.Name, type: RdataType, *, extended: bool = True) -> QueryMessage:
    """One question that wishes for recursion; `extended` with EDNS, which lets an answer be larger than 512 octets.
    The message may be sent to many servers, each time with a new number."""
    asked = dns.message.make_query(name, type, id=0)
    if extended:
        asked.opt = _EXTENDED.opt  # making it anew would cost more than the rest of the question
    return asked


_EXTENDED: Final = dns.message.make_query(dns.name.root, RdataType.A, use_edns=0, payload=_UDP_SIZE)


def exchange(
    server: Server, queries: Sequence[QueryMessage], entropy: Entropy, deadline: Deadline
) -> list[Message | str]:
    """What one server says; of a question that it did not answer usably, why. A usable answer is a whole one, and says
    either what there is or that there is no such name."""
    try:
        found = _ask_over_udp(server, queries, entropy, deadline)
    except OSError as ex:
        return [_complaint(server, ex)] * len(queries)
    return [_settled(server, asked, answer, entropy, deadline) for asked, answer in zip(queries, found, strict=True)]


def late(server: Server) -> str:
    return f"{_at(server)} gave no answer in time"


def _settled(
    server: Server, asked: QueryMessage, answer: Message | Malformed | None, entropy: Entropy, deadline: Deadline
) -> Message | str:
    """An answer over UDP, or what the server says instead when it was asked otherwise."""
    try:
        if isinstance(answer, Message) and answer.rcode() in (dns.rcode.FORMERR, dns.rcode.NOTIMP):
            question = asked.question[0]  # for one that knows no EDNS
            plain = query(question.name, question.rdtype, extended=False)
            (answer,) = _ask_over_udp(server, [plain], entropy, deadline)
        if isinstance(answer, Message) and answer.flags & dns.flags.TC:
            answer = _ask_over_tcp(server, asked, entropy, deadline)
    except (OSError, Malformed) as ex:
        return _complaint(server, ex)
    if isinstance(answer, Malformed):
        return _complaint(server, answer)
    return _usable(server, answer)


def _usable(server: Server, answer: Message | None) -> Message | str:
    if answer is None:
        return late(server)
    if answer.flags & dns.flags.TC:
        return f"{_at(server)} gave a truncated answer, over TCP as well"
    if answer.rcode() not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        return f"{_at(server)} said {dns.rcode.to_text(answer.rcode())}"
    return answer


def _ask_over_udp(
    server: Server, queries: Sequence[QueryMessage], entropy: Entropy, deadline: Deadline
) -> list[Message | Malformed | None]:
    """All at once, from a port that nobody can guess; datagrams that answer something else are passed over."""
    answers: list[Message | Malformed | None] = [None] * len(queries)
    with socket.socket(_family(server), socket.SOCK_DGRAM) as s:
        s.connect(server)  # so that only this server's datagrams arrive
        for asked in queries:
            s.send(numbered(asked, entropy))
        with suppress(TimeoutError):  # whoever is missing then has not answered
            while None in answers:
                s.settimeout(deadline.left())
                message = s.recv(_LARGEST_DATAGRAM)
                for at, asked in enumerate(queries):
                    if answers[at] is None and (answer := read_answer(message, asked)) is not None:
                        answers[at] = answer
                        break
    return answers


def _ask_over_tcp(server: Server, asked: QueryMessage, entropy: Entropy, deadline: Deadline) -> Message | None:
    question = numbered(asked, entropy)
    with socket.socket(_family(server), socket.SOCK_STREAM) as s:
        s.settimeout(deadline.left())
        s.connect(server)
        s.sendall(len(question).to_bytes(2, "big") + question)
        size = int.from_bytes(_receive(s, 2, deadline), "big")
        if size > LARGEST:
            raise Malformed(f"its answer of {size} octets is larger than {LARGEST}")
        answer = read_answer(_receive(s, size, deadline), asked)
    if isinstance(answer, Malformed):
        raise answer
    return answer


def _receive(s: socket.socket, size: int, deadline: Deadline) -> bytes:
    received = b""
    while len(received) < size:
        s.settimeout(deadline.left())
        more = s.recv(size - len(received))
        if not more:
            raise Malformed("an answer over TCP ends early")
        received += more
    return received


def numbered(asked: QueryMessage, entropy: Entropy) -> bytes:
    """The octets of a question, under a number that nobody can guess."""
    number = entropy.token(2)
    asked.id = int.from_bytes(number, "big")
    return number + _encode(asked)


def _encode(asked: QueryMessage) -> bytes:
    """What the library gives behind the number (RFC 1035 §4.1, RFC 6891 §6.1.2), which takes it longer than the rest of
    asking: one question and nothing else but the wish for a larger answer."""
    (question,) = asked.question
    extended = asked.opt is not None
    head = b"\1\0\0\1\0\0\0\0" + (b"\0\1" if extended else b"\0\0")
    place = (
        b"".join(bytes((len(label),)) + label for label in question.name.labels)
        + question.rdtype.to_bytes(2, "big")
        + b"\0\1"
    )
    return head + place + (_LARGER if extended else b"")


def read_answer(message: bytes, asked: QueryMessage) -> Message | Malformed | None:
    """None when it answers something else. Of a truncated one it is told what there is of it."""
    if message[:2] != asked.id.to_bytes(2, "big"):
        return None  # unread: it may come from somebody who guesses
    try:
        answer = dns.message.from_wire(message, ignore_trailing=True, raise_on_truncation=True)
    except dns.message.Truncated as ex:
        answer = ex.kwargs["message"]
    except dns.exception.DNSException as ex:
        return Malformed(f"it cannot be read, {shown(f'{ex}'.encode('ascii', 'replace'))}")
    return answer if asked.is_response(answer) else None


def _family(server: Server) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in server[0] else socket.AF_INET


def _complaint(server: Server, error: OSError | Malformed) -> str:
    if isinstance(error, Malformed):
        return f"{_at(server)} gave a broken answer: {error.detail}"
    return f"{_at(server)}: {reason(error)}"


def _at(server: Server) -> str:
    host = f"[{server[0]}]" if ":" in server[0] else server[0]
    return f"resolver {host}" if server[1] == PORT else f"resolver {host}:{server[1]}"
