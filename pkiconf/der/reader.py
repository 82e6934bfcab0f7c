"""Taking a SEQUENCE apart field by field, in the order of its ASN.1 definition."""

from __future__ import annotations

from collections.abc import Iterator

from pkiconf.der.tlv import BIT_STRING, INTEGER, SEQUENCE, Element, decode, read_element, read_elements, read_header
from pkiconf.errors import Malformed


class Reader:
    """Hands out the members of one SEQUENCE in order; whatever is not taken is refused by `close`.

    Every method raises Malformed, naming `what`.
    """

    __slots__ = ("_members", "_next", "_what")

    def __init__(self, sequence: Element, what: str) -> None:
        if sequence.tag != SEQUENCE:
            raise Malformed(f"{what} has ASN.1 tag 0x{sequence.tag:02x} where a SEQUENCE belongs")
        self._members = read_elements(sequence.content, what)
        self._next = 0
        self._what = what

    @classmethod
    def over(cls, der: bytes, what: str) -> Reader:
        """For the one SEQUENCE that `der` is."""
        return cls(read_element(der, what), what)

    def take(self, *tags: int) -> Element:
        """The next member, which must have one of `tags` (none given: any)."""
        if self._next == len(self._members):
            raise Malformed(f"{self._what} ends before its last field")
        element = self._members[self._next]
        if tags and element.tag not in tags:
            wanted = " or ".join(f"0x{tag:02x}" for tag in tags)
            raise Malformed(f"{self._what} has ASN.1 tag 0x{element.tag:02x} where {wanted} belongs")
        self._next += 1
        return element

    def take_optional(self, *tags: int) -> Element | None:
        if self._next == len(self._members) or self._members[self._next].tag not in tags:
            return None
        return self.take()

    def close(self) -> None:
        if self._next != len(self._members):
            raise Malformed(f"{self._what} has a field too many, with ASN.1 tag 0x{self._members[self._next].tag:02x}")


def unwrap(explicit: Element, what: str) -> Element:
    """The one element inside an explicit tag."""
    return read_element(explicit.content, what)


def parse_integer(element: Element, what: str) -> int:
    """An INTEGER in its shortest form. Raises Malformed."""
    if element.tag != INTEGER:
        raise Malformed(f"{what} has ASN.1 tag 0x{element.tag:02x} where an INTEGER belongs")
    return decode(int, element.der, what)


def parse_bit_string(element: Element, what: str) -> bytes:
    """The octets of a BIT STRING that has no unused bits, as signatures and keys have. Raises Malformed."""
    if element.tag != BIT_STRING or element.content[:1] != b"\0":
        raise Malformed(f"{what}: a BIT STRING of whole octets is expected")
    return element.content[1:]


def iterate_elements(content: bytes, what: str) -> Iterator[bytes]:
    """Each element of `content` as its octets, made only when asked for: for lists of a million. Raises Malformed."""
    at, size = 0, len(content)
    while at < size:
        if at + 1 < size and content[at + 1] < 0x80 and content[at] & 0x1F != 0x1F:
            end = at + 2 + content[at + 1]  # as in `read_elements`
        else:
            _, end = read_header(content, at, what)
        if end > size:
            raise Malformed(f"{what} ends in the middle of an element")
        yield content[at:end]
        at = end
