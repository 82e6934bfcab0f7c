"""CAA: who may issue, for whom, proved how (RFC 8659, RFC 8657)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkiconf.policy.caa import CAARecord, Wish, parse_value, refusal

US = Wish(("pki.corp.example", "Other.Corp.Example."), "https://pki.corp.example/acme/acct/abc", "http-01", False)
WILD = Wish(US.identities, US.account, "dns-01", True)


def issue(value: str, flags: int = 0) -> CAARecord:
    return CAARecord(flags, "issue", value.encode())


def issuewild(value: str) -> CAARecord:
    return CAARecord(0, "issuewild", value.encode())


@pytest.mark.parametrize(
    "records",
    [
        [],
        [CAARecord(0, "iodef", b"mailto:security@corp.example")],
        [CAARecord(128, "iodef", b"mailto:security@corp.example")],
        [CAARecord(0, "unheardof", b"x")],
        [issuewild("ca.example")],  # says nothing of other names
        [issue("pki.corp.example")],
        [issue("PKI.corp.Example")],
        [issue("other.corp.example")],
        [issue("  pki.corp.example  ")],
        [issue("pki.corp.example;")],
        [issue("pki.corp.example", 128)],
        [issue("ca.example"), issue("pki.corp.example")],
        [issue(";"), issue("pki.corp.example")],
        [issue("pki.corp.example; unknown=x")],
        [issue("pki.corp.example; accounturi=https://pki.corp.example/acme/acct/abc")],
        [issue("pki.corp.example; validationmethods=http-01")],
        [issue("pki.corp.example; validationmethods=dns-01,http-01")],
        [
            issue(
                "pki.corp.example;ACCOUNTURI = https://pki.corp.example/acme/acct/abc;validationmethods=http-01,ca-own"
            )
        ],
    ],
)
def test_it_lets_us(records: list[CAARecord]) -> None:
    assert refusal(records, US) == ""


@pytest.mark.parametrize(
    ("records", "said"),
    [
        ([issue("ca.example")], "ca.example may issue, which is not us"),
        ([issue(";")], "nobody may issue"),
        ([issue("")], "nobody may issue"),
        ([issue("sub.pki.corp.example")], "not us"),
        ([issue("corp.example")], "not us"),
        ([issue("pki.corp.example."),], "cannot be read"),
        ([issue("pki corp example")], "cannot be read"),
        ([issue("pki.corp.example accounturi=x")], "cannot be read"),
        ([issue("pki.corp.example; accounturi")], "cannot be read"),
        ([issue("pki.corp.example; =x")], "cannot be read"),
        ([issue("pki.corp.example; a=b c")], "cannot be read"),
        ([issue("pki.corp.example;; a=b")], "cannot be read"),
        ([issue("pki.corp.ex\u00e4mple")], "cannot be read"),
        ([issue("pki.corp.example\n")], "cannot be read"),
        ([CAARecord(128, "unheardof", b"x"), issue("pki.corp.example")], "critical property 'unheardof'"),
        ([CAARecord(255, "issuemail", b"x")], "critical property 'issuemail'"),
        ([issue("pki.corp.example; accounturi=https://pki.corp.example/acme/acct/ABC")], "this one is"),
        ([issue("pki.corp.example; accounturi=https://pki.corp.example/acme/acct/abcd")], "this one is"),
        ([issue("pki.corp.example; accounturi=")], "this one is"),
        (
            [issue(f"pki.corp.example; accounturi={US.account}; accounturi={US.account}")],
            "accounturi is given twice",
        ),
        ([issue("pki.corp.example; validationmethods=dns-01")], "validation by dns-01 may"),
        ([issue("pki.corp.example; validationmethods=")], "validation by  may"),
        ([issue("pki.corp.example; validationmethods=HTTP-01")], "validation by HTTP-01"),
        ([issue("pki.corp.example; validationmethods=http-01,dns_01")], "validation by"),  # none counts, §4
        (
            [issue("pki.corp.example; validationmethods=http-01; validationmethods=http-01")],
            "validationmethods is given twice",
        ),
        ([issue("ca.example"), issue(";")], "none of 2 properties"),
    ],
)  # fmt: skip
def test_it_does_not_let_us(records: list[CAARecord], said: str) -> None:
    assert said in refusal(records, US)


def test_nobody_is_meant_when_we_have_no_identity() -> None:
    nobody = Wish((), US.account, US.method, False)
    assert refusal([], nobody) == ""
    assert "not us" in refusal([issue("pki.corp.example")], nobody)


def test_issuewild_takes_the_place_of_issue_for_wildcards() -> None:
    assert refusal([issue("pki.corp.example")], WILD) == ""
    assert refusal([issue("ca.example"), issuewild("pki.corp.example")], WILD) == ""
    assert "nobody" in refusal([issue("pki.corp.example"), issuewild(";")], WILD)
    assert "not us" in refusal([issue("pki.corp.example"), issuewild("ca.example")], WILD)
    assert "not us" in refusal([issue("ca.example"), issuewild("pki.corp.example")], US)


def test_what_is_shown_of_strange_values_is_short() -> None:
    assert len(refusal([CAARecord(128, "x" * 255, b"")], US)) < 200
    assert len(refusal([issue(f"pki.corp.example; accounturi={'x' * 60000}")], US)) < 500


@given(st.binary(max_size=80))
def test_any_value_is_read_or_refused(value: bytes) -> None:
    try:
        parse_value(value)
    except ValueError:
        assert "cannot be read" in refusal([CAARecord(0, "issue", value)], US)
