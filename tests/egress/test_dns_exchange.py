"""Questions as a stranger reads them, and answers that another library made: whole, cut off, bent and forged."""

from __future__ import annotations

import dns.name
import pytest
from dns.flags import TC
from dns.message import Message
from dns.rdatatype import RdataType
from dnslib import CAA, CNAME, QTYPE, RR, A, DNSHeader, DNSQuestion, DNSRecord
from hypothesis import given
from hypothesis import strategies as st

from pkiconf.egress.dns_exchange import numbered, query, read_answer
from pkiconf.errors import Malformed

NAME = "web.corp.example"
WIRE = b"\x03web\x04corp\x07example\x00"
KINDS = [RdataType.A, RdataType.AAAA, RdataType.TXT, RdataType.CAA]


def reply(*records: RR, name: str = NAME, type: str = "A", number: int = 7, **header: int) -> bytes:
    question = DNSQuestion(name, getattr(QTYPE, type))
    return bytes(DNSRecord(DNSHeader(id=number, qr=1, ra=1, **header), q=question, rr=list(records)).pack())


def read(message: bytes, type: RdataType = RdataType.A) -> Message | Malformed | None:
    asked = query(dns.name.from_text(NAME), type)
    asked.id = 7
    return read_answer(message, asked)


class Drawn:
    def token(self, size: int) -> bytes:
        return b"\xab\xcd"[:size]


@pytest.mark.parametrize("extended", [True, False])
@pytest.mark.parametrize(
    "name", [".", "org.", f"{'a' * 63}.{'b' * 63}.{'c' * 63}.{'d' * 61}.", r"a\000b\.c.corp.example."]
)
def test_a_question_is_written_as_the_library_writes_it(name: str, extended: bool) -> None:
    asked = query(dns.name.from_text(name), RdataType.CAA, extended=extended)
    assert numbered(asked, Drawn()) == asked.to_wire()
    assert asked.id == 0xABCD


@pytest.mark.parametrize("extended", [True, False])
@pytest.mark.parametrize("type", KINDS)
def test_a_stranger_reads_our_question(type: RdataType, extended: bool) -> None:
    asked = query(dns.name.from_text(NAME), type, extended=extended)
    octets = numbered(asked, Drawn())
    assert octets == asked.to_wire()
    stranger = DNSRecord.parse(octets)
    assert (stranger.header.id, stranger.header.rd, stranger.header.qr, stranger.header.opcode) == (0xABCD, 1, 0, 0)
    assert (str(stranger.q.qname), stranger.q.qtype, stranger.q.qclass) == ("web.corp.example.", int(type), 1)
    extension = [(QTYPE.OPT, 1232)] if extended else []
    assert [(record.rtype, record.edns_len) for record in stranger.ar] == extension


def test_what_the_header_says() -> None:
    answer = read(reply(rcode=3))
    assert isinstance(answer, Message)
    assert (answer.rcode(), answer.answer) == (3, [])
    answer = read(b"\x00\x07\x84\x01" + bytes(8))  # one that could not read the question leaves it out
    assert isinstance(answer, Message)
    assert answer.rcode() == 1


@pytest.mark.parametrize("octets_cut", [0, 1, 5, 15])
def test_a_truncated_answer_is_told_wherever_it_is_cut(octets_cut: int) -> None:
    whole = reply(RR(NAME, QTYPE.A, rdata=A("192.0.2.1")), tc=1)
    answer = read(whole[: len(whole) - octets_cut])
    assert isinstance(answer, Message)
    assert answer.flags & TC


def test_an_extended_code_is_no_success() -> None:
    """BADVERS is 16, of which the header shows the lower four bits alone (RFC 6891 §6.1.3)."""
    opt = b"\x00\x00\x29\x04\xd0\x01\x00\x00\x00\x00\x00"
    message = reply()
    answer = read(message[:11] + b"\x01" + message[12:] + opt)
    assert isinstance(answer, Message)
    assert answer.rcode() == 16


