"""ACME policies as declared: HMAC keys in lists, what is short for what, and what no error ever shows."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from pkiconf.model.secret import Secret
from pkiconf.spec.acme import ACMEPolicySpec, decode_hmac_key, encode_hmac_key
from pkiconf.spec.errors import SpecErrors
from pkiconf.spec.loader import load_files
from pkiconf.spec.misfits import Advised
from tests.spec.loading import Folder

KEY = bytes(range(200, 232))
TEXT = base64.urlsafe_b64encode(KEY).rstrip(b"=")
DECLARED = """
authorities: [{ name: ca }]
acme_policies:
  - name: p
    template: web-server
    external_account_bindings:
      - { name: first }
      - { name: own, key_id: k, hmac_key: %s }
"""


def test_a_key_is_what_clients_are_given() -> None:
    assert decode_hmac_key(Secret(TEXT)).matches(KEY)
    assert decode_hmac_key(Secret(b" " + TEXT + b"\n")).matches(KEY), "editors end a file with a newline"
    assert encode_hmac_key(Secret(KEY)).matches(TEXT)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (TEXT[:-1], "octets"),
        (b"QUJD", "has 3 octets"),
        (b"A" * 1000, "has 750 octets"),
        (TEXT + b"=", "is padded"),
        (base64.b64encode(KEY).rstrip(b"="), "base64 and not base64url"),
        (b"A" * 45, "is not base64url"),
        ("ä".encode() * 43, "is not base64url"),
        (TEXT[:20] + b" " + TEXT[20:], "is not base64url"),
        (TEXT + b"\x00", "is not base64url"),
    ],
)
def test_what_is_no_key(text: bytes, said: str) -> None:
    with pytest.raises(Advised, match=said) as refused:
        decode_hmac_key(Secret(text))
    assert text.decode() not in str(refused.value)
    assert refused.value.hint


@pytest.mark.row("F113")
def test_a_secret_in_a_list_is_a_reference(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(TEXT + b"\n")
    for reference, environment in (("!env KEY", {"KEY": TEXT.decode()}), ("!file key", {})):
        (tmp_path / "pki.yaml").write_text(DECLARED % reference)
        (policy,) = load_files([tmp_path / "pki.yaml"], environment=environment).acme_policies
        assert policy.spec.external_account_bindings[1].hmac_key == reference
        assert policy.explicit["external_account_bindings"][1]["hmac_key"] == reference
        assert {path: secret.reveal() for path, secret in policy.secrets.items()} == {
            "external_account_bindings.1.hmac_key": TEXT
        }
        assert policy.where("external_account_bindings.1.hmac_key").line == 8


def test_a_plain_key_is_a_finding(folder: Folder) -> None:
    document = folder.load(DECLARED % TEXT.decode())
    (finding,) = document.findings
    assert "external_account_bindings.1.hmac_key stands in the file in plain text" in str(finding)
    (policy,) = document.acme_policies
    assert TEXT.decode() not in repr(policy)
    assert policy.spec.external_account_bindings[1].hmac_key == "(plain text)"


def test_a_wrong_key_is_said_where_it_stands_and_never_shown(folder: Folder) -> None:
    (problem,) = folder.refused(DECLARED % f"{TEXT.decode()}=")
    assert problem.startswith(
        "pki.yaml:8:43  ACME policy 'p': external_account_bindings.1.hmac_key: the HMAC key is pad"
    )
    assert TEXT.decode() not in problem


def test_nothing_is_read_without_resolving(tmp_path: Path) -> None:
    (tmp_path / "pki.yaml").write_text(DECLARED % "!env NOWHERE")
    (policy,) = load_files([tmp_path / "pki.yaml"], environment={}, resolve_secrets=False).acme_policies
    assert policy.secrets == {}
    with pytest.raises(SpecErrors, match="NOWHERE is not set"):
        load_files([tmp_path / "pki.yaml"], environment={})


def test_a_template_is_short_for_one_profile() -> None:
    short = ACMEPolicySpec.model_validate({"name": "p", "template": "ca/web"})
    assert (short.offered, short.usual_profile) == ({"default": "ca/web"}, "default")
    several = ACMEPolicySpec.model_validate({"name": "p", "profiles": {"b": "ca/b", "a": "ca/a"}})
    assert several.usual_profile == "a"
    chosen = ACMEPolicySpec.model_validate(
        {"name": "p", "profiles": {"b": "ca/b", "a": "ca/a"}, "default_profile": "b"}
    )
    assert chosen.usual_profile == "b"


def test_a_policy_that_goes_needs_no_template(folder: Folder) -> None:
    (policy,) = folder.load("acme_policies: [{ name: p, state: absent, deactivate_accounts: true }]").acme_policies
    assert policy.spec.deactivate_accounts
