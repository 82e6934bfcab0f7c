"""Reasons that clients may give, and the names that an account has to prove (RFC 8555 §7.6)."""

from __future__ import annotations

import ipaddress

import pytest

from pkiconf.model.acme import ACMEProblem, ProblemType
from pkiconf.model.attributes import COMMON_NAME, EMAIL_ADDRESS
from pkiconf.model.names import URI, Attribute, DNSName, GeneralName, IPAddress, Name, OtherName, RFC822Name
from pkiconf.model.revocation import RevocationReason
from pkiconf.policy.acme.revocation import names_to_prove, parse_reason
from tests.acme.place import identifiers


@pytest.mark.parametrize("code", [0, 1, 3, 4, 5, 9])
def test_reasons_that_may_be_given(code: int) -> None:
    assert parse_reason(code, may_blame_key=True).code == code


def test_no_reason_is_unspecified() -> None:
    assert parse_reason(None, may_blame_key=False) is RevocationReason.UNSPECIFIED


@pytest.mark.parametrize("code", [2, 6, 7, 8, 10, 11, -1, 1 << 70, True])
def test_reasons_that_may_not(code: int) -> None:
    with pytest.raises(ACMEProblem, match="0 \\(unspecified\\), 1 \\(keyCompromise\\)") as caught:
        parse_reason(code, may_blame_key=True)
    assert caught.value.problem.type is ProblemType.BAD_REVOCATION_REASON


def test_who_has_not_the_key_does_not_blame_it() -> None:
    with pytest.raises(ACMEProblem) as caught:
        parse_reason(1, may_blame_key=False)
    assert "keyCompromise" not in caught.value.problem.detail


def cn(value: str) -> Name:
    return Name(((Attribute(COMMON_NAME, value),),))


def test_every_name_counts() -> None:
    sans: tuple[GeneralName, ...] = (
        DNSName("Web.corp.example"), DNSName("*.corp.example"), IPAddress(ipaddress.ip_address("192.0.2.1")),
    )  # fmt: skip
    expected = frozenset(identifiers("web.corp.example", "*.corp.example", "192.0.2.1", "cn.corp.example"))
    assert names_to_prove(cn("cn.corp.example"), sans) == expected
    assert names_to_prove(cn("web.corp.example"), sans) == expected - set(identifiers("cn.corp.example"))


@pytest.mark.parametrize(
    ("subject", "extra"),
    [
        (Name(), RFC822Name("ceo@corp.example")),
        (Name(), URI("https://corp.example")),
        (Name(), OtherName("1.3.6.1.4.1.311.20.2.3", b"\x0c\x01a")),
        (cn("Jane Doe"), None),
        (cn("ceo@corp.example"), None),
        (Name(((Attribute(EMAIL_ADDRESS, "ceo@corp.example"),),)), None),
    ],
)
def test_what_acme_never_proves(subject: Name, extra: GeneralName | None) -> None:
    sans = (DNSName("web.corp.example"), *((extra,) if extra else ()))
    assert names_to_prove(subject, sans) is None


def test_nothing_named_is_nothing_proved() -> None:
    assert names_to_prove(Name(), ()) is None
