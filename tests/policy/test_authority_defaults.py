"""What an authority is when little is declared of it."""

from __future__ import annotations

from typing import Any

import pytest

from pkiconf.errors import Refused
from pkiconf.model.usages import KeyUsage
from pkiconf.policy.authority import authority_defaults, ca_overrides, ca_template, levels_below, service_template
from pkiconf.spec.authority import AuthoritySpec


def resolved(explicit: dict[str, Any] | None = None, below: int = 0) -> dict[str, Any]:
    given = {"name": "corp", **(explicit or {})}
    return authority_defaults(given, below, given.get("issuer", "self") == "self")


def spec(explicit: dict[str, Any] | None = None, below: int = 0) -> AuthoritySpec:
    return AuthoritySpec.model_validate(resolved(explicit, below))


@pytest.mark.row("F4")
def test_a_name_is_enough() -> None:
    fields = resolved()
    assert fields["subject"] == {"common_name": "corp"}
    assert fields["key"] == {"type": "ec", "curve": "p384", "source": "generate", "generation": 1}
    assert (fields["validity"], fields["path_length"]) == ("10y", None)
    assert fields["key_usage"] == ["keyCertSign", "cRLSign"]
    assert fields["crl"] == {"validity": "7d", "partitions": 0, "delta": None}
    assert fields["ocsp"] == {"validity": "24h", "presign": []}
    assert fields["service_certificates"] == {
        "key": {"type": "ec", "curve": "p256"},
        "signature_hash": None,
        "validity": "90d",
    }


def test_every_field_is_there_and_resolving_again_changes_nothing() -> None:
    fields = resolved()
    by_yaml_key = {field.alias or name for name, field in AuthoritySpec.model_fields.items()}
    assert set(fields) == by_yaml_key
    assert authority_defaults(fields, 0, True) == fields


@pytest.mark.parametrize("issuer", ["corp-root", "external"])
def test_a_subordinate(issuer: str) -> None:
    fields = resolved({"issuer": issuer})
    assert (fields["validity"], fields["path_length"]) == ("5y", 0)


@pytest.mark.row("F38")
@pytest.mark.parametrize("below", [0, 1, 2, 3])
def test_a_subordinate_has_room_for_the_authorities_declared_below_it(below: int) -> None:
    assert resolved({"issuer": "corp-root"}, below)["path_length"] == below


def test_a_yes_counts_as_one_level() -> None:
    assert authority_defaults({"name": "corp", "issuer": "root"}, True, False)["path_length"] == 1


@pytest.mark.parametrize("below", [0, 2])
def test_a_path_length_that_was_written_stands(below: int) -> None:
    assert resolved({"issuer": "corp-root", "path_length": 5}, below)["path_length"] == 5
    assert resolved({"issuer": "corp-root", "path_length": None}, below)["path_length"] is None
    assert resolved({"path_length": 0}, below)["path_length"] == 0


@pytest.mark.row("F10")
def test_a_web_server_template_is_implied_where_no_authority_is_issued() -> None:
    assert resolved(below=0)["default_templates"] == ["web-server"]
    assert resolved(below=1)["default_templates"] == []
    assert resolved({"default_templates": []}, below=0)["default_templates"] == []
    assert resolved({"default_templates": ["client"]}, below=1)["default_templates"] == ["client"]


@pytest.mark.row("F33")
def test_the_common_name_is_the_name_unless_another_is_written() -> None:
    assert resolved({"subject": {"organization": "Example"}})["subject"] == {
        "organization": "Example",
        "common_name": "corp",
    }
    assert resolved({"subject": {"common_name": "Corp Root"}})["subject"] == {"common_name": "Corp Root"}
    assert "common_name" not in resolved({"subject": {"rdn": [{"O": "Example"}]}})["subject"]


@pytest.mark.parametrize(
    ("written", "parameter"),
    [
        ({"type": "rsa"}, {"size": 3072}),
        ({"type": "rsa", "size": 4096}, {"size": 4096}),
        ({"type": "ec"}, {"curve": "p384"}),
        ({"curve": "p256"}, {"curve": "p256"}),
        ({"type": "ed25519"}, {}),
        ({"type": "ed448"}, {}),
        ({"type": "ml-dsa"}, {"parameter_set": 65}),
        ({"type": "ml-dsa", "parameter_set": 87}, {"parameter_set": 87}),
    ],
)
@pytest.mark.row("F26", "F34")
def test_a_keys_parameter_is_written_out(written: dict[str, Any], parameter: dict[str, Any]) -> None:
    key = resolved({"key": written})["key"]
    assert {name: key[name] for name in ("size", "curve", "parameter_set") if name in key} == parameter


