"""What a document holds of what was written."""

from __future__ import annotations

import json

import pytest

from pkiconf.model.durations import Duration
from pkiconf.spec.authority import AuthoritySpec
from pkiconf.spec.errors import did_you_mean, nearest
from pkiconf.spec.template import TemplateSpec
from tests.spec.loading import AUTHORITY, Folder

FULL = """
authorities:
  - name: ca
    issuer: external
    subject:
      rdn: [{ C: NL }, { O: Example, "1.2.3.4": x }]
    key: { type: rsa, size: 4096, generation: 2 }
    signature_hash: sha512
    signature_padding: pss
    not_before: 2030-01-01
    not_after: 2031-12-31T23:59:59+01:00
    path_length: ~
    name_constraints: { permitted: { dns: [corp.example], ip: [10.0.0.0/8] } }
    extended_key_usage: ["1.3.6.1.5.5.7.3.1", "1.3.6.1.4.1.99999.7"]
    crl: { validity: 30d }
    default_templates: []
templates:
  - name: web
    authority: ca
    subject: { from: merge, values: { organization: [A, B] } }
    names: { allow: {}, deny: { dns: ["*"] } }
    extensions: { policies: [{ oid: any }], custom: [{ oid: 1.2.3, der: "05:00" }] }
"""


@pytest.mark.row("F4")
def test_only_what_was_written_is_explicit(folder: Folder) -> None:
    document = folder.load(AUTHORITY)
    assert document.settings is None
    assert document.authorities[0].explicit == {"name": "ca"}
    assert document.authorities[0].spec == AuthoritySpec(name="ca")


def test_explicit_values_are_canonical(folder: Folder) -> None:
    document = folder.load(FULL)
    authority, template = document.authorities[0].explicit, document.templates[0].explicit
    assert authority == {
        "name": "ca",
        "issuer": "external",
        "subject": {"rdn": [{"C": "NL"}, {"O": "Example", "1.2.3.4": "x"}]},
        "key": {"type": "rsa", "size": 4096, "generation": 2},
        "signature_hash": "sha512",
        "signature_padding": "pss",
        "not_before": "2030-01-01T00:00:00Z",
        "not_after": "2031-12-31T22:59:59Z",
        "path_length": None,
        "name_constraints": {"permitted": {"dns": ["corp.example"], "ip": ["10.0.0.0/8"]}},
        "extended_key_usage": ["serverAuth", "1.3.6.1.4.1.99999.7"],
        "crl": {"validity": "30d"},
        "default_templates": [],
    }
    assert template == {
        "name": "web",
        "authority": "ca",
        "subject": {"from": "merge", "values": {"organization": ["A", "B"]}},
        "names": {"allow": {}, "deny": {"dns": ["*"]}},
        "extensions": {"policies": [{"oid": "any"}], "custom": [{"oid": "1.2.3", "der": "0500"}]},
    }
    json.dumps([authority, template])


def test_what_is_explicit_loads_again(folder: Folder) -> None:
    document = folder.load(FULL)
    assert AuthoritySpec.model_validate(document.authorities[0].explicit) == document.authorities[0].spec
    assert TemplateSpec.model_validate(document.templates[0].explicit) == document.templates[0].spec


def test_a_resolved_spec_survives_its_json(folder: Folder) -> None:
    for declaration in (*(document := folder.load(FULL)).authorities, *document.templates):
        spec = declaration.spec
        assert type(spec).model_validate(spec.model_dump(mode="json", by_alias=True)) == spec


def test_leftovers_in_a_resolved_spec_are_tolerated() -> None:
    """What is written lies over what stood before: these were never written together."""
    AuthoritySpec.model_validate({"name": "a", "key": {"file": "gone.key"}, "certificate": {"file": "gone.pem"}})
    AuthoritySpec.model_validate({"name": "a", "key_usage": ["keyCertSign"]})
    TemplateSpec.model_validate({"name": "a", "authority": "a", "validity": "1y", "max_validity": "90d"})
    TemplateSpec.model_validate({"name": "a", "authority": "a", "subject": {"values": {"country": "NL"}}})


