"""Each case in `cases/` is a template, a wish and an issuer, and what becomes of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from pkiconf.errors import Malformed, Refused
from tests.policy.issuing import constraints, issue, issuer_facts, overrides, template, wanted
from tests.policy.reading import describe

CASES = Path(__file__).with_name("cases")
KEYS = {"about", "row", "template", "issuer", "request", "overrides", "refused", "malformed", "certificate"}


def load_cases() -> list[Any]:
    found = []
    for path in sorted(CASES.glob("*.yaml")):
        for case in YAML(typ="safe").load(path):
            assert set(case) <= KEYS, f"{path.name}: {set(case) - KEYS}"
            rows = case.get("row", [])
            marks = [pytest.mark.row(row) for row in (rows if isinstance(rows, list) else [rows])]
            found.append(pytest.param(case, id=f"{path.stem}: {case['about']}", marks=marks))
    return found


def outcome(case: dict[str, Any]) -> dict[str, Any]:
    issuer = case.get("issuer", {})
    facts = issuer_facts(issuer.get("key", "ec-p384"))
    facts = replace(
        facts,
        path_length=issuer.get("path_length", 0),
        constraints=tuple(constraints(**row) for row in issuer.get("constraints", ())),
    )
    request = wanted(**case.get("request", {}), overrides=overrides(case.get("overrides", {})))
    return describe(issue(template(**case.get("template", {})), request, facts))


@pytest.mark.parametrize("case", load_cases())
def test_case(case: dict[str, Any]) -> None:
    if "certificate" in case:
        said = outcome(case)
        assert {key: said[key] for key in case["certificate"]} == case["certificate"]
        return
    error = Refused if "refused" in case else Malformed
    with pytest.raises(error) as refusal:
        outcome(case)
    assert (case.get("refused") or case["malformed"]) in str(refusal.value)