def test_of_an_imported_key_nothing_is_assumed() -> None:
    key = resolved({"key": {"source": "import", "file": "ca.key"}})["key"]
    assert {"size", "curve", "parameter_set"}.isdisjoint(key)


@pytest.mark.parametrize(
    ("written", "key"), [({"type": "rsa"}, "rsa-3072"), ({}, "ec-p256"), ({"curve": "p384"}, "ec-p384")]
)
@pytest.mark.row("F51")
def test_the_key_of_service_certificates(written: dict[str, Any], key: str) -> None:
    assert spec({"service_certificates": {"key": written}}).service_certificates.key.algorithm.name == key


def test_an_end_stands_instead_of_a_validity() -> None:
    fields = resolved({"not_after": "2046-01-01T00:00:00Z"})
    assert fields["validity"] is None
    overrides = ca_overrides(AuthoritySpec.model_validate(fields))
    assert overrides.not_after is not None
    assert overrides.not_after.year == 2046


ISSUERS = {"root": "self", "a": "root", "b": "a", "c": "b", "lone": "external", "d": "root"}


@pytest.mark.parametrize(("name", "levels"), [("root", 3), ("a", 2), ("b", 1), ("c", 0), ("lone", 0), ("d", 0)])
def test_how_many_levels_stand_below(name: str, levels: int) -> None:
    assert levels_below(name, ISSUERS) == levels


@pytest.mark.row("F39")
def test_the_template_of_its_own_certificate() -> None:
    made = ca_template(
        spec(
            {
                "path_length": 2,
                "key_usage": ["keyCertSign", "cRLSign", "digitalSignature"],
                "extended_key_usage": ["serverAuth"],
                "name_constraints": {"permitted": {"dns": ["corp.example"]}},
                "cps": {"text": "What we do", "policy": "1.3.6.1.4.1.99999.5"},
                "validity": "20y",
            }
        )
    )
    assert (made.authority, str(made.validity)) == ("corp", "20y")
    assert made.basic_constraints.ca
    assert made.basic_constraints.path_length == 2
    assert list(made.key_usage.values) == ["keyCertSign", "cRLSign", "digitalSignature"]
    assert list(made.extended_key_usage.values) == ["serverAuth"]
    assert made.name_constraints is not None
    assert made.name_constraints.permitted.dns == ("corp.example",)
    assert [policy.oid for policy in made.extensions.policies] == ["1.3.6.1.4.1.99999.5"]
    assert made.extensions.cps


@pytest.mark.parametrize(("issuer", "authority"), [("self", "corp"), ("external", "corp"), ("corp-root", "corp-root")])
def test_a_certificate_of_an_authority_belongs_to_who_signs_it(issuer: str, authority: str) -> None:
    assert ca_template(spec({"issuer": issuer})).authority == authority


def test_a_practice_statement_without_a_policy_adds_none() -> None:
    made = ca_template(spec({"cps": {"text": "What we do"}}))
    assert not made.extensions.cps
    assert not made.extensions.policies


@pytest.mark.parametrize(
    ("purpose", "usages"),
    [("ocsp", ["OCSPSigning"]), ("tsa", ["timeStamping"]), ("scep_ra", []), ("tls", ["serverAuth"])],
)
@pytest.mark.row("F51")
def test_templates_of_service_certificates(purpose: str, usages: list[str]) -> None:
    made = service_template(
        purpose, spec({"service_certificates": {"validity": "30d"}, "timestamp": {"validity": "30d"}})
    )
    assert list(made.extended_key_usage.values) == usages
    assert made.extended_key_usage.critical == (purpose == "tsa")
    assert made.key_usage.critical
    assert (KeyUsage.KEY_ENCIPHERMENT in made.key_usage.values) == (purpose in ("scep_ra", "tls"))
    assert str(made.validity) == "30d"
    assert made.extensions.ocsp_nocheck == (purpose == "ocsp")


def test_a_purpose_that_is_none() -> None:
    with pytest.raises(Refused, match="Use one of ocsp, tsa, scep_ra, profile, tls"):
        service_template("coffee", spec())
