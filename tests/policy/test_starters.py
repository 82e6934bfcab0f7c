"""Each starter gives, for each kind of key, the certificate its table promises, and strangers accept it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from pkiconf.der.certificate import encode_tbs_certificate
from pkiconf.model.keys import KeyType
from pkiconf.model.usages import KeyUsage
from pkiconf.policy.key_rules import USAGES
from pkiconf.policy.lints import LintContext, check_lints
from pkiconf.policy.starters import DEFAULT_STARTER, STARTERS, overlay, starter_defaults, template_defaults
from pkiconf.policy.template import evaluate
from pkiconf.spec.template import TemplateSpec
from tests.judges.pkilint import pkilint_findings
from tests.policy.issuing import NOW, SERIAL, SUBJECT_KEYS, issue, issuer_facts, signed, template, wanted
from tests.policy.reading import basic_constraints, critical, describe, extended_key_usage, key_usage
from tests.tools import accepted, run_tool

SIGN = ["digitalSignature"]
BOTH = ["digitalSignature", "keyEncipherment"]

# starter → key usage with RSA, with EC, with keys that only sign; extended key usages; critical; days
TABLE: dict[str, tuple[list[str], list[str], list[str], list[str], bool, int]] = {
    "web-server": (BOTH, SIGN, SIGN, ["serverAuth"], False, 90),
    "client": (SIGN, SIGN, SIGN, ["clientAuth"], False, 365),
    "mutual-tls": (BOTH, SIGN, SIGN, ["serverAuth", "clientAuth"], False, 90),
    "s-mime": (BOTH, ["digitalSignature", "keyAgreement"], SIGN, ["emailProtection"], False, 365),
    "code-signing": (SIGN, SIGN, SIGN, ["codeSigning"], True, 365),
    "timestamping": (SIGN, SIGN, SIGN, ["timeStamping"], True, 365),
    "ocsp-signing": (SIGN, SIGN, SIGN, ["OCSPSigning"], False, 90),
    "device": (BOTH, SIGN, SIGN, ["clientAuth"], False, 365),
    "vpn-server": (BOTH, SIGN, SIGN, ["serverAuth", "ipsecIKE"], False, 365),
    "vpn-client": (SIGN, SIGN, SIGN, ["clientAuth"], False, 365),
    "certificate-authority": (*[["keyCertSign", "cRLSign"]] * 3, [], False, 1825),  # type: ignore[dict-item]
}
REQUEST: dict[str, Any] = {
    "subject": "CN=Somebody,O=Example Corp,C=NL",
    "sans": ["dns:web.corp.example", "email:me@corp.example"],
}


def test_the_table_is_whole() -> None:
    assert list(TABLE) == list(STARTERS)
    assert set(STARTERS) == set(TemplateSpec.model_json_schema()["properties"]["starter"]["enum"])


@pytest.mark.row("F55")
@pytest.mark.parametrize("key", SUBJECT_KEYS)
@pytest.mark.parametrize("starter", TABLE)
def test_a_starter_gives_what_its_table_promises(starter: str, key: str) -> None:
    rsa, ec, others, usages, usages_critical, days = TABLE[starter]
    issuer = issuer_facts(path_length=None)
    certificate = issue(template(starter=starter), wanted(**REQUEST, key=key), issuer)
    assert key_usage(certificate) == {"rsa": rsa, "ec": ec}.get(key[:3].rstrip("-"), others)
    assert [usage.replace("Unknown OID", "ipsecIKE") for usage in extended_key_usage(certificate)] == usages
    assert ("extendedKeyUsage" in critical(certificate)) == usages_critical
    assert {"keyUsage", "basicConstraints"} <= set(critical(certificate))
    authority = starter == "certificate-authority"
    assert basic_constraints(certificate) == {"ca": authority, "path_length": 0 if authority else None}
    end = min(days * 86400, int((issuer.not_after - NOW).total_seconds()) + 1)
    assert int((certificate.not_valid_after_utc - certificate.not_valid_before_utc).total_seconds()) + 1 == end


@pytest.mark.row("F67", "F68", "D26")
@pytest.mark.parametrize("key", SUBJECT_KEYS)
@pytest.mark.parametrize("starter", TABLE)
def test_a_starter_is_accepted_by_our_lints_and_by_pkilint(starter: str, key: str) -> None:
    issuer = issuer_facts(path_length=None)
    tbs = evaluate(template(starter=starter), wanted(**REQUEST, key=key), issuer, SERIAL, NOW)
    check_lints(encode_tbs_certificate(tbs), LintContext(issuer=issuer))
    assert pkilint_findings(signed(tbs), "certificate") == []


@pytest.mark.parametrize("starter", TABLE)
def test_a_starter_is_read_by_openssl_and_gnutls(starter: str, tmp_path: Path) -> None:
    certificate = issue(template(starter=starter), wanted(**REQUEST), issuer_facts(path_length=None))
    file = tmp_path / "certificate.pem"
    file.write_bytes(certificate.public_bytes(Encoding.PEM))
    text = accepted(run_tool("openssl", "x509", "-in", file, "-noout", "-text"))
    assert "X509v3 Basic Constraints: critical" in text
    assert "Authority Key Identifier" in text
    assert "Basic Constraints (critical)" in accepted(run_tool("certtool", "--certificate-info", "--infile", file))


def test_a_responders_certificate_points_nowhere_and_says_so() -> None:
    said = describe(issue(template(starter="ocsp-signing"), wanted(**REQUEST)))
    assert said["ocsp_nocheck"]
    assert [said["ocsp"], said["aia"], said["crl"]] == [[], [], []]


@pytest.mark.row("F55", "F56")
def test_what_is_written_lies_over_the_starter() -> None:
    fields = template_defaults(
        {"name": "t", "starter": "s-mime", "validity": "30d", "key_usage": {"critical": False}, "allowed_keys": ["ec"]}
    )
    assert fields["validity"] == "30d"
    assert fields["key_usage"] == {"critical": False, "values": ["digitalSignature", "keyEncipherment", "keyAgreement"]}
    assert fields["extended_key_usage"] == {"critical": False, "values": ["emailProtection"]}
    assert fields["allowed_keys"] == ["ec"]


def test_without_a_starter_it_is_a_web_server() -> None:
    assert template_defaults({"name": "t"}) == {"name": "t", "starter": DEFAULT_STARTER, **STARTERS["web-server"]}


def test_a_list_replaces_the_starters_list() -> None:
    fields = template_defaults({"extended_key_usage": {"values": ["clientAuth"]}})
    assert fields["extended_key_usage"]["values"] == ["clientAuth"]


def test_an_unknown_starter_is_none() -> None:
    with pytest.raises(KeyError):
        starter_defaults("web-sever")


def test_what_a_caller_changes_stays_his() -> None:
    starter_defaults("web-server")["key_usage"]["values"].append("keyCertSign")
    assert "keyCertSign" not in starter_defaults("web-server")["key_usage"]["values"]


def test_laying_over_changes_neither_side() -> None:
    below: dict[str, Any] = {"a": {"b": 1, "c": 2}, "d": 3}
    above: dict[str, Any] = {"a": {"c": 4}, "e": {"f": 5}}
    assert overlay(below, above) == {"a": {"b": 1, "c": 4}, "d": 3, "e": {"f": 5}}
    assert below == {"a": {"b": 1, "c": 2}, "d": 3}
    assert above == {"a": {"c": 4}, "e": {"f": 5}}


def test_every_kind_of_key_has_its_usages() -> None:
    assert set(USAGES) == set(KeyType)
    assert all(KeyUsage.DIGITAL_SIGNATURE in usages for usages in USAGES.values())
