"""Which names a bound proof is good for; whose tries are counted together."""

from __future__ import annotations

import pytest

from pkiconf.der.names import parse_general_name_text, parse_name_text
from pkiconf.model.scep import BoundNames
from pkiconf.policy.scep import client_of, find_address, is_allowed_from, names_refusal


def refusal(bound: tuple[str | None, tuple[str, ...] | None], subject: str, *sans: str) -> str:
    wanted = BoundNames(
        parse_name_text(bound[0]) if bound[0] is not None else None,
        tuple(map(parse_general_name_text, bound[1])) if bound[1] is not None else None,
    )
    return names_refusal(wanted, parse_name_text(subject), tuple(map(parse_general_name_text, sans)))


@pytest.mark.parametrize(
    ("bound", "subject", "sans"),
    [
        (("CN=a,O=Corp", ()), "CN=a,O=Corp", ()),
        (("CN=a,O=Corp", ()), "O=Corp,CN=a", ()),
        (("CN=a", ("dns:a.corp", "ip:192.0.2.1")), "CN=a", ("ip:192.0.2.1", "dns:a.corp")),
        (("CN=a", ("dns:A.corp",)), "CN=a", ("dns:a.CORP",)),
        (("CN=a", ("email:Ann@Corp.example",)), "CN=a", ("email:Ann@corp.EXAMPLE",)),
        (("CN=a", ("ip:2001:db8::1",)), "CN=a", ("ip:2001:0db8:0:0::1",)),
        (("CN=a", ("dns:a.corp",)), "CN=a", ("dns:a.corp", "dns:a.corp")),
        (("CN=a", None), "CN=a", ("dns:anything",)),
        ((None, ("dns:a.corp",)), "", ("dns:a.corp",)),
        ((None, ("dns:a.corp",)), "CN=A.Corp", ("dns:a.corp",)),
        ((None, ("email:a@corp.example",)), "emailAddress=a@corp.example", ("email:a@corp.example",)),
        ((None, None), "CN=anything", ("dns:anything",)),
        (("", ("dns:a.corp",)), "", ("dns:a.corp",)),
    ],
)
def test_good_for(bound: tuple[str | None, tuple[str, ...] | None], subject: str, sans: tuple[str, ...]) -> None:
    assert refusal(bound, subject, *sans) == ""


@pytest.mark.parametrize(
    ("bound", "subject", "sans", "said"),
    [
        (("CN=a,O=Corp", ()), "CN=b,O=Corp", (), "the subject is not CN=a,O=Corp"),
        (("CN=a,O=Corp", ()), "CN=a", (), "the subject is not"),
        (("CN=a,O=Corp", ()), "CN=a,CN=admin,O=Corp", (), "the subject is not"),
        (("CN=a,O=Corp", ()), "CN=a,CN=a,O=Corp", (), "the subject is not"),
        (("CN=a", ()), "CN=A", (), "the subject is not"),
        (("CN=a", ()), "", (), "the subject is not"),
        (("CN=a", ()), "OU=a", (), "the subject is not"),
        (("", ("dns:a.corp",)), "CN=a", ("dns:a.corp",), "the subject is not empty"),
        (("CN=a", ()), "CN=a", ("dns:a.corp",), "the alternative names are not none"),
        (("CN=a", ("dns:a.corp",)), "CN=a", (), "the alternative names are not dns:a.corp"),
        (("CN=a", ("dns:a.corp",)), "CN=a", ("dns:a.corp", "dns:b.corp"), "alternative names"),
        (("CN=a", ("dns:a.corp",)), "CN=a", ("dns:*.corp",), "alternative names"),
        (("CN=a", ("dns:a.corp",)), "CN=a", ("uri:https://a.corp",), "alternative names"),
        (("CN=a", ("email:Ann@corp.example",)), "CN=a", ("email:ann@corp.example",), "alternative names"),
        (("CN=a", ("ip:192.0.2.1",)), "CN=a", ("ip:192.0.2.2",), "alternative names"),
        ((None, ("dns:a.corp",)), "CN=admin", ("dns:a.corp",), "the subject names admin, which is none of dns:a.corp"),
        ((None, ("dns:a.corp",)), "CN=a.corp,CN=admin", ("dns:a.corp",), "the subject names admin"),
        ((None, ("dns:a.corp",)), "emailAddress=root@corp", ("dns:a.corp",), "the subject names root@corp"),
        ((None, ()), "CN=admin", (), "the subject names admin, which is none of none"),
        ((None, ("dns:a.corp",)), "CN=A.Corp,O=Whatever", ("dns:a.corp",), "no subject is granted, and CN=A.Corp,O=Wh"),
        ((None, ("dns:a.corp",)), "UID=admin", ("dns:a.corp",), "no subject is granted"),
        ((None, ("dns:a.corp",)), "CN=a.corp+UID=admin", ("dns:a.corp",), "no subject is granted"),
        ((None, ("dns:a.corp",)), "DC=corp,OU=Domain Controllers", ("dns:a.corp",), "no subject is granted"),
    ],
)
def test_not_good_for(
    bound: tuple[str | None, tuple[str, ...] | None], subject: str, sans: tuple[str, ...], said: str
) -> None:
    assert said in refusal(bound, subject, *sans)


def test_a_subject_that_the_template_writes_may_be_any() -> None:
    bound, subject = BoundNames(sans=()), parse_name_text("O=Whatever")
    assert names_refusal(bound, subject, (), subject_is_written=True) == ""
    assert names_refusal(bound, subject, ()) != ""


@pytest.mark.parametrize(
    ("text", "client"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", "unknown"),
        ("unix:", "unknown"),
        ("192.0.2.7:80", "unknown"),
    ],
)
def test_clients(text: str, client: str) -> None:
    assert client_of(find_address(text)) == client


def test_an_empty_list_lets_nobody_in() -> None:
    assert is_allowed_from(None, None)
    assert not is_allowed_from((), find_address("192.0.2.7"))
