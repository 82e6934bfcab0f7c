"""A request with a person's changes folded in (F90–F92)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkiconf.der.names import name_text, parse_general_name_text, parse_name_text
from pkiconf.errors import Refused
from pkiconf.model.attributes import ATTRIBUTE_TYPES
from pkiconf.model.names import Attribute, DNSName, Name, OtherName, RFC822Name
from pkiconf.model.request import CertificateRequest, Overrides
from pkiconf.policy.overrides import (
    apply_overrides,
    check_overrides,
    comparable,
    describe,
    set_attributes,
    unique_names,
)
from tests.policy.issuing import overrides, spki, wanted, wishes

EXTENSIONS = wishes({"key_usage": ["digitalSignature"]})
START, END = datetime(2026, 4, 1, tzinfo=UTC), datetime(2026, 5, 1, tzinfo=UTC)

attributes = st.builds(
    Attribute,
    st.sampled_from([row.oid for row in ATTRIBUTE_TYPES] + ["1.3.6.1.4.1.99999.1"]),
    st.text("abcABC", min_size=1, max_size=5),
)
subjects = st.builds(Name, st.lists(st.lists(attributes, min_size=1, max_size=2).map(tuple), max_size=6).map(tuple))


def request(subject: str = "CN=web,O=Example", sans: tuple[str, ...] = ("dns:web.corp.example",)) -> CertificateRequest:
    asked = wanted(subject, sans)
    return CertificateRequest(
        der=b"the CSR", subject=asked.subject, spki=asked.spki, key=asked.key, sans=asked.sans, extensions=EXTENSIONS
    )


def test_without_overrides_the_request_is_what_is_wanted() -> None:
    csr = request()
    asked = apply_overrides(csr)
    assert (asked.subject, asked.sans, asked.spki, asked.key) == (csr.subject, csr.sans, csr.spki, csr.key)
    assert asked.extensions == EXTENSIONS
    assert asked.overrides == Overrides()


@pytest.mark.row("F90")
def test_the_csr_is_kept_and_its_key_is_never_changed() -> None:
    csr = request()
    given_ = overrides({"set": {"CN": "other"}, "add": ["dns:other.corp.example"], "remove": ["dns:web.corp.example"]})
    asked = apply_overrides(csr, given_)
    assert csr == request()
    assert asked.spki == csr.spki == spki("ec-p256")
    assert name_text(asked.subject) == "CN=other,O=Example"
    assert asked.sans == (DNSName("other.corp.example"),)
    assert asked.overrides == given_


@pytest.mark.row("F91", "F92")
@pytest.mark.parametrize(
    "given_",
    [{}, {"days": 1}, {"not_before": START}, {"not_before": START, "not_after": END}, {"not_after": END}],
)
def test_validities_that_make_sense(given_: dict[str, Any]) -> None:
    check_overrides(Overrides(**given_))
    check_overrides(Overrides(**given_, set_subject=(Attribute("2.5.4.3", "x"),)))


@pytest.mark.parametrize(
    "given_",
    [
        {"days": 0},
        {"days": -1},
        {"days": 5, "not_after": END},
        {"not_before": END, "not_after": START},
        {"not_before": START, "not_after": START},
        {"not_before": START.replace(tzinfo=None)},
        {"not_after": END.replace(tzinfo=None)},
    ],
)
def test_validities_that_contradict_themselves(given_: dict[str, Any]) -> None:
    with pytest.raises(Refused):
        apply_overrides(request(), Overrides(**given_))


@given(subjects, st.lists(attributes, max_size=4))
def test_what_was_set_is_what_is_there_and_the_rest_stays(subject: Name, changes: list[Attribute]) -> None:
    after = set_attributes(subject, changes)
    touched = {change.oid for change in changes}
    for oid in touched:
        assert list(after.values(oid)) == [change.value for change in changes if change.oid == oid]
    assert [a for a in after.attributes if a.oid not in touched] == [
        a for a in subject.attributes if a.oid not in touched
    ]
    assert all(after.rdns)
    assert set_attributes(after, changes) == after


def test_an_attribute_leaves_its_multi_valued_rdn() -> None:
    subject = parse_name_text("CN=web+UID=7,O=Example")
    assert name_text(set_attributes(subject, [Attribute("2.5.4.3", "")])) == "UID=7,O=Example"


def test_an_unknown_type_stands_last() -> None:
    subject = set_attributes(parse_name_text("CN=web,O=Example"), [Attribute("1.2.3.4", "x")])
    assert subject.rdns[-1] == (Attribute("1.2.3.4", "x"),)


def test_removing_an_unknown_type_that_is_not_there_names_it() -> None:
    with pytest.raises(Refused, match=r"no 1\.2\.3\.4 to remove"):
        set_attributes(parse_name_text("CN=web"), [Attribute("1.2.3.4", "")])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("dns:Web.Corp.Example", "dns:web.corp.example"),
        ("email:me@Corp.Example", "email:me@corp.example"),
        ("ip:2001:DB8::1", "ip:2001:db8:0::1"),
    ],
)
def test_names_that_mean_the_same(one: str, other: str) -> None:
    assert comparable(parse_general_name_text(one)) == comparable(parse_general_name_text(other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("email:Me@corp.example", "email:me@corp.example"),
        ("dns:corp.example", "uri:https://corp.example"),
        ("uri:https://corp.example/A", "uri:https://corp.example/a"),
    ],
)
def test_names_that_do_not(one: str, other: str) -> None:
    assert comparable(parse_general_name_text(one)) != comparable(parse_general_name_text(other))


@given(st.lists(st.sampled_from(["a.example", "A.example", "b.example", "B.EXAMPLE", "c.example"])))
def test_names_come_once_in_their_order(texts: list[str]) -> None:
    names = unique_names(map(DNSName, texts))
    assert [name.value for name in names if isinstance(name, DNSName)] == list(dict.fromkeys(map(str.lower, texts)))


def test_a_name_that_is_no_dns_name_is_not_another_for_being_spelled_alike() -> None:
    assert len(unique_names([DNSName("a@b.example"), RFC822Name("a@b.example")])) == 2


def test_structures_are_described_by_their_kind_alone() -> None:
    assert describe(OtherName("1.2.3", b"\x0c\x01a")) == "othername"
    assert describe(DNSName("web.corp.example")) == "dns:web.corp.example"
