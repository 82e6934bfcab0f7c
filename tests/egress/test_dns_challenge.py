"""dns-01 (RFC 8555 §8.4) with a real resolver in between."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from hashlib import sha256

import pytest
from dnslib import CNAME, QTYPE, RR, TXT

from pkiconf.egress.deadline import Deadline
from pkiconf.egress.dns import Resolver
from pkiconf.egress.dns_challenge import check_dns
from pkiconf.egress.unproved import Unproved
from pkiconf.entropy import SystemEntropy
from pkiconf.model.acme import Identifier, IdentifierType, ProblemType
from tests.egress.servers import dns_server
from tests.egress.test_dns import zone

NAME = Identifier(IdentifierType.DNS, "web.corp.example")
AT = "_acme-challenge.web.corp.example"
EXPECTED = "token.thumbprint"
DIGEST = urlsafe_b64encode(sha256(EXPECTED.encode()).digest()).decode().rstrip("=")


def txt(text: str, name: str = AT) -> RR:
    return RR(name, QTYPE.TXT, rdata=TXT(text))


def check(*records: RR, code: str = "NOERROR", seconds: float = 10) -> None:
    with dns_server(zone(*records, code=code)) as server:
        check_dns(NAME, EXPECTED, Resolver((server,), SystemEntropy()), Deadline.within(seconds))


def test_one_of_several_records() -> None:
    check(txt("v=spf1 -all"), txt(DIGEST), txt("another client's"))


def test_an_alias_leads_there() -> None:
    check(RR(AT, QTYPE.CNAME, rdata=CNAME("acme.other.example")), txt(DIGEST, "acme.other.example"))


@pytest.mark.parametrize(
    ("records", "said"),
    [
        ([], "has no TXT record"),
        ([txt(EXPECTED)], 'other TXT records, "token.thumbprint"'),
        ([txt(DIGEST + "=")], "other TXT records"),
        ([txt(DIGEST.lower())], "other TXT records"),
        ([txt(" " + DIGEST)], "other TXT records"),
        ([txt(DIGEST, "web.corp.example")], "has no TXT record"),
        ([txt("a"), txt("b"), txt("c"), txt("d"), txt("e")], '"a", "b", "c" and 2 more'),
        ([txt("\x1b[2J\n")], '".[2J."'),
    ],
)
def test_other_records(records: list[RR], said: str) -> None:
    with pytest.raises(Unproved) as refusal:
        check(*records)
    assert refusal.value.problem.type is ProblemType.INCORRECT_RESPONSE
    assert said in refusal.value.problem.detail
    assert f'Put "{DIGEST}" there' in refusal.value.problem.detail


@pytest.mark.parametrize(("code", "said"), [("NXDOMAIN", f"no such name in the DNS: {AT}"), ("SERVFAIL", "SERVFAIL")])
def test_a_lookup_that_fails(code: str, said: str) -> None:
    with pytest.raises(Unproved) as refusal:
        check(code=code)
    assert refusal.value.problem.type is ProblemType.DNS
    assert said in refusal.value.problem.detail
    assert f'Put "{DIGEST}" there' in refusal.value.problem.detail
