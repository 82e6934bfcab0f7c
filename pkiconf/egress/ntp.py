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
from concurrent.futures import Future
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Final

from pkiconf.clock import Timepiece
from pkiconf.egress.deadline import Deadline
from pkiconf.egress.lookup import Addresses, SocketAddress, look_up
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
    """What was said until it was `enough`, everybody had answered, or the deadline came, also when their names cannot
    be looked up until then. Raises nothing for what servers do."""
    with _Inquiry(timepiece, entropy) as inquiry:
        for server in servers:
            inquiry.add(server)
        while inquiry.is_open and not enough(inquiry.answers):
            try:
                inquiry.wait(deadline.left())
            except TimeoutError:
                break
        return inquiry.answers if enough(inquiry.answers) else inquiry.answers + inquiry.silences()


class _Inquiry:
    """Servers whose names are being looked up, and those that were asked and have not answered."""

    def __init__(self, timepiece: Timepiece, entropy: Entropy) -> None:
        self.answers: list[TimeAnswer] = []
        self._timepiece = timepiece
        self._entropy = entropy
        self._looking: list[tuple[str, Future[Addresses]]] = []
        self._waiting: dict[int, _Asked] = {}
        self._sockets = ExitStack()

    def __enter__(self) -> _Inquiry:
        self._selector = self._sockets.enter_context(selectors.DefaultSelector())
        self._bell, self._button = socket.socketpair()
        for end in (self._bell, self._button):
            end.setblocking(False)
            self._sockets.enter_context(end)
        self._selector.register(self._bell, selectors.EVENT_READ)
        return self

    def __exit__(self, *_: object) -> None:
        self._sockets.close()

    @property
    def is_open(self) -> bool:
        return bool(self._looking or self._waiting)

    def add(self, server: str) -> None:
        found = look_up(*parse_time_server(server))
        if found.done():
            self._ask(server, found)
        else:
            self._looking.append((server, found))
            found.add_done_callback(self._ring)

    def wait(self, seconds: float) -> None:
        """For an answer, or a name that was found."""
        for key, _ in self._selector.select(seconds):
            if key.fileobj is self._bell:
                with suppress(OSError):
                    self._bell.recv(1024)
                continue
            answer = _receive(self._waiting[key.fd], self._timepiece)
            if answer is not None:
                self.answers.append(answer)
                self._selector.unregister(key.fileobj)
                del self._waiting[key.fd]
        found = [one for one in self._looking if one[1].done()]
        self._looking = [one for one in self._looking if one not in found]
        for one in found:
            self._ask(*one)

    def silences(self) -> list[TimeAnswer]:
        late: list[TimeAnswer] = [TimeSilence(server, "its name was not found in time") for server, _ in self._looking]
        return late + [TimeSilence(asked.server, "no answer in time") for asked in self._waiting.values()]

    def _ring(self, _: Future[Addresses]) -> None:
        """In the thread that looked up, maybe long after this inquiry has ended: then there is nobody to hear."""
        with suppress(OSError):
            self._button.send(b"!")

    def _ask(self, server: str, found: Future[Addresses]) -> None:
        try:
            asked = _send(server, found.result()[0], self._timepiece, self._entropy)
        except OSError as error:
            self.answers.append(TimeSilence(server, error.strerror or str(error) or type(error).__name__))
            return
        self._sockets.enter_context(asked.socket)
        self._selector.register(asked.socket, selectors.EVENT_READ)
        self._waiting[asked.socket.fileno()] = asked


def _send(server: str, to: SocketAddress, timepiece: Timepiece, entropy: Entropy) -> _Asked:
    family, address = to
    s = socket.socket(family, socket.SOCK_DGRAM)
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
