"""A template's name rules as laws; single cases stand in `cases/names.yaml`."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkiconf.errors import Refused
from pkiconf.model.attributes import COMMON_NAME
from pkiconf.model.names import URI, Attribute, DNSName, GeneralName, Name
from pkiconf.policy.claims import claims_of
from pkiconf.policy.domains import is_within, reaches, stands_for
from pkiconf.policy.name_rules import NamePolicy, check_names, compile_names
from pkiconf.spec.template import NamesSpec

labels = st.sampled_from(["a", "b", "corp", "example"])
hosts = st.lists(labels, min_size=1, max_size=4).map(".".join)
dns_names = st.builds(str.__add__, st.sampled_from(["", "*."]), hosts)
patterns = st.lists(st.one_of(hosts, hosts.map("*.{}".format)), max_size=3)


def policy(**fields: Any) -> NamePolicy:
    return compile_names(NamesSpec.model_validate(fields))


def is_allowed(rules: NamePolicy, *names: GeneralName, common_name: str | None = None) -> bool:
    subject = Name(((Attribute(COMMON_NAME, common_name),),)) if common_name else Name()
    try:
        check_names(rules, subject, claims_of(subject, names))
    except Refused:
        return False
    return True


@given(patterns, dns_names, labels)
def test_where_a_wildcard_is_allowed_so_is_every_host_it_stands_for(allow: list[str], name: str, label: str) -> None:
    rules = policy(allow={"dns": allow})
    if is_allowed(rules, DNSName(name)):
        assert is_allowed(rules, DNSName(name.replace("*", label)))


@given(patterns, dns_names, labels)
def test_a_name_that_is_let_through_stands_for_no_denied_host(deny: list[str], name: str, label: str) -> None:
    rules = policy(deny={"dns": deny})
    if is_allowed(rules, DNSName(name)):
        assert is_allowed(rules, DNSName(name.replace("*", label)))


@given(patterns, patterns, dns_names)
def test_deny_is_stronger_than_allow(allow: list[str], deny: list[str], name: str) -> None:
    allowed, denied = policy(allow={"dns": allow}), policy(deny={"dns": deny})
    both = is_allowed(policy(allow={"dns": allow}, deny={"dns": deny}), DNSName(name))
    assert both == (is_allowed(allowed, DNSName(name)) and is_allowed(denied, DNSName(name)))


@given(patterns, dns_names.filter(lambda name: "." in name.removeprefix("*.")))
def test_a_host_is_judged_alike_in_the_common_name(allow: list[str], name: str) -> None:
    rules = policy(allow={"dns": allow})
    assert is_allowed(rules, common_name=name) == is_allowed(rules, DNSName(name))


@given(st.text(max_size=30), st.sampled_from(["/", "", ":", "@", "?", "#", ".", "%2e"]))
def test_a_uri_that_is_let_through_is_on_the_host_of_the_rule(tail: str, seam: str) -> None:
    rules = policy(allow={"uri": ["https://corp.example", "https://corp.example:8443/ns/"]})
    for start in ("https://corp.example", "https://corp.example:8443/ns", "https://CORP.example"):
        uri = start + seam + tail
        if is_allowed(rules, URI(uri)):
            assert (urlsplit(uri).hostname or "").removesuffix(".") == "corp.example"
            assert "/../" not in uri + "/"


@pytest.mark.parametrize(
    ("rules", "name", "allowed"),
    [
        ({"allow": {"dns": ["*"]}}, DNSName("anything.example"), True),
        ({"allow": {"uri": ["*"]}}, URI("https://anything.example/../x"), True),
        ({"allow": {"uri": ["urn:corp"]}}, URI("urn:corp:7"), True),
        ({"allow": {"uri": ["urn:corp"]}}, URI("urn:corporation:7"), False),
        ({"allow": {"uri": ["https:"]}}, URI("https://any.example"), True),
        ({"allow": {"uri": ["https://corp.example:"]}}, URI("https://corp.example:80@evil.example/"), False),
        ({"allow": {"uri": ["https://corp.example"]}}, URI("https://corp.example"), True),
        ({"allow": {"uri": ["https://corp.example"]}}, URI("no scheme"), False),
        ({"deny": {"uri": ["https://corp.example"]}}, URI("HTTPS://u@corp.example.:443/x"), False),
        ({"deny": {"uri": ["https://corp.example"]}}, URI("HTTPS://u@Corp.Example./x"), False),
        ({"allow": {}}, DNSName("web.corp.example"), False),
        ({}, DNSName("web.corp.example"), True),
    ],
)
def test_rules_of_other_kinds(rules: dict[str, Any], name: GeneralName, allowed: bool) -> None:
    assert is_allowed(policy(**rules), name) is allowed


@pytest.mark.parametrize(
    ("name", "domain", "within", "reached"),
    [
        ("corp.example", "corp.example", True, True),
        ("web.corp.example", "corp.example", True, True),
        ("evilcorp.example", "corp.example", False, False),
        ("*.corp.example", "corp.example", True, True),
        ("*.corp.example", "web.corp.example", False, True),
        ("*.corp.example", "a.web.corp.example", False, False),
        ("*.example", "corp.example", False, True),
        ("example", "corp.example", False, False),
    ],
)
def test_domains(name: str, domain: str, within: bool, reached: bool) -> None:
    assert is_within(name, domain) is within
    assert reaches(name, domain) is reached


def test_a_wildcard_stands_for_one_label() -> None:
    assert stands_for("*.corp.example", "web.corp.example")
    assert not stands_for("*.corp.example", "a.web.corp.example")
    assert not stands_for("*.corp.example", "corp.example")
