"""Asking servers of time how far this machine's clock is off (RFC 5905 §8, the client of RFC 4330).

All are asked at once. Answers carry the random number of the question (the transmit timestamp that RFC 5905 gives
back as origin), so nobody who does not see it can answer. Whoever does can: there is no key. That is why most of
several servers have to agree (`pkiconf.policy.time_source`).
"""

from __future__ import annotations

import selectors
import socket
import struct
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

from pkiconf.clock import Timepiece
from pkiconf.egress.deadline import Deadline
from pkiconf.entropy import Entropy
from pkiconf.model.time_source import TimeAnswer, TimeSample, TimeSilence
from pkiconf.spec.timestamp import parse_time_server

_PACKET: Final = struct.Struct("!BBBbII4sQQQQ")
_ASK: Final = 0x23  # no leap warning, version 4, mode client
_SERVER: Final = 4
_UNSYNCHRONIZED: Final = 3
_WORST_STRATUM: Final = 15
_UNIX: Final = 2_208_988_800  # seconds from 1900 to 1970
_ERA: Final = 1 << 32
_SECOND: Final = 1_000_000


@dataclass(slots=True)
class _Asked:
    server: str
    socket: socket.socket
    cookie: bytes
    wall: int
    steady: int


def ask_servers(
    servers: Sequence[str],
    timepiece: Timepiece,
    entropy: Entropy,
    deadline: Deadline,
    enough: Callable[[Sequence[TimeAnswer]], bool],
) -> list[TimeAnswer]:
    """What was said until it was `enough`, everybody had answered, or the deadline came. Raises nothing for what
    servers do."""
    answers: list[TimeAnswer] = []
    with ExitStack() as sockets, selectors.DefaultSelector() as selector:
        waiting: dict[int, _Asked] = {}
        for server in servers:
            try:
                asked = _ask(server, timepiece, entropy)
            except OSError as error:
                answers.append(TimeSilence(server, error.strerror or type(error).__name__))
                continue
            sockets.enter_context(asked.socket)
            selector.register(asked.socket, selectors.EVENT_READ)
            waiting[asked.socket.fileno()] = asked
        while waiting and not enough(answers):
            try:
                ready = selector.select(deadline.left())
            except TimeoutError:
                break
            for key, _ in ready:
                answer = _receive(waiting[key.fd], timepiece)
                if answer is not None:
                    answers.append(answer)
                    selector.unregister(key.fileobj)
                    del waiting[key.fd]
    if not enough(answers):
        answers += [TimeSilence(asked.server, "no answer in time") for asked in waiting.values()]
    return answers


def _ask(server: str, timepiece: Timepiece, entropy: Entropy) -> _Asked:
    host, port = parse_time_server(server)
    family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
    s = socket.socket(family, kind)
    try:
        s.setblocking(False)
        s.connect(address)  # so that only this server's datagrams arrive
        cookie = entropy.token(8)
        asked = _Asked(server, s, cookie, timepiece.wall(), timepiece.steady())
        s.send(_PACKET.pack(_ASK, 0, 0, 0, 0, 0, bytes(4), 0, 0, 0, int.from_bytes(cookie)))
    except BaseException:
        s.close()
        raise
    return asked


def _receive(asked: _Asked, timepiece: Timepiece) -> TimeAnswer | None:
    """None for a datagram that does not answer the question: the true answer may still come."""
    try:
        packet = asked.socket.recv(1024)
    except OSError as error:
        return None if isinstance(error, BlockingIOError) else TimeSilence(asked.server, error.strerror or "no answer")
    took = timepiece.steady() - asked.steady
    if len(packet) < _PACKET.size or packet[24:32] != asked.cookie:
        return None
    return _read(asked, packet, took)


def _read(asked: _Asked, packet: bytes, took: int) -> TimeAnswer:
    """Offset and error by RFC 5905 §8; `took` microseconds passed here."""
    first, stratum, _, _, root_delay, root_dispersion, reference, _, _, received, sent = _PACKET.unpack_from(packet)
    if stratum == 0:
        code = reference.rstrip(b"\0").decode("ascii", "replace")
        return TimeSilence(asked.server, f"it does not want to be asked ({code})")
    if first & 7 != _SERVER or first >> 6 == _UNSYNCHRONIZED or stratum > _WORST_STRATUM or not received or not sent:
        return TimeSilence(asked.server, "it does not know the time itself")
    arrived, left = _microseconds(received), _microseconds(sent)
    delay = took - (left - arrived)
    if left < arrived or delay < 0:
        return TimeSilence(asked.server, "its times contradict each other")
    offset = ((arrived - asked.wall) + (left - asked.wall - took)) // 2
    return TimeSample(asked.server, offset, delay // 2 + _short(root_delay) // 2 + _short(root_dispersion))


def _microseconds(timestamp: int) -> int:
    """Since 1970. Seconds before 1968 lie in the era that begins in 2036 (RFC 4330 §3)."""
    seconds, fraction = timestamp >> 32, timestamp & 0xFFFF_FFFF
    if seconds < _ERA // 2:
        seconds += _ERA
    return (seconds - _UNIX) * _SECOND + (fraction * _SECOND >> 32)


def _short(value: int) -> int:
    """An NTP short format, 16 bits of seconds and 16 of their fraction, in microseconds."""
    return value * _SECOND >> 16
