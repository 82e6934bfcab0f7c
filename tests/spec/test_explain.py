"""Every field can be explained."""

from __future__ import annotations

import pytest

from pkiconf.errors import NotFound
from pkiconf.spec.explain import Explanation, every_path, explain, field_default


def test_a_field() -> None:
    assert explain("templates.key_usage.critical") == Explanation(
        path="templates.key_usage.critical",
        meaning="RFC 5280 wants true",
        type="true or false",
        default="true",
        rfc="RFC 5280 §4.2.1.3",
    )


def test_a_mapping_leads_on() -> None:
    found = explain("templates.key_usage")
    assert found.type == "a mapping"
    assert found.fields == ("templates.key_usage.critical", "templates.key_usage.values")


def test_top_level() -> None:
    assert explain("authorities").type == "a list of mappings"
    assert "authorities.import" in explain("authorities").fields
    assert explain("settings").type == "a mapping"


@pytest.mark.row("F27")
def test_security_levels_are_told() -> None:
    found = explain("authorities.key.parameter_set")
    assert "44 is NIST level 2, 65 level 3, 87 level 5" in found.meaning
    assert (found.default, found.allowed) == ("65", ("44", "65", "87"))


@pytest.mark.row("F4")
@pytest.mark.parametrize(
    ("path", "default"),
    [
        ("authorities.validity", "10y for a root, 5y below one"),
        ("authorities.path_length", "unlimited for a root, 0 below one"),
        ("authorities.key.type", "ec"),
        ("authorities.key.curve", "p384"),
        ("authorities.key.size", "3072"),
        ("authorities.service_certificates.key", "{ type: ec, curve: p256 }"),
        ("authorities.service_certificates.key.curve", "p256"),
        ("authorities.key_usage", "[keyCertSign, cRLSign]"),
        ("authorities.crl.validity", "7d"),
        ("authorities.ocsp.validity", "24h"),
        ("authorities.name", ""),
        ("authorities.extended_key_usage", "none"),
        ("authorities.urls", "as its fields say"),
        ("templates.starter", "web-server"),
        ("templates.enabled", "true"),
        ("templates.extensions.cps", "false"),
        ("templates.validity", "the starter's"),
        ("settings.base_url", "http://127.0.0.1:8000"),
    ],
)
def test_defaults(path: str, default: str) -> None:
    assert field_default(path) == default


@pytest.mark.parametrize("path", ["authority.name", "authorities[0].name", "authorities[].name", "authorities.name."])
def test_spellings_of_a_path(path: str) -> None:
    assert explain(path).path == "authorities.name"
    assert explain(path).required


@pytest.mark.parametrize("path", list(every_path()))
def test_every_field_is_explained(path: str) -> None:
    found = explain(path)
    assert found.path == path
    assert found.meaning
    assert found.type
    assert bool(found.default) != found.required
    assert all(explain(below).path == below for below in found.fields)


def test_secrets_are_told_as_secrets() -> None:
    assert explain("authorities.key.passphrase").type == "a secret: !env NAME, !file PATH or !vault"


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("authorites", "'authorites' is not a top-level key. Did you mean 'authorities'?"),
        ("key_usage", "'key_usage' is not a top-level key. Did you mean authorities.key_usage or templates.key_usage?"),
        ("templates.keyusage", "'keyusage' is not a key of templates. Did you mean 'key_usage'?"),
        ("templates.name.first", "templates.name has nothing below it. Did you mean 'templates.name'?"),
        ("authorities.key.sizes", "'sizes' is not a key of authorities.key. Did you mean 'size'?"),
        ("", "'' is not a top-level key. Known: settings, authorities, templates, acme_policies"),
    ],
)
def test_unknown_paths(path: str, said: str) -> None:
    with pytest.raises(NotFound) as caught:
        explain(path)
    assert str(caught.value) == said
