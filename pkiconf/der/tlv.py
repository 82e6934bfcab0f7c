"""Single DER elements (X.690 §8.1, §10.1): what every structure is made of.

Only the subset of BER that is DER is read: definite lengths in their shortest form. Tag numbers above 30
occur in no structure of ours and are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Final, NamedTuple, TypeVar

from cryptography.hazmat import asn1

from pkiconf.errors import Malformed

BOOLEAN: Final = 0x01
INTEGER: Final = 0x02
BIT_STRING: Final = 0x03
OCTET_STRING: Final = 0x04
NULL: Final = 0x05
OBJECT_IDENTIFIER: Final = 0x06
SEQUENCE: Final = 0x30
SET: Final = 0x31
CONSTRUCTED: Final = 0x20
CONTEXT: Final = 0x80

DEPTH_LIMIT: Final = 64

T = TypeVar("T")


class Element(NamedTuple):
    """One TLV: its identifier octet, its content octets, and all of it."""

    tag: int
    content: bytes
    der: bytes


# What `Element(…)` does in the end, without its detour over keyword arguments: one request holds sixty of them.
_element: Final[Callable[[tuple[int, bytes, bytes]], Element]] = partial(tuple.__new__, Element)


def encode_tlv(tag: int, content: bytes) -> bytes:
    size = len(content)
    # One formatting for each of the usual lengths: nothing else in a certificate or an answer is done so often.
    if size < 0x80:
        return b"%c%c%b" % (tag, size, content)
    if size < 0x100:
        return b"%c\x81%c%b" % (tag, size, content)
    if size < 0x10000:
        return b"%c\x82%c%c%b" % (tag, size >> 8, size & 0xFF, content)
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + content


def encode_header(tag: int, size: int) -> bytes:
    """The octets before a content of so many."""
    if size < 0x80:
        return b"%c%c" % (tag, size)
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return b"%c%c%b" % (tag, 0x80 | len(length), length)


def encode_sequence(parts: Iterable[bytes]) -> bytes:
    return encode_tlv(SEQUENCE, b"".join(parts))


def encode_set(parts: Iterable[bytes]) -> bytes:
    """SET OF: X.690 §11.6 orders the members by their encodings."""
    return encode_tlv(SET, b"".join(sorted(parts)))


def read_header(data: bytes, at: int, what: str) -> tuple[int, int]:
    """Where the content of the element at `at` begins and ends."""
    start = at + 2
    if start > len(data):
        raise Malformed(f"{what} ends in the middle of an element")
    if data[at] & 0x1F == 0x1F:
        raise Malformed(f"{what} holds a tag number above 30")
    first = data[at + 1]
    if first < 0x80:
        return start, start + first
    if first == 0x82 and start + 2 <= len(data) and data[start]:  # as nearly all that are longer have it
        return start + 2, start + 2 + (data[start] << 8 | data[start + 1])
    count = first & 0x7F
    if not 0 < count <= 4:
        raise Malformed(f"{what} is not DER: a length is indefinite or has {count} octets")
    size = int.from_bytes(data[start : start + count], "big")
    if size < 0x80 or size >> (8 * (count - 1)) == 0:
        raise Malformed(f"{what} is not DER: a length is not in its shortest form")
    return start + count, start + count + size


def read_elements(content: bytes, what: str) -> list[Element]:
    """All elements of `content`, which they fill exactly."""
    elements = []
    at, size = 0, len(content)
    while at < size:
        tag, start = content[at], at + 2
        if start <= size and (length := content[at + 1]) < 0x80 and tag & 0x1F != 0x1F:
            end = start + length  # nearly always: a call for each element would cost as much as the rest
        else:
            start, end = read_header(content, at, what)
        if end > size:
            raise Malformed(f"{what} ends in the middle of an element")
        elements.append(_element((tag, content[start:end], content[at:end])))
        at = end
    return elements


def read_element(der: bytes, what: str, tag: int | None = None) -> Element:
    """The one element that `der` is, of the given tag; anything behind it is refused."""
    if not der:
        raise Malformed(f"{what} is empty")
    start, end = read_header(der, 0, what)
    if end > len(der):
        raise Malformed(f"{what} ends in the middle of an element")
    if end < len(der):
        raise Malformed(f"{what} is followed by {len(der) - end} more octets")
    if tag is not None and der[0] != tag:
        raise Malformed(f"{what} has ASN.1 tag 0x{der[0]:02x} where 0x{tag:02x} belongs")
    return _element((der[0], der[start:end], der))


def read_sequence(der: bytes, what: str) -> list[Element]:
    """The members of the one SEQUENCE that `der` is."""
    return read_elements(read_element(der, what, SEQUENCE).content, what)


def decode(cls: type[T], der: bytes, what: str) -> T:
    """`asn1.decode_der`, its errors named: Malformed."""
    try:
        return asn1.decode_der(cls, der)
    except (ValueError, OverflowError) as error:
        raise Malformed(f"{what} is not the DER it should be: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    return str(error).removeprefix("error parsing asn1 value: ").replace("ParseError { ", "").replace(" }", "")


def check_der(der: bytes, what: str) -> None:
    """Raise Malformed unless `der` is exactly one element and every constructed element in it is well formed."""
    pending = [(read_element(der, what), 1)]
    while pending:
        element, depth = pending.pop()
        if depth > DEPTH_LIMIT:
            raise Malformed(f"{what} is nested more than {DEPTH_LIMIT} levels deep")
        if element.tag & CONSTRUCTED:
            pending.extend((inner, depth + 1) for inner in read_elements(element.content, what))
