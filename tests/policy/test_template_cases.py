"""Each case in `cases/` is a template, a wish and an issuer, and what becomes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from ruamel.yaml import YAML

from pkiconf.der.certificate import encode_tbs_certificate
from pkiconf.errors import Malformed, Refused
from pkiconf.model.certificate import IssuerFacts, TBSCertificate
from pkiconf.policy.lints import LintContext, check_lints
from pkiconf.policy.template import evaluate
from tests.policy.issuing import NOW, SERIAL, constraints, issuer_facts, overrides, signed, template, wanted
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


def issuer_of(case: dict[str, Any]) -> IssuerFacts:
    issuer = case.get("issuer", {})
    return issuer_facts(
        issuer.get("key", "ec-p384"),
        path_length=issuer.get("path_length", 0),
        constraints=tuple(constraints(**row) for row in issuer.get("constraints", ())),
    )


def outcome(case: dict[str, Any]) -> TBSCertificate:
    request = wanted(**case.get("request", {}), overrides=overrides(case.get("overrides", {})))
    return evaluate(template(**case.get("template", {})), request, issuer_of(case), SERIAL, NOW)


@pytest.mark.parametrize("case", load_cases())
def test_case(case: dict[str, Any]) -> None:
    if "certificate" in case:
        tbs = outcome(case)
        check_lints(encode_tbs_certificate(tbs), LintContext(issuer=issuer_of(case)))
        said = describe(x509.load_der_x509_certificate(signed(tbs)))
        assert {key: said[key] for key in case["certificate"]} == case["certificate"]
        return
    error = Refused if "refused" in case else Malformed
    with pytest.raises(error) as refusal:
        encode_tbs_certificate(outcome(case))
    assert (case.get("refused") or case["malformed"]) in str(refusal.value)
