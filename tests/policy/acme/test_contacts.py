"""Contacts of accounts (RFC 8555 §7.3; RFC 6068)."""

from __future__ import annotations

import pytest

from pkiconf.model.acme import ACMEProblem, ProblemType
from pkiconf.policy.acme.contacts import MOST_CONTACTS, check_contacts


@pytest.mark.row("F114")
def test_addresses() -> None:
    given = ["mailto:admin@corp.example", "MAILTO:Ops+acme@corp.example", "mailto:admin@corp.example"]
    assert check_contacts(given) == ("mailto:admin@corp.example", "MAILTO:Ops+acme@corp.example")
    assert check_contacts([]) == ()


@pytest.mark.parametrize(
    "contact", ["tel:+31201234567", "admin@corp.example", "https://corp.example", "", ":", "mail to:a@b.example"]
)
def test_other_schemes(contact: str) -> None:
    with pytest.raises(ACMEProblem) as caught:
        check_contacts([contact])
    assert caught.value.problem.type is ProblemType.UNSUPPORTED_CONTACT


@pytest.mark.parametrize(
    "contact",
    [
        "mailto:",
        "mailto:admin",
        "mailto:@corp.example",
        "mailto:admin@",
        "mailto:a@corp.example,b@corp.example",
        "mailto:a@corp.example?subject=hello",
        "mailto:a@corp.example?cc=b@corp.example",
        "mailto:a@corp.example%0d%0aBcc:b@corp.example",
        "mailto:a@corp.example%2Cb@corp.example",
        "mailto:a b@corp.example",
        "mailto:a@corp.example.",
        "mailto:a@-corp.example",
        "mailto:a@*.corp.example",
        "mailto:a@192.0.2.1",
        "mailto:é@corp.example",
        "mailto:" + "a" * 65 + "@corp.example",
        "mailto:a@" + "b" * 300 + ".example",
    ],
)
def test_what_is_not_one_address(contact: str) -> None:
    with pytest.raises(ACMEProblem) as caught:
        check_contacts(["mailto:ok@corp.example", contact])
    assert caught.value.problem.type is ProblemType.INVALID_CONTACT


def test_too_many() -> None:
    with pytest.raises(ACMEProblem, match="too many"):
        check_contacts([f"mailto:a{number}@corp.example" for number in range(MOST_CONTACTS + 1)])
