"""DNS messages (RFC 1035 §4, RFC 6891): a question as octets, and what an answer says of it.

Only what validation asks for is read. A general library takes half a millisecond for a question and its answer, which
is more than all the rest of a validation.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from struct import Struct, error
from typing import Final

from pkiconf.errors import Malformed

UDP_SIZE: Final = 1232  # what no path fragments
_HEADER: Final = Struct(">HHHHHH")
_RECORD: Final = Struct(">HHIH")
_QUESTION: Final = Struct(">HH")
_INTERNET: Final = 1
_OPT: Final = b"\0" + _RECORD.pack(41, UDP_SIZE, 0, 0)
_RECURSION_DESIRED: Final = 0x0100
_RESPONSE: Final = 0x8000
_OPCODE: Final = 0x7800
_TRUNCATED: Final = 0x0200
_LONGEST_NAME: Final = 255


class RecordType(IntEnum):
    A = 1
    CNAME = 5
    TXT = 16
    AAAA = 28
    CAA = 257


NO_ERROR: Final = 0
FORMAT_ERROR: Final = 1
NAME_ERROR: Final = 3
NOT_IMPLEMENTED: Final = 4
CODES: Final = {1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED"}


@dataclass(frozen=True, slots=True)
class Record:
    """`owner` is a name as `encode_name` writes it; `data` what the type says it is, a CNAME's written likewise."""

    owner: bytes
    type: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    code: int
    truncated: bool
    records: tuple[Record, ...]


@lru_cache(maxsize=1024)
def encode_name(name: str) -> bytes:
    """A name on the wire, in lower case, without compression. Raises Malformed."""
    try:
        labels = name.rstrip(".").encode("ascii").lower().split(b".")
    except UnicodeEncodeError:
        raise Malformed(f"{name!r} is no name that can be asked for") from None
    if any(not 0 < len(label) < 64 for label in labels):
        raise Malformed(f"{name!r} is no name that can be asked for")
    encoded = b"".join(bytes((len(label),)) + label for label in labels) + b"\0"
    if len(encoded) > _LONGEST_NAME:
        raise Malformed(f"{name!r} is too long a name to be asked for")
    return encoded


def name_text(encoded: bytes) -> str:
    """For people: what is not printable is escaped."""
    labels, at = [], 0
    while at < len(encoded) and (size := encoded[at]):
        labels.append(encoded[at + 1 : at + 1 + size])
        at += 1 + size
    return ".".join("".join(chr(o) if 0x20 < o < 0x7F and o != 0x2E else f"\\{o:03d}" for o in part) for part in labels)


def encode_question(number: int, name: bytes, type: RecordType, *, extended: bool = True) -> bytes:
    """One question that wishes for recursion; `extended` with EDNS, which lets an answer be larger than 512 octets."""
    header = _HEADER.pack(number, _RECURSION_DESIRED, 1, 0, 0, 1 if extended else 0)
    return header + name + _QUESTION.pack(type, _INTERNET) + (_OPT if extended else b"")


def parse_answer(message: bytes, number: int, name: bytes, type: RecordType) -> Answer | None:
    """What a message says of the question; None when it answers another one. Raises Malformed.

    Of a truncated one no records are told.
    """
    if len(message) < _HEADER.size:
        raise Malformed("a DNS message ends in its header")
    own, flags, questions, answers, _, _ = _HEADER.unpack_from(message)
    if own != number or not flags & _RESPONSE or flags & _OPCODE:
        return None
    code, truncated = flags & 0xF, bool(flags & _TRUNCATED)
    try:
        at = _HEADER.size
        if questions != 1:
            # Servers that could not read a question may leave it out (RFC 1035 does not say that they must not).
            return Answer(code, truncated, ()) if questions == 0 and code not in (NO_ERROR, NAME_ERROR) else None
        asked, at = _read_name(message, at)
        if asked != name or _QUESTION.unpack_from(message, at) != (type, _INTERNET):
            return None
        if truncated:
            return Answer(code, True, ())
        return Answer(code, False, _read_records(message, at + _QUESTION.size, answers))
    except (error, IndexError):
        raise Malformed("a DNS message ends in the middle") from None


def _read_records(message: bytes, at: int, count: int) -> tuple[Record, ...]:
    records = []
    for _ in range(count):
        owner, at = _read_name(message, at)
        type, kind, _, size = _RECORD.unpack_from(message, at)
        start = at + _RECORD.size
        at = start + size
        if at > len(message):
            raise Malformed("a DNS record ends in the middle")
        if kind != _INTERNET:
            continue
        data = message[start:at]
        if type == RecordType.CNAME:
            data, end = _read_name(message, start)
            if end != at:
                raise Malformed("a CNAME record holds more or less than a name")
        records.append(Record(owner, type, data))
    return tuple(records)


def _read_name(message: bytes, at: int) -> tuple[bytes, int]:
    """A name in lower case, and where it ends. Pointers lead backwards only (RFC 1035 §4.1.4), so they end."""
    parts, end, first, size = [], None, at, 1
    while length := message[at]:
        if length < 0x40:
            part = message[at : at + 1 + length]
            if len(part) != 1 + length:
                raise Malformed("a DNS name ends in the middle")
            parts.append(part)
            size += len(part)
            if size > _LONGEST_NAME:
                raise Malformed("a DNS name is too long")
            at += 1 + length
        elif length >= 0xC0:
            if end is None:
                end = at + 2
            at = (length & 0x3F) << 8 | message[at + 1]
            if at >= first:
                raise Malformed("a DNS name points forward")
            first = at
        else:
            raise Malformed("a DNS name has a label of an unknown kind")
    # The octet of a length is no letter, so the whole may be lowered.
    return b"".join(parts).lower() + b"\0", at + 1 if end is None else end
