"""Name constraints: ours refuse at least whatever a stranger's verifier refuses, and names come from everywhere."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pkiconf.der.names import encode_name, parse_name_text
from pkiconf.errors import Refused
from pkiconf.model.attributes import COMMON_NAME
from pkiconf.model.names import (
    URI,
    Attribute,
    DirectoryName,
    DNSName,
    GeneralName,
    IPAddress,
    Name,
    NameConstraints,
    NameType,
    OtherName,
    RFC822Name,
)
from pkiconf.policy.authority import authority_defaults, ca_template
from pkiconf.policy.claims import IN_COMMON_NAME, Claim, claims_of
from pkiconf.policy.constraints import check_claims, check_name_constraints
from pkiconf.policy.template import compile_template, evaluate
from pkiconf.spec.authority import AuthoritySpec
from tests.policy.issuing import NOW, SERIAL, constraints, issuer_facts, signed, template, wanted

NOBODY = Name()
LEAF = compile_template(template())

labels = st.sampled_from(["a", "b", "corp", "example"])
hosts = st.lists(labels, min_size=2, max_size=4).map(".".join)
dns_names = st.builds(str.__add__, st.sampled_from(["", "", "*."]), hosts)
networks = st.sampled_from(["10.0.0.0/8", "10.1.0.0/16", "192.0.2.1/32", "0.0.0.0/0", "2001:db8::/32", "::/0"])
addresses = st.sampled_from(["10.1.2.3", "10.2.3.4", "192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db9::1"])
subtrees = st.one_of(st.tuples(st.just(NameType.DNS), hosts), st.tuples(st.just(NameType.IP), networks))
some_constraints = st.builds(
    NameConstraints, st.lists(subtrees, max_size=2).map(tuple), st.lists(subtrees, max_size=2).map(tuple)
).filter(lambda one: bool(one.permitted or one.excluded))
some_names = st.one_of(dns_names.map(DNSName), addresses.map(lambda text: IPAddress(ip_address(text))))


def common_name(value: str) -> Name:
    return Name(((Attribute(COMMON_NAME, value),),))


def is_allowed(name: GeneralName, *chain: NameConstraints) -> bool:
    try:
        check_name_constraints(NOBODY, [name], chain)
    except Refused:
        return False
    return True


def constrained(one: NameConstraints) -> AuthoritySpec:
    """A root that is constrained like this."""
    declared = {
        side: {
            kind.value: sorted({text for other, text in rows if other is kind}) for kind in (NameType.DNS, NameType.IP)
        }
        for side, rows in (("permitted", one.permitted), ("excluded", one.excluded))
    }
    return AuthoritySpec.model_validate(authority_defaults({"name": "root", "name_constraints": declared}, 0, True))


@given(some_constraints, some_names)
@settings(max_examples=150, deadline=None)
def test_what_we_let_through_cryptography_lets_through(one: NameConstraints, name: GeneralName) -> None:
    assume(is_allowed(name, one))
    root = issuer_facts(subject=encode_name(parse_name_text("CN=Root")), path_length=None)
    own = evaluate(ca_template(constrained(one)), wanted("CN=Root", key="ec-p384"), root, SERIAL, NOW)
    request = replace(wanted("CN=Somebody"), sans=(name,))
    leaf = evaluate(LEAF, request, replace(root, constraints=(one,)), SERIAL + 1, NOW)
    believed, judged = (x509.load_der_x509_certificate(signed(tbs)) for tbs in (own, leaf))
    if isinstance(name, DNSName):
        reference: x509.DNSName | x509.IPAddress = x509.DNSName(name.value.replace("*", "anything"))
    else:
        assert isinstance(name, IPAddress)
        reference = x509.IPAddress(name.value)
    try:
        PolicyBuilder().store(Store([believed])).time(NOW).build_server_verifier(reference).verify(judged, [])
    except VerificationError as error:
        raise AssertionError(f"{name} under {one}: {error}") from None


@given(st.lists(some_constraints, min_size=1, max_size=3), some_names)
def test_a_chain_allows_what_each_of_its_certificates_allows(chain: list[NameConstraints], name: GeneralName) -> None:
    assert is_allowed(name, *chain) == all(is_allowed(name, one) for one in chain)


@given(hosts, dns_names)
def test_what_is_permitted_is_the_domain_and_what_is_below(domain: str, name: str) -> None:
    inside = name == domain or name.endswith(f".{domain}")
    assert is_allowed(DNSName(name), NameConstraints(((NameType.DNS, domain),), ())) == inside


@given(hosts, dns_names, labels)
def test_what_is_excluded_is_out_of_a_wildcards_reach(domain: str, name: str, label: str) -> None:
    """If a wildcard is allowed, then so is every host that it stands for."""
    one = NameConstraints((), ((NameType.DNS, domain),))
    if is_allowed(DNSName(name), one):
        assert is_allowed(DNSName(name.replace("*", label)), one)


@given(some_constraints, some_names)
def test_case_does_not_count(one: NameConstraints, name: GeneralName) -> None:
    if isinstance(name, DNSName):
        assert is_allowed(DNSName(name.value.upper()), one) == is_allowed(name, one)


def test_without_constraints_everything_is_allowed() -> None:
    assert is_allowed(DNSName("web.evil.example"))
    check_claims([], NOBODY, ())


def test_every_type_that_is_constrained_is_judged() -> None:
    one = constraints(
        ["dns:corp.example", "ip:10.0.0.0/8", "email:corp.example", "uri:corp.example", "dirname:O=Example"]
    )
    inside: list[GeneralName] = [
        DNSName("web.corp.example"),
        IPAddress(ip_address("10.0.0.1")),
        RFC822Name("me@corp.example"),
        URI("https://corp.example/"),
        DirectoryName(parse_name_text("CN=me,O=Example")),
    ]
    outside: list[GeneralName] = [
        DNSName("web.evil.example"),
        IPAddress(ip_address("11.0.0.1")),
        RFC822Name("me@evil.example"),
        URI("https://evil.example/"),
        DirectoryName(parse_name_text("CN=me,O=Evil")),
    ]
    assert [is_allowed(name, one) for name in inside] == [True] * 5
    assert [is_allowed(name, one) for name in outside] == [False] * 5


def test_an_excluded_network_holds_its_addresses_in_either_spelling() -> None:
    """RFC 4291 §2.5.5.2: a mapped address leads to the same host."""
    one = constraints(excluded=["ip:10.0.0.0/8"])
    assert not is_allowed(IPAddress(ip_address("10.0.0.1")), one)
    assert not is_allowed(IPAddress(ip_address("::ffff:10.0.0.1")), one)
    assert is_allowed(IPAddress(ip_address("::ffff:11.0.0.1")), one)


@pytest.mark.parametrize(
    "uri",
    [
        "https://web.corp.example/",
        "https://CORP.example.evil.example/",
        "https://corp.example@evil.example/",
        "https://evil.example#@corp.example/",
        "https://evil.example/?https://corp.example/",
        "https://10.0.0.1/",
        "https://[2001:db8::1]/",
        "https:///x",
        "urn:corp.example",
        "mailto:me@corp.example",
        "//corp.example/",
    ],
)
def test_a_uri_with_another_host_or_none(uri: str) -> None:
    assert not is_allowed(URI(uri), constraints(["uri:corp.example"]))


@pytest.mark.parametrize(
    "uri", ["https://corp.example", "HTTPS://CORP.EXAMPLE./x", "https://me:pw@corp.example:8443?x"]
)
def test_a_uri_with_the_permitted_host(uri: str) -> None:
    assert is_allowed(URI(uri), constraints(["uri:corp.example"]))


@pytest.mark.parametrize(
    ("name", "claimed"),
    [
        ("www.evil.example", DNSName("www.evil.example")),
        (" WWW.evil.example ", DNSName("www.evil.example")),
        ("www.evil.example.", DNSName("www.evil.example")),
        ("*.evil.example", DNSName("*.evil.example")),
        ("_dmarc.evil.example", DNSName("_dmarc.evil.example")),
        ("www。evil。example", DNSName("www.evil.example")),
        ("bücher.example", DNSName("xn--bcher-kva.example")),
        ("-ü-.example", DNSName("-ü-.example")),
        ("192.0.2.1", IPAddress(ip_address("192.0.2.1"))),
        ("2001:DB8::1", IPAddress(ip_address("2001:db8::1"))),
        ("[2001:db8::1]", IPAddress(ip_address("2001:db8::1"))),
        ("１９２．０．２．１", IPAddress(ip_address("192.0.2.1"))),
        ("192.0.2.1.", DNSName("192.0.2.1")),
        ("192.0.2", DNSName("192.0.2")),
        ("ceo@Evil.Example", RFC822Name("ceo@evil.example")),
        ("Somebody <ceo@evil.example", RFC822Name("Somebody <ceo@evil.example")),
    ],
)
def test_what_a_common_name_claims(name: str, claimed: GeneralName) -> None:
    assert claims_of(common_name(name), []) == [Claim(claimed, IN_COMMON_NAME)]


@pytest.mark.parametrize("name", ["Somebody", "Example Inc.", "Dr. Who", "", ".", "...", "a/b.c", "key=a.b"])
def test_what_a_common_name_does_not_claim(name: str) -> None:
    assert claims_of(common_name(name), []) == []


def test_a_single_label_is_a_claim_only_where_it_may_be_a_server() -> None:
    assert claims_of(common_name("localhost"), [], single_labels=True) == [Claim(DNSName("localhost"), IN_COMMON_NAME)]
    assert claims_of(common_name("localhost"), []) == []


def test_an_authoritys_common_name_claims_nothing() -> None:
    assert claims_of(common_name("ca.corp.example"), [], end_entity=False) == []


def test_a_mailbox_that_is_no_text_is_refused() -> None:
    with pytest.raises(Refused, match="SmtpUTF8Mailbox"):
        claims_of(NOBODY, [OtherName("1.3.6.1.5.5.7.8.9", b"\x04\x01a")])


def test_an_other_name_is_not_a_mailbox_for_being_text() -> None:
    assert len(claims_of(NOBODY, [OtherName("1.3.6.1.4.1.311.20.2.3", b"\x0c\x03a@b")])) == 1
