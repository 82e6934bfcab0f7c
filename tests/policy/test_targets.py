"""Which addresses may be connected to, because a stranger names them."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkiconf.policy.targets import TargetRules, embedded_in

USUAL = TargetRules()


def refusal(text: str, rules: TargetRules = USUAL) -> str:
    return rules.refusal(ip_address(text))


@pytest.mark.parametrize(
    "address",
    [
        "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1", "8.8.8.8", "193.0.6.139",
        "169.253.255.255", "128.0.0.1", "223.255.255.255", "192.0.1.1", "198.17.255.255", "198.20.0.0",
        "2606:4700::1111", "2a00:1450::1", "fd12:3456:789a::1", "fc00::1", "2001:4860:4860::8888",
        "::ffff:10.0.0.1", "64:ff9b::10.0.0.1", "2002:a00:1::1", "2a00::5efe:10.0.0.1",
    ],
)  # fmt: skip
def test_private_and_public_networks_are_allowed(address: str) -> None:
    assert refusal(address) == ""


@pytest.mark.parametrize(
    ("address", "what"),
    [
        ("127.0.0.1", "loopback"), ("127.255.255.254", "loopback"), ("::1", "loopback"),
        ("0.0.0.0", "unspecified"), ("0.1.2.3", "unspecified"), ("::", "unspecified"),
        ("169.254.1.1", "link-local"), ("fe80::1", "link-local"), ("fe80::1%eth0", "link-local"),
        ("febf::1", "link-local"), ("fec0::1", "site-local"),
        ("169.254.169.254", "metadata"), ("100.100.100.200", "metadata"), ("168.63.129.16", "metadata"),
        ("169.254.170.2", "metadata"), ("fd00:ec2::254", "metadata"), ("fd20:ce::254", "metadata"),
        ("fd00:42::42", "metadata"),
        ("224.0.0.1", "multicast"), ("239.255.255.255", "multicast"), ("ff02::1", "multicast"),
        ("255.255.255.255", "broadcast"), ("240.0.0.1", "reserved"), ("192.0.0.192", "reserved"),
        ("192.88.99.1", "reserved"), ("192.0.2.1", "documentation"), ("198.51.100.1", "documentation"),
        ("203.0.113.255", "documentation"), ("2001:db8::1", "documentation"), ("3fff::1", "documentation"),
        ("198.18.0.1", "benchmarking"), ("198.19.255.255", "benchmarking"),
        ("2001:2::1", "reserved"), ("2001::1", "Teredo"), ("100::1", "reserved"), ("5f00::1", "reserved"),
        ("4000::1", "reserved"), ("64:ff9b:1::10.0.0.1", "reserved"), ("fe00::1", "reserved"),
    ],
)  # fmt: skip
def test_what_only_this_machine_or_its_neighbours_reach_is_refused(address: str, what: str) -> None:
    said = refusal(address)
    assert what in said
    assert "settings.validation.allowed_networks" in said


@pytest.mark.parametrize(
    "address",
    [
        "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:0:127.0.0.1", "64:ff9b::127.0.0.1",
        "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "2002:a9fe:a9fe::1", "::127.0.0.1", "::a9fe:a9fe",
        "2a00::5efe:127.0.0.1", "2a00::200:5efe:169.254.169.254", "fe80::5efe:10.0.0.1",
    ],
)  # fmt: skip
def test_an_embedded_address_is_judged_too(address: str) -> None:
    assert refusal(address) != ""


def test_networks_that_are_named_are_allowed() -> None:
    rules = TargetRules.parse(["127.0.0.0/8", "fe80::/10", "169.254.169.254/32"], [])
    for address in ("127.0.0.1", "::ffff:127.0.0.1", "64:ff9b::127.0.0.1", "fe80::1", "169.254.169.254"):
        assert refusal(address, rules) == ""
    assert "loopback" in refusal("::1", rules)
    assert "link-local" in refusal("169.254.169.253", rules)


@pytest.mark.parametrize("address", ["10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::10.1.2.3", "2002:a01:203::1", "8.8.8.8"])
def test_forbidden_networks_win(address: str) -> None:
    rules = TargetRules.parse(["10.0.0.0/8", "0.0.0.0/0", "::/0"], ["10.1.0.0/16", "8.8.8.8"])
    assert "settings.validation.forbidden_networks" in refusal(address, rules)


def test_a_network_of_the_other_kind_says_nothing() -> None:
    assert "loopback" in refusal("::1", TargetRules.parse(["0.0.0.0/0"], []))
    assert "loopback" in refusal("127.0.0.1", TargetRules.parse(["2000::/3"], []))


@given(st.ip_addresses(v=4))
def test_no_form_of_a_refused_address_is_allowed(address: object) -> None:
    plain = ip_address(str(address))
    forms = [f"::ffff:{plain}", f"64:ff9b::{plain}", f"2002:{int(plain) >> 16:x}:{int(plain) & 0xFFFF:x}::1"]
    for form in forms:
        assert plain in embedded_in(ip_address(form))
        assert bool(refusal(form)) == bool(USUAL.refusal(plain))
