"""Resolvers that answer, that are silent, that lie and that break: what is learned, and what is said about it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from ipaddress import ip_address
from pathlib import Path

import pytest
from dnslib import AAAA, CAA, CNAME, QTYPE, RCODE, RR, TXT, A, DNSRecord

from pkiconf.egress.deadline import Deadline
from pkiconf.egress.dns import Resolver, system_resolvers
from pkiconf.egress.network import find_caa
from pkiconf.egress.unproved import Unproved
from pkiconf.entropy import SystemEntropy
from pkiconf.model.acme import Problem, ProblemType
from pkiconf.policy.caa import CAARecord
from tests.egress.servers import Say, dns_server
from tests.garbage import is_freed_after

NAME = "web.corp.example"
Make = Callable[..., Resolver]


@pytest.fixture
def resolver() -> Iterator[Make]:
    """A resolver that asks servers which answer as they are told."""
    with ExitStack() as stack:
        yield lambda *says: Resolver(tuple(stack.enter_context(dns_server(say)) for say in says), SystemEntropy())


def zone(*records: RR, code: str = "NOERROR") -> Say:
    """Answers whatever is asked with those of the records that are of that name and type, or an alias."""

    def say(request: DNSRecord, tcp: bool) -> bytes:
        answer = request.reply()
        for record in records:
            if record.rname == request.q.qname and record.rtype in (request.q.qtype, QTYPE.CNAME):
                answer.add_answer(record)
        answer.header.rcode = getattr(RCODE, code)
        return bytes(answer.pack())

    return say


def soon(seconds: float = 20) -> Deadline:
    return Deadline.within(seconds)


def a(address: str, name: str = NAME) -> RR:
    return RR(name, QTYPE.A, rdata=A(address))


def aaaa(address: str, name: str = NAME) -> RR:
    return RR(name, QTYPE.AAAA, rdata=AAAA(address))


def txt(*texts: str | bytes, name: str = NAME) -> RR:
    return RR(name, QTYPE.TXT, rdata=TXT(list(texts)))


def cname(target: str, name: str = NAME) -> RR:
    return RR(name, QTYPE.CNAME, rdata=CNAME(target))


def refuses(ask: Callable[[], object]) -> str:
    with pytest.raises(Unproved) as refusal:
        ask()
    assert refusal.value.problem.type is ProblemType.DNS
    return refusal.value.problem.detail


# --- addresses ------------------------------------------------------------------------------------------------------


def test_addresses_ipv6_first(resolver: Make) -> None:
    r = resolver(zone(a("10.0.0.1"), a("10.0.0.2"), aaaa("fd00::1")))
    assert r.addresses(NAME, soon()) == tuple(map(ip_address, ("fd00::1", "10.0.0.1", "10.0.0.2")))
    assert r.addresses("WEB.corp.example.", soon())[0] == ip_address("fd00::1")


def test_one_kind_may_fail(resolver: Make) -> None:
    def say(request: DNSRecord, tcp: bool) -> bytes:
        return zone(a("10.0.0.1"), code="NOERROR" if request.q.qtype == QTYPE.A else "SERVFAIL")(request, tcp) or b""

    assert resolver(say).addresses(NAME, soon()) == (ip_address("10.0.0.1"),)


def test_no_address(resolver: Make) -> None:
    assert "neither A nor AAAA" in refuses(lambda: resolver(zone()).addresses(NAME, soon()))
    said = refuses(lambda: resolver(zone(code="NXDOMAIN")).addresses(NAME, soon()))
    assert said == f"there is no such name in the DNS: {NAME}"


@pytest.mark.parametrize("code", ["SERVFAIL", "REFUSED", "FORMERR", "NOTIMP", "NOTAUTH"])
def test_a_server_that_cannot(resolver: Make, code: str) -> None:
    r = resolver(zone(a("10.0.0.1"), code=code))
    said = refuses(lambda: r.addresses(NAME, soon()))
    assert f"resolver 127.0.0.1:{r.servers[0][1]} said" in said
    assert NAME in said


@pytest.mark.parametrize("ask", [Resolver.addresses, Resolver.texts, Resolver.caa])
@pytest.mark.parametrize("say", [zone(code="SERVFAIL"), zone(cname(NAME))])
def test_what_is_not_learned_leaves_nothing_in_memory(
    resolver: Make, ask: Callable[[Resolver, str, Deadline], object], say: Say
) -> None:
    r = resolver(say)
    assert is_freed_after(Unproved, lambda: ask(r, NAME, soon()))


def test_another_server_can(resolver: Make) -> None:
    r = resolver(zone(code="SERVFAIL"), zone(a("10.0.0.1")))
    assert r.addresses(NAME, soon()) == (ip_address("10.0.0.1"),)


def test_silence_ends_at_the_deadline(resolver: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pkiconf.egress.dns._ROUNDS", (30.0, 30.0))
    begun = time.monotonic()
    assert "no answer in time" in refuses(lambda: resolver(lambda *_: None).addresses(NAME, soon(0.3)))
    assert time.monotonic() - begun < 20


def test_nobody_listens() -> None:
    r = Resolver((("127.0.0.1", 1),), SystemEntropy())
    assert "resolver 127.0.0.1:1: connection refused" in refuses(lambda: r.addresses(NAME, soon()))
    assert "there is no resolver" in refuses(lambda: Resolver((), SystemEntropy()).addresses(NAME, soon()))


def test_one_that_was_silent_is_asked_again(resolver: Make) -> None:
    asked: list[int] = []

    def say(request: DNSRecord, tcp: bool) -> bytes | None:
        asked.append(request.q.qtype)
        return zone(a("10.0.0.1"))(request, tcp) if len(asked) > 2 else None

    assert resolver(say).addresses(NAME, soon()) == (ip_address("10.0.0.1"),)


def test_forged_answers_are_passed_over(resolver: Make) -> None:
    """Another number, another question: what a stranger sends who cannot see ours."""

    def say(request: DNSRecord, tcp: bool) -> bytes | None:
        wrong = request.reply()
        if request.header.id % 2:
            wrong.header.id ^= 1
        else:
            wrong.q.qname = "evil.example"
        wrong.add_answer(a("192.0.2.66"))
        return bytes(wrong.pack())

    assert "no answer in time" in refuses(lambda: resolver(say).addresses(NAME, soon(0.3)))


@pytest.mark.parametrize("octets", [b"", b"\xff" * 11, bytes(40)])
def test_what_is_no_dns(resolver: Make, octets: bytes) -> None:
    said = refuses(lambda: resolver(lambda request, _: request.pack()[:2] + octets).addresses(NAME, soon(0.5)))
    assert "no answer in time" in said or "broken answer" in said


def test_an_address_record_of_the_wrong_size(resolver: Make) -> None:
    def say(request: DNSRecord, tcp: bool) -> bytes:
        answer = zone(a("10.0.0.1"))(request, tcp) or b""
        return answer.replace(b"\x00\x04\x0a\x00\x00\x01", b"\x00\x03\x0a\x00\x00")

    assert "broken answer" in refuses(lambda: resolver(say).addresses(NAME, soon()))


def test_one_kind_may_be_broken(resolver: Make) -> None:
    def say(request: DNSRecord, tcp: bool) -> bytes:
        answer = zone(a("10.0.0.1"), aaaa("fd00::1"))(request, tcp) or b""
        return answer if request.q.qtype == QTYPE.AAAA else answer[:-1]

    assert resolver(say).addresses(NAME, soon()) == (ip_address("fd00::1"),)


def test_another_server_is_not_broken(resolver: Make) -> None:
    r = resolver(lambda *asked: (zone(a("10.0.0.1"))(*asked) or b"")[:-1], zone(a("10.0.0.1")))
    assert r.addresses(NAME, soon()) == (ip_address("10.0.0.1"),)


@pytest.mark.parametrize("name", ["", ".", "a..b", "b\u00fccher.example", "a" * 64, ".".join(["a" * 60] * 5), ".a"])
def test_what_cannot_be_asked_for(resolver: Make, name: str) -> None:
    r = resolver(zone(a("10.0.0.1")))
    assert "is no name that can be asked for" in refuses(lambda: r.addresses(name, soon()))
    assert isinstance(find_caa(name or ".", r, soon()), Problem)


# --- aliases --------------------------------------------------------------------------------------------------------


def test_aliases_in_one_answer(resolver: Make) -> None:
    def say(request: DNSRecord, tcp: bool) -> bytes:
        answer = request.reply()
        answer.add_answer(cname("b.example"), cname("C.example", "b.example"), a("10.0.0.1", "c.example"))
        return bytes(answer.pack())

    assert ip_address("10.0.0.1") in resolver(say).addresses(NAME, soon())


def test_aliases_that_the_server_did_not_follow(resolver: Make) -> None:
    r = resolver(zone(cname("b.example"), cname("c.example", "b.example"), txt("here", name="c.example")))
    assert r.texts(NAME, soon()) == (b"here",)


def test_records_beside_the_aliases_are_not_ours(resolver: Make) -> None:
    def say(request: DNSRecord, tcp: bool) -> bytes:
        answer = request.reply()
        answer.add_answer(txt("stray", name="other.example"))
        return bytes(answer.pack())

    assert resolver(say).texts(NAME, soon()) == ()


def test_aliases_in_a_circle(resolver: Make) -> None:
    r = resolver(zone(cname("b.example"), cname(NAME, "b.example")))
    assert "lead nowhere" in refuses(lambda: r.texts(NAME, soon()))

    def both(request: DNSRecord, tcp: bool) -> bytes:
        answer = request.reply()
        answer.add_answer(cname("b.example"), cname(NAME, "b.example"))
        return bytes(answer.pack())

    assert "lead nowhere" in refuses(lambda: resolver(both).texts(NAME, soon()))
    assert isinstance(find_caa(NAME, resolver(both), soon()), Problem)  # not: there is none


def test_an_answer_where_there_is_no_such_name(resolver: Make) -> None:
    r = resolver(zone(txt("here"), caa("issue", "ca.example"), code="NXDOMAIN"))
    assert "broken answer" in refuses(lambda: r.texts(NAME, soon()))
    assert isinstance(find_caa(NAME, r, soon()), Problem)


def test_names_are_escaped_for_people(resolver: Make) -> None:
    said = refuses(lambda: resolver(zone(cname("a\x1b[2J.example"), code="NXDOMAIN")).texts(NAME, soon()))
    assert said == "there is no such name in the DNS: a\\027[2J.example"


def test_an_alias_of_nothing(resolver: Make) -> None:
    r = resolver(zone(cname("gone.example"), code="NXDOMAIN"))
    assert refuses(lambda: r.texts(NAME, soon())) == "there is no such name in the DNS: gone.example"


# --- TXT ------------------------------------------------------------------------------------------------------------


def test_texts(resolver: Make) -> None:
    long = "x" * 255, "y" * 100
    r = resolver(zone(txt("one"), txt("two"), txt(*long), txt(b"\xff\x00")))
    assert r.texts(NAME, soon()) == (b"one", b"two", b"x" * 255 + b"y" * 100, b"\xff\x00")
    assert resolver(zone()).texts(NAME, soon()) == ()


def test_a_text_that_is_cut_off(resolver: Make) -> None:
    def say(request: DNSRecord, tcp: bool) -> bytes:
        return (zone(txt("four"))(request, tcp) or b"").replace(b"\x04four", b"\x05four")

    assert "broken answer" in refuses(lambda: resolver(say).texts(NAME, soon()))


def truncating(inner: Say, over_tcp: Callable[[bytes], bytes | None]) -> Say:
    def say(request: DNSRecord, tcp: bool) -> bytes | None:
        if tcp:
            return over_tcp(inner(request, tcp) or b"")
        answer = request.reply()
        answer.header.tc = 1
        return bytes(answer.pack())

    return say


def test_what_is_too_long_comes_over_tcp(resolver: Make) -> None:
    records = [txt(f"{number:03}" * 80) for number in range(40)]
    assert len(resolver(truncating(zone(*records), lambda whole: whole)).texts(NAME, soon())) == 40


def test_what_is_far_too_long_is_not_read(resolver: Make) -> None:
    """Reading it would cost its sender nothing, and us a second."""
    records = [txt(f"{number:03}" * 80) for number in range(80)]
    said = refuses(lambda: resolver(truncating(zone(*records), lambda whole: whole)).texts(NAME, soon()))
    assert "is larger than 16384" in said


def test_a_server_without_edns_is_asked_plainly(resolver: Make) -> None:
    def say(request: DNSRecord, tcp: bool) -> bytes | None:
        return zone(txt("old"), code="FORMERR" if request.ar else "NOERROR")(request, tcp)

    assert resolver(say).texts(NAME, soon()) == (b"old",)


# --- CAA ------------------------------------------------------------------------------------------------------------


def caa(tag: str, value: str, name: str = NAME, flags: int = 0) -> RR:
    return RR(name, QTYPE.CAA, rdata=CAA(flags, tag, value))


def test_caa_records(resolver: Make) -> None:
    r = resolver(zone(caa("Issue", "ca.example; x=y"), caa("iodef", "mailto:a@b", flags=128)))
    assert r.caa(NAME, soon()) == (
        CAARecord(0, "issue", b"ca.example; x=y"),
        CAARecord(128, "iodef", b"mailto:a@b"),
    )
    assert resolver(zone(code="NXDOMAIN")).caa(NAME, soon()) == ()


def test_caa_climbs_to_the_nearest_that_has_records(resolver: Make) -> None:
    """RFC 8659 §3: up to the top-level domain, and not into the root."""
    asked: list[str] = []

    def say(request: DNSRecord, tcp: bool) -> bytes | None:
        asked.append(str(request.q.qname))
        return zone(caa("issue", "ca.example", "corp.example"), caa("issue", "x.example", "example"))(request, tcp)

    assert find_caa("a.web.corp.example", resolver(say), soon()) == (CAARecord(0, "issue", b"ca.example"),)
    assert asked == ["a.web.corp.example.", "web.corp.example.", "corp.example."]
    asked.clear()
    assert find_caa("other.test", resolver(say), soon()) == ()
    assert asked == ["other.test.", "test."]


def test_caa_of_an_alias_is_that_of_its_target(resolver: Make) -> None:
    r = resolver(zone(cname("b.test"), caa("issue", "ca.example", "b.test"), caa("issue", "x.example", "corp.example")))
    assert find_caa(NAME, r, soon()) == (CAARecord(0, "issue", b"ca.example"),)


BROKEN_OVER_TCP: list[Callable[[bytes], bytes | None]] = [
    lambda whole: whole[:-5],
    lambda whole: whole[:2] + bytes((whole[2] | 2,)) + whole[3:],  # truncated here too
    lambda whole: None,
    lambda whole: b"",
    lambda whole: whole[:3] + bytes((whole[3] & 0xF0 | 2,)) + whole[4:],
]


@pytest.mark.parametrize("over_tcp", BROKEN_OVER_TCP, ids=["cut off", "truncated", "silence", "empty", "servfail"])
def test_a_truncated_caa_answer_fails(resolver: Make, over_tcp: Callable[[bytes], bytes | None]) -> None:
    """What cannot be read whole may hold the record that forbids it."""
    r = resolver(truncating(zone(caa("issue", "ca.example")), over_tcp))
    found = find_caa(NAME, r, soon(2))
    assert isinstance(found, Problem)
    assert found.type is ProblemType.CAA
    assert "CAA records of web.corp.example could not be looked up" in found.detail


@pytest.mark.parametrize("code", ["SERVFAIL", "REFUSED", "NOTAUTH"])
def test_a_failure_anywhere_on_the_way_up_fails(resolver: Make, code: str) -> None:
    def say(request: DNSRecord, tcp: bool) -> bytes | None:
        return zone(code=code if str(request.q.qname) == "corp.example." else "NXDOMAIN")(request, tcp)

    found = find_caa(NAME, resolver(say), soon())
    assert isinstance(found, Problem)
    assert found.type is ProblemType.CAA
    assert "CAA records of corp.example could not be looked up" in found.detail


def test_caa_that_is_late_fails(resolver: Make) -> None:
    found = find_caa(NAME, resolver(lambda *_: None), soon(0.3))
    assert isinstance(found, Problem)
    found = find_caa(NAME, resolver(zone()), soon(-1))
    assert isinstance(found, Problem)


@pytest.mark.parametrize("data", [b"", b"\x00", b"\x00\x00", b"\x00\x06issue", b"\x00\x05iss-ex", b"\x00\x02\xff\xffx"])
def test_a_caa_record_that_cannot_be_read_fails(resolver: Make, data: bytes) -> None:
    def say(request: DNSRecord, tcp: bool) -> bytes:
        whole = zone(caa("issue", "ca.example"))(request, tcp) or b""
        size = len(b"\x00\x05issueca.example")
        return whole.replace(size.to_bytes(2, "big") + b"\x00\x05issueca.example", len(data).to_bytes(2, "big") + data)

    found = find_caa(NAME, resolver(say), soon())
    assert isinstance(found, Problem)
    assert "cannot be read" in found.detail


# --- whom to ask ----------------------------------------------------------------------------------------------------


def test_the_systems_resolvers(tmp_path: Path) -> None:
    file = tmp_path / "resolv.conf"
    file.write_text(
        "# nameserver 10.0.0.9\nsearch corp.example\nnameserver 10.0.0.53\nnameserver fd00::53\nnameserver\n"
    )
    assert system_resolvers(file) == (("10.0.0.53", 53), ("fd00::53", 53))
    assert system_resolvers(tmp_path / "missing") == (("127.0.0.1", 53),)
