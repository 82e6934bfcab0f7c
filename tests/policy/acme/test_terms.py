"""What an account may order: its policy, narrowed by its binding."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkiconf.model.acme import ACMEProblem, ChallengeType, Identifier, IdentifierType, ProblemType
from pkiconf.policy.acme import Terms, offered_challenges
from pkiconf.policy.acme.terms import check_active, check_within, choose_profile, make_terms
from pkiconf.spec.acme import ACMEPolicySpec, BindingSpec

HTTP, DNS, TLS = ChallengeType.HTTP_01, ChallengeType.DNS_01, ChallengeType.TLS_ALPN_01


def terms(binding: dict[str, Any] | None = None, *, active: bool = True, **policy: Any) -> Terms:
    spec = ACMEPolicySpec.model_validate({"name": "internal", "template": "issuing/web", **policy})
    narrowed = None if binding is None else BindingSpec.model_validate({"name": "ci", **binding})
    return make_terms("internal", active, spec, narrowed)


def name(value: str) -> Identifier:
    return Identifier(IdentifierType.DNS, value)


def address(value: str) -> Identifier:
    return Identifier(IdentifierType.IP, value)


def test_a_policy_alone() -> None:
    found = terms(profiles={"short": "issuing/short", "long": "issuing/long"}, default_profile="short")
    assert choose_profile(found, None) == "short"
    assert choose_profile(found, "long") == "long"
    assert found.challenges == (HTTP, DNS, TLS)
    assert found.domains is None


@pytest.mark.parametrize("wish", ["", "other", "Short", "short ", "x" * 500])
def test_other_profiles_are_refused_with_those_there_are(wish: str) -> None:
    with pytest.raises(ACMEProblem) as caught:
        choose_profile(terms(profiles={"short": "issuing/short"}), wish)
    assert caught.value.problem.type is ProblemType.INVALID_PROFILE
    assert "offered: short" in caught.value.problem.detail
    assert len(caught.value.problem.detail) < 200


def test_a_binding_narrows_profiles_and_the_usual_one() -> None:
    both = {"short": "issuing/short", "long": "issuing/long"}
    found = terms({"profiles": ["long"]}, profiles=both, default_profile="short")
    assert choose_profile(found, None) == "long"
    with pytest.raises(ACMEProblem, match="offered: long"):
        choose_profile(found, "short")


def test_a_binding_whose_profiles_are_gone_offers_none() -> None:
    found = terms({"profiles": ["gone"]})
    for wish in (None, "gone", "default"):
        with pytest.raises(ACMEProblem, match="offered"):
            choose_profile(found, wish)


def test_a_binding_narrows_challenges_and_never_adds_one() -> None:
    assert terms({"challenges": ["dns-01"]}).challenges == (DNS,)
    assert terms({"challenges": ["dns-01"]}, challenges=["http-01"], preapproved_domains=["a.example"]).challenges == ()


@pytest.mark.row("F101")
def test_preapproval_can_be_withheld_from_a_binding() -> None:
    given: dict[str, Any] = {"preapproved_domains": ["*.corp.example"]}
    assert terms({}, **given).preapproved.covers(name("web.corp.example"))
    assert not terms({"preapproved": False}, **given).preapproved.covers(name("web.corp.example"))


def test_names_outside_a_binding_are_refused_even_if_preapproved() -> None:
    found = terms({"domains": ["*.ci.corp.example", "10.0.0.0/8"]}, preapproved_domains=["*.corp.example"])
    assert check_within(found, [name("a.ci.corp.example"), name("*.ci.corp.example"), address("10.0.0.1")]) == []
    problems = check_within(found, [name("ok.ci.corp.example"), name("web.corp.example"), address("192.0.2.1")])
    assert [problem.identifier for problem in problems] == [name("web.corp.example"), address("192.0.2.1")]
    assert {problem.type for problem in problems} == {ProblemType.REJECTED_IDENTIFIER}


@given(st.lists(st.sampled_from(["a.in.example", "b.in.example", "out.example", "*.out.example"]), max_size=8))
def test_every_name_is_looked_at(values: list[str]) -> None:
    problems = check_within(terms({"domains": ["*.in.example"]}), [name(value) for value in values])
    said = [problem.identifier.value for problem in problems if problem.identifier]
    assert said == [value for value in values if "out" in value]


def test_a_retired_policy() -> None:
    check_active(terms())
    with pytest.raises(ACMEProblem, match="retired") as caught:
        check_active(terms(active=False))
    assert caught.value.problem.type is ProblemType.UNAUTHORIZED


@pytest.mark.parametrize(
    ("allowed", "identifier", "offered"),
    [
        ((HTTP, DNS, TLS), name("web.example"), (HTTP, DNS, TLS)),
        ((HTTP, DNS, TLS), name("*.example"), (DNS,)),
        ((HTTP, DNS, TLS), address("192.0.2.1"), (HTTP, TLS)),
        ((TLS,), name("web.example"), (TLS,)),
    ],
)
def test_offered_challenges(
    allowed: tuple[ChallengeType, ...], identifier: Identifier, offered: tuple[ChallengeType, ...]
) -> None:
    assert offered_challenges(allowed, identifier) == offered


@pytest.mark.parametrize(
    ("allowed", "identifier", "says"),
    [
        ((HTTP, TLS), name("*.example"), "a wildcard needs dns-01"),
        ((DNS,), address("192.0.2.1"), "an IP address needs http-01 or tls-alpn-01"),
        ((), name("web.example"), "pre-approved"),
    ],
)
def test_nothing_left_to_prove_it_with(allowed: tuple[ChallengeType, ...], identifier: Identifier, says: str) -> None:
    with pytest.raises(ACMEProblem, match=says) as caught:
        offered_challenges(allowed, identifier)
    assert caught.value.problem.type is ProblemType.REJECTED_IDENTIFIER
    assert caught.value.problem.identifier == identifier
