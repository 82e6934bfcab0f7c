"""Each case of tests/lints is a certificate and what the lints say about it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from pkiconf.der import oids
from pkiconf.der.certificate import assemble_certificate
from pkiconf.errors import Refused
from pkiconf.policy import lints
from pkiconf.policy.lints import LintContext, Severity, check, check_lints
from pkiconf.policy.lints.check import LINTS, run_lints
from pkiconf.policy.lints.view import CertificateView, StandingView
from tests.judges.pkilint import pkilint_findings
from tests.keys import sign
from tests.lints.recipe import FOLDER, context_of, encode

Case = dict[str, Any]


def load_cases() -> list[Case]:
    reader = YAML(typ="safe")
    return [
        case | {"file": path.stem}
        for path in sorted(FOLDER.glob("*.yaml"))
        if path.stem != "base"
        for case in reader.load(path)
    ]


CASES = load_cases()
SOUND = [case for case in CASES if "expect" not in case]


def name_of(case: Case) -> str:
    return f"{case['file']}: {case['about']}"


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_the_lints_say_what_the_case_expects(case: Case) -> None:
    findings = run_lints(encode(case), context_of(case))
    assert {finding.lint: finding.severity.value for finding in findings} == case.get("expect", {})
    assert all(finding.source for finding in findings)


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_an_error_stops_the_certificate_and_names_its_lint(case: Case) -> None:
    errors = [lint for lint, severity in case.get("expect", {}).items() if severity == "error"]
    if not errors:
        check_lints(encode(case), context_of(case))
        return
    with pytest.raises(Refused) as refused:
        check_lints(encode(case), context_of(case))
    assert all(f"[{lint}]" in refused.value.detail for lint in errors)


@pytest.mark.parametrize("case", SOUND, ids=name_of)
def test_a_stranger_finds_no_error_in_what_is_sound(case: Case) -> None:
    algorithm = context_of(case).issuer.signature
    tbs = encode(case)
    findings = pkilint_findings(assemble_certificate(tbs, algorithm, sign(algorithm, tbs)), "certificate")
    assert {finding.split(":")[0] for finding in findings} == set(case.get("pkilint", ())), findings


def test_what_was_found_in_other_certificates_changes_nothing() -> None:
    """All certificates that can have one context have it, as those of an issuer do, and come twice."""
    contexts: list[LintContext] = []
    for case in CASES * 2:
        fresh, tbs = context_of(case), encode(case)
        if fresh not in contexts:
            contexts.append(fresh)
        kept = contexts[contexts.index(fresh)]
        assert run_lints(tbs, kept) == run_lints(tbs, context_of(case)), case["about"]
    assert any(context.seen for context in contexts)


def test_lints_whose_result_is_kept_see_nothing_of_one_certificate_alone() -> None:
    view = StandingView(CertificateView(LEAF_TBS))
    for name in ("serial_number", "validity", "subject", "spki", "has_subject"):
        with pytest.raises(AttributeError):
            getattr(view, name)
    for oid in (oids.SUBJECT_KEY_IDENTIFIER, oids.SUBJECT_ALTERNATIVE_NAME):
        found = view.find(oid)
        assert found is not None
        assert found.value == b""


def test_only_so_much_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "_MOST_SEEN", 2)
    context = context_of(LEAF)
    context.seen.update({1: True, 2: True})
    assert run_lints(LEAF_TBS, context) == ()
    assert len(context.seen) == 1


def test_warnings_are_given_back() -> None:
    case = next(case for case in CASES if case.get("expect") == {"san_duplicate": "warning"})
    assert [finding.severity for finding in check_lints(encode(case), context_of(case))] == [Severity.WARNING]


def test_every_lint_has_a_case() -> None:
    """Names are written out where a finding is made; `{lint}` stands for the two extensions that hold locations."""
    folder = Path(lints.__file__).parent
    source = "".join(path.read_text() for path in folder.glob("*.py"))
    names: set[str] = set()
    for name in re.findall(r'(?:error|warning|Finding)\(\s*f?"([a-z_0-9{}]+)"', source):
        names |= {name.format(lint=place) for place in ("aia", "cdp")}
    expected = {lint for case in CASES for lint in case.get("expect", {})}
    assert names == expected


def test_every_lint_is_in_the_list() -> None:
    """A lint that is written but not listed would never run."""
    public = {
        f"{module.__name__}.{name}"
        for module in {__import__(lint.__module__, fromlist=["x"]) for lint in LINTS}
        for name, value in vars(module).items()
        if callable(value) and getattr(value, "__annotations__", {}).get("context") == "LintContext"
    }
    assert public == {f"{lint.__module__}.{lint.__name__}" for lint in LINTS}


LEAF = next(case for case in CASES if case["about"] == "a leaf")
LEAF_TBS = encode(LEAF)


@given(st.integers(0, len(LEAF_TBS) - 1), st.integers(0, 255))
def test_no_octet_makes_a_lint_fall_over(position: int, octet: int) -> None:
    changed = LEAF_TBS[:position] + bytes((octet,)) + LEAF_TBS[position + 1 :]
    run_lints(changed, context_of(LEAF))


@given(st.integers(0, len(LEAF_TBS) - 1))
def test_a_truncated_certificate_is_refused(size: int) -> None:
    with pytest.raises(Refused):
        check_lints(LEAF_TBS[:size], context_of(LEAF))


@given(st.binary(max_size=200))
def test_garbage_is_refused(octets: bytes) -> None:
    with pytest.raises(Refused):
        check_lints(octets, context_of(LEAF))
