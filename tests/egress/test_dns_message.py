"""DNS messages, made and read by another library, cut off, bent and forged."""

from __future__ import annotations

from contextlib import suppress

import dnslib
import pytest
from dnslib import AAAA, CAA, CNAME, QTYPE, RR, TXT, A, DNSHeader, DNSQuestion, DNSRecord
from hypothesis import given
from hypothesis import strategies as st

from pkiconf.egress.dns_message import (
    Answer,
    Record,
    RecordType,
    encode_name,
    encode_question,
    name_text,
    parse_answer,
)
from pkiconf.errors import Malformed

NAME = "web.corp.example"
WIRE = encode_name(NAME)


def reply(*records: RR, name: str = NAME, type: str = "A", number: int = 7, **header: int) -> bytes:
    question = DNSQuestion(name, getattr(QTYPE, type))
    packed: bytes = DNSRecord(DNSHeader(id=number, qr=1, ra=1, **header), q=question, rr=list(records)).pack()
    return packed


@pytest.mark.parametrize("extended", [True, False])
@pytest.mark.parametrize("type", list(RecordType))
def test_a_stranger_reads_our_question(type: RecordType, extended: bool) -> None:
    read = DNSRecord.parse(encode_question(0xABCD, encode_name("Web.Corp.Example."), type, extended=extended))
    assert (read.header.id, read.header.rd, read.header.qr, read.header.opcode) == (0xABCD, 1, 0, 0)
    assert (str(read.q.qname), read.q.qtype, read.q.qclass) == ("web.corp.example.", int(type), 1)
    assert [(record.rtype, record.edns_len) for record in read.ar] == ([(QTYPE.OPT, 1232)] if extended else [])


def test_we_read_a_strangers_answer() -> None:
    records = [
        RR(NAME, QTYPE.CNAME, rdata=CNAME("Elsewhere.Example")),
        RR("elsewhere.example", QTYPE.A, rdata=A("192.0.2.1")),
        RR("elsewhere.example", QTYPE.AAAA, rdata=AAAA("2001:db8::1")),
        RR(NAME, QTYPE.TXT, rdata=TXT("text")),
        RR(NAME, QTYPE.CAA, rdata=CAA(128, "issue", "ca.example")),
        RR(NAME, QTYPE.A, rclass=3, rdata=A("192.0.2.9")),  # of another class
    ]
    there = encode_name("elsewhere.example")
    assert parse_answer(reply(*records), 7, WIRE, RecordType.A) == Answer(
        0,
        False,
        (
            Record(WIRE, 5, there),
            Record(there, 1, b"\xc0\x00\x02\x01"),
            Record(there, 28, b"\x20\x01\x0d\xb8" + bytes(11) + b"\x01"),
            Record(WIRE, 16, b"\x04text"),
            Record(WIRE, 257, b"\x80\x05issueca.example"),
        ),
    )


def test_what_the_header_says() -> None:
    assert parse_answer(reply(rcode=3), 7, WIRE, RecordType.A) == Answer(3, False, ())
    truncated = reply(RR(NAME, QTYPE.A, rdata=A("192.0.2.1")), tc=1)
    assert parse_answer(truncated, 7, WIRE, RecordType.A) == Answer(0, True, ())
    assert parse_answer(b"\x00\x07\x84\x01" + bytes(8), 7, WIRE, RecordType.A) == Answer(1, False, ())


@pytest.mark.parametrize(
    "message",
    [
        reply(number=8),
        reply(name="other.corp.example"),
        reply(type="AAAA"),
        reply(opcode=4),
        encode_question(7, WIRE, RecordType.A),
        b"\x00\x07\x84\x00" + bytes(8),  # no question, but no error either
    ],
    ids=["number", "name", "type", "opcode", "question", "without question"],
)
def test_an_answer_to_something_else_is_none(message: bytes) -> None:
    assert parse_answer(message, 7, WIRE, RecordType.A) is None


def test_names_are_compared_without_case() -> None:
    assert parse_answer(reply(name="WEB.corp.EXAMPLE"), 7, WIRE, RecordType.A) == Answer(0, False, ())


def test_every_message_that_is_cut_off_is_malformed() -> None:
    whole = reply(RR(NAME, QTYPE.CNAME, rdata=CNAME("a.example")), RR("a.example", QTYPE.A, rdata=A("192.0.2.1")))
    for size in range(len(whole)):
        with pytest.raises(Malformed):
            parse_answer(whole[:size], 7, WIRE, RecordType.A)


HEAD = reply()[:12]
ONE_RECORD = b"\x00\x07\x84\x00\x00\x01\x00\x01\x00\x00\x00\x00" + WIRE + b"\x00\x01\x00\x01"


@pytest.mark.parametrize(
    ("owner", "said"),
    [
        (b"\xc0\x22", "points forward"),  # to itself
        (b"\xc0\xff", "points forward"),
        (b"\x01a\xc0\x22", "points forward"),  # a loop over its own label
        (b"\x80\x00", "unknown kind"),
        (b"\x40\x00", "unknown kind"),
        (b"\x3f" + b"a" * 63 + b"\x3f" + b"a" * 63 + b"\x3f" + b"a" * 63 + b"\x3f" + b"a" * 63 + b"\x00", "too long"),
    ],
)
def test_names_that_lead_astray(owner: bytes, said: str) -> None:
    message = ONE_RECORD + owner + b"\x00\x01\x00\x01\x00\x00\x00\x00\x00\x04\x7f\x00\x00\x01"
    assert len(ONE_RECORD) == 0x22
    with pytest.raises(Malformed, match=said):
        parse_answer(message, 7, WIRE, RecordType.A)


def test_a_cname_that_is_more_than_a_name() -> None:
    message = ONE_RECORD + b"\xc0\x0c\x00\x05\x00\x01\x00\x00\x00\x00\x00\x03\x00xx"
    with pytest.raises(Malformed, match="more or less than a name"):
        parse_answer(message, 7, WIRE, RecordType.A)


@given(st.binary(max_size=200))
def test_any_octets_are_read_or_refused(tail: bytes) -> None:
    for message in (tail, HEAD + tail, ONE_RECORD + tail):
        with suppress(Malformed):
            parse_answer(message, 7, WIRE, RecordType.A)


@given(st.data())
def test_a_bent_answer_is_read_or_refused(data: st.DataObject) -> None:
    whole = bytearray(
        reply(RR(NAME, QTYPE.CNAME, rdata=CNAME("a.example")), RR("a.example", QTYPE.A, rdata=A("192.0.2.1")))
    )
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    with suppress(Malformed):
        parse_answer(bytes(whole), 7, WIRE, RecordType.A)


@pytest.mark.parametrize("name", ["", ".", "a..b", "b\u00fccher.example", "a" * 64, ".".join(["a" * 60] * 5), ".a"])
def test_what_cannot_be_asked_for(name: str) -> None:
    with pytest.raises(Malformed):
        encode_name(name)


def test_names_for_people() -> None:
    assert name_text(encode_name("Web.corp.example")) == "web.corp.example"
    assert name_text(b"\x04a.b\n\x01c\x00") == "a\\046b\\010.c"
    assert str(dnslib.DNSLabel("web.corp.example")) == "web.corp.example."