@pytest.mark.parametrize(
    "message",
    [
        reply(number=8),
        reply(number=8)[:13],
        b"",
        b"\x00",
        reply(name="other.corp.example"),
        reply(type="AAAA"),
        reply(opcode=4),
        b"\x00\x07\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" + WIRE + b"\x00\x01\x00\x01",
        b"\x00\x07\x84\x00" + bytes(8),
        b"\x00\x07\x84\x00\x00\x02" + bytes(6) + (WIRE + b"\x00\x01\x00\x01") + b"\x01x\x00\x00\x01\x00\x01",
    ],
    ids=[
        "number", "broken, of another number", "nothing", "an octet", "name", "type", "opcode", "question",
        "without question", "two questions",
    ],
)  # fmt: skip
def test_an_answer_to_something_else_is_none(message: bytes) -> None:
    assert read(message) is None


def test_names_are_compared_without_case() -> None:
    assert isinstance(read(reply(name="WEB.corp.EXAMPLE")), Message)


def test_octets_behind_the_answer_are_left_unread() -> None:
    assert isinstance(read(reply() + b"\x00more"), Message)


def test_every_message_that_is_cut_off_is_malformed() -> None:
    whole = reply(RR(NAME, QTYPE.CNAME, rdata=CNAME("a.example")), RR("a.example", QTYPE.A, rdata=A("192.0.2.1")))
    for size in range(2, len(whole)):
        assert isinstance(read(whole[:size]), Malformed)


HEAD = reply()[:12]
ONE_RECORD = b"\x00\x07\x84\x00\x00\x01\x00\x01\x00\x00\x00\x00" + WIRE + b"\x00\x01\x00\x01"
ADDRESS = b"\x00\x01\x00\x01\x00\x00\x00\x00\x00\x04\x7f\x00\x00\x01"


@pytest.mark.parametrize(
    "record",
    [
        b"\xc0\x22" + ADDRESS,  # to itself
        b"\xc0\xff" + ADDRESS,
        b"\x01a\xc0\x22" + ADDRESS,  # a loop over its own label
        b"\x80\x00" + ADDRESS,
        b"\x40\x00" + ADDRESS,
        b"\x3f" + b"a" * 63 + b"\x3f" + b"a" * 63 + b"\x3f" + b"a" * 63 + b"\x3f" + b"a" * 63 + b"\x00" + ADDRESS,
        b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x00\x00\x05\x7f\x00\x00\x01\x00",  # an address of five octets
        b"\xc0\x0c\x00\x05\x00\x01\x00\x00\x00\x00\x00\x03\x00xx",  # a CNAME that is more than a name
        b"\xc0\x0c\x00\x05\x00\x01\x00\x00\x00\x00\x00\x00",  # and one that is less
        b"\xc0\x0c\x01\x01\x00\x01\x00\x00\x00\x00\x00\x01\x00",  # a CAA record without a tag
    ],
)
def test_records_that_lead_astray(record: bytes) -> None:
    assert len(ONE_RECORD) == 0x22
    answer = read(ONE_RECORD + record)
    assert isinstance(answer, Malformed)
    assert answer.detail.isprintable()


@given(st.binary(max_size=200))
def test_any_octets_are_read_or_refused(tail: bytes) -> None:
    for message in (tail, HEAD[:2] + tail, HEAD + tail, ONE_RECORD + tail, ONE_RECORD + b"\xc0\x0c" + tail):
        assert isinstance(read(message), Message | Malformed | None)


@given(st.data())
def test_a_bent_answer_is_read_or_refused(data: st.DataObject) -> None:
    records = [
        RR(NAME, QTYPE.CNAME, rdata=CNAME("a.example")),
        RR("a.example", QTYPE.CAA, rdata=CAA(0, "issue", "ca.example")),
    ]
    whole = bytearray(reply(*records, type="CAA"))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(2, len(whole) - 1))] = data.draw(st.integers(0, 255))
    assert isinstance(read(bytes(whole), RdataType.CAA), Message | Malformed | None)