def test_what_can_never_be_is_refused_in_a_resolved_spec_too() -> None:
    for wrong in (
        {"key": {"type": "ec", "size": 4096}},
        {"key": {"type": "ml-dsa"}, "signature_hash": "sha256"},
        {"key_usage": ["cRLSign"]},
        {"validity": "1y", "not_after": "2031-12-31"},
    ):
        with pytest.raises(ValueError, match=r"go with|keyCertSign|both give the end"):
            AuthoritySpec.model_validate({"name": "a", **wrong})


def test_places_of_fields(folder: Folder) -> None:
    declaration = folder.load(FULL).authorities[0]
    assert str(declaration.at).endswith("pki.yaml:3:5")
    assert str(declaration.where("key.size")).endswith("pki.yaml:7:29")
    assert str(declaration.where("key.curve")).endswith("pki.yaml:7:10")
    assert str(declaration.where("subject.rdn.1.O")).endswith("pki.yaml:6:29")
    assert declaration.where("ocsp.validity") == declaration.at


def test_settings_of_several_files_add_up(folder: Folder) -> None:
    document = folder.load(
        a="settings: { base_url: 'http://pki.example', urls: { status: 'http://status.example' } }\n",
        b="settings: { urls: { console: 'https://console.example' } }\n",
    )
    assert document.settings_explicit == {
        "base_url": "http://pki.example",
        "urls": {"status": "http://status.example", "console": "https://console.example"},
    }
    assert str(document.settings_at).endswith("a.yaml:1:11")


@pytest.mark.row("F33")
def test_a_subject_in_its_own_order(folder: Folder) -> None:
    subject = folder.load(FULL).authorities[0].spec.subject
    assert subject is not None
    assert [[(a.oid, a.value) for a in rdn] for rdn in subject.name().rdns] == [
        [("2.5.4.6", "NL")],
        [("2.5.4.10", "Example"), ("1.2.3.4", "x")],
    ]


def test_a_subject_from_the_widest_to_the_narrowest(folder: Folder) -> None:
    text = "authorities: [{ name: ca, subject: { common_name: x, organizational_unit: [a, b], country: NL } }]"
    subject = folder.load(text).authorities[0].spec.subject
    assert subject is not None
    assert [a.value for a in subject.name().attributes] == ["NL", "a", "b", "x"]


def test_defaults_of_the_models() -> None:
    authority, template = AuthoritySpec(name="ca"), TemplateSpec(name="web", authority="ca")
    assert authority.crl.validity == Duration(7, "d")
    assert authority.key.algorithm.name == "ec-p384"
    assert authority.service_certificates.key.algorithm.name == "ec-p256"
    assert template.validity == Duration(90, "d")


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ({"type": "rsa"}, "rsa-3072"),
        ({"type": "rsa", "size": 2048}, "rsa-2048"),
        ({"type": "ec", "curve": "p521"}, "ec-p521"),
        ({"type": "ed25519"}, "ed25519"),
        ({"type": "ml-dsa"}, "ml-dsa-65"),
    ],
)
@pytest.mark.row("F34")
def test_key_algorithms(written: dict[str, object], name: str) -> None:
    assert AuthoritySpec.model_validate({"name": "ca", "key": written}).key.algorithm.name == name


def test_nearest_spellings() -> None:
    known = ("common_name", "organization", "web-server")
    assert nearest("commonName", known) == "common_name"
    assert nearest("webserver", known) == "web-server"
    assert nearest("zzz", known) is None
    assert did_you_mean("zzz", known) == "Known: common_name, organization, web-server"
    assert did_you_mean("zzz", known, "Look it up") == "Look it up"
    assert did_you_mean("zzz", ()) == ""
