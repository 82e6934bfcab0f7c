"""Which names a list covers (F101, F102)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkiconf.model.acme import Identifier, IdentifierType
from pkiconf.policy.acme import NamePatterns, is_preapproved

labels = st.sampled_from(["a", "b", "corp", "example"])
hosts = st.lists(labels, min_size=1, max_size=4).map(".".join)
names = st.builds(str.__add__, st.sampled_from(["", "*."]), hosts)
patterns = st.lists(st.one_of(hosts, hosts.map("*.{}".format)), max_size=4)


def covers(written: list[str], value: str, kind: IdentifierType = IdentifierType.DNS) -> bool:
    return is_preapproved(NamePatterns.compile(written), Identifier(kind, value))


@pytest.mark.row("F102")
@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("web.corp.example", "web.corp.example", True),
        ("WEB.corp.example.", "web.corp.example", True),
        ("web.corp.example", "a.web.corp.example", False),
        ("web.corp.example", "*.web.corp.example", False),
        ("*.corp.example", "corp.example", True),
        ("*.corp.example", "web.corp.example", True),
        ("*.corp.example", "a.b.c.corp.example", True),
        ("*.corp.example", "*.corp.example", True),
        ("*.corp.example", "*.x.corp.example", True),
        ("*.corp.example", "*.example", False),
        ("*.corp.example", "evilcorp.example", False),
        ("*.corp.example", "corp.example.evil", False),
        ("*.corp.example", "example", False),
        ("*.münchen.example", "web.xn--mnchen-3ya.example", True),
        ("*", "anything.example", True),
        ("*", "*.anything.example", True),
        ("10.0.0.0/8", "10.example", False),
    ],
)
def test_names(pattern: str, name: str, expected: bool) -> None:
    assert covers([pattern], name) is expected


@pytest.mark.parametrize(
    ("pattern", "address", "expected"),
    [
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.0.0.0/8", "11.1.2.3", False),
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::/32", "2001:db8::1", True),
        ("2001:db8::/32", "10.0.0.1", False),
        ("::/0", "10.0.0.1", False),
        ("0.0.0.0/0", "::1", False),
        ("*", "10.0.0.1", False),
        ("*.corp.example", "10.0.0.1", False),
    ],
)
def test_addresses(pattern: str, address: str, expected: bool) -> None:
    assert covers([pattern], address, IdentifierType.IP) is expected


def test_nothing_covers_nothing() -> None:
    assert not covers([], "web.corp.example")


@given(patterns, names)
def test_as_said_in_words(written: list[str], name: str) -> None:
    def covered(pattern: str) -> bool:
        if pattern.startswith("*."):
            domain, base = pattern[2:], name.removeprefix("*.")
            return base == domain or base.endswith("." + domain)
        return name == pattern

    assert covers(written, name) == any(map(covered, written))


@given(patterns, hosts, labels)
def test_whoever_may_have_a_wildcard_may_have_what_it_stands_for(written: list[str], domain: str, label: str) -> None:
    if covers(written, f"*.{domain}"):
        assert covers(written, f"{label}.{domain}")
