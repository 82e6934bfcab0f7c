"""References to secrets: resolved, kept aside, and never shown."""

from __future__ import annotations

import pytest

from pkiconf.spec.authority import AuthoritySpec
from pkiconf.spec.document import Declaration, Document
from pkiconf.spec.loader import load_files
from tests.spec.loading import Folder
from tests.spec.test_vault import V11, V12

VAULT = "!vault |\n" + "".join(f"        {line}\n" for line in V11.decode().splitlines())


def declared(passphrase: str) -> str:
    return (
        "authorities:\n  - name: ca\n    key:\n      source: import\n      file: ca.key\n"
        f"      passphrase: {passphrase}\n"
    )


@pytest.fixture
def keyed(folder: Folder) -> Folder:
    (folder.path / "ca.key").write_bytes(b"-----BEGIN PRIVATE KEY-----")
    (folder.path / "secret.txt").write_bytes(b"hunter2\n")
    (folder.path / "password").write_text("correct horse")
    return folder


def only(document: Document) -> Declaration[AuthoritySpec]:
    return document.authorities[0]


@pytest.mark.parametrize(
    ("passphrase", "shown"),
    [
        ("!env SECRET", "!env SECRET"),
        ("!file secret.txt", "!file secret.txt"),
        (VAULT, "!vault"),
        ("hunter2", "(plain text)"),
        ("'!env SECRET'", "(plain text)"),
    ],
)
def test_where_secrets_come_from(keyed: Folder, passphrase: str, shown: str) -> None:
    (keyed.path / "pki.yaml").write_text(declared(passphrase))
    environment = {"SECRET": "hunter2", "PKICONF_VAULT_PASSWORD_FILE": str(keyed.path / "password")}
    document = load_files([keyed.path], environment=environment)
    found = only(document)
    assert found.explicit["key"]["passphrase"] == found.spec.key.passphrase == shown
    secret = found.secrets["key.passphrase"]
    assert secret.reveal() == (b"!env SECRET" if passphrase[0] == "'" else b"hunter2")
    assert "hunter2" not in repr(document)
    assert "PRIVATE KEY" not in repr(document)
    assert bool(document.findings) == (shown == "(plain text)")


def test_a_plain_secret_is_a_finding(keyed: Folder) -> None:
    (finding,) = keyed.load(declared("hunter2")).findings
    assert str(finding).endswith(
        "pki.yaml:6:19  authority 'ca': key.passphrase stands in the file in plain text. Use !env, !file or !vault"
    )


@pytest.mark.parametrize(
    ("passphrase", "problem"),
    [
        ("!env NOT_THERE", "the environment variable NOT_THERE is not set. Set it: export NOT_THERE=…"),
        ("!env EMPTY", "the environment variable EMPTY is empty. Put the secret there, or remove the reference"),
        ("!file secret.text", "there is no such file: %s/secret.text. Did you mean %s/secret.txt?"),
        ("!file .", ". is not a file. Name a file"),
        ("!file empty", "the file empty is empty. Put the secret there, or remove the reference"),
        ("!file \"a\\0b\"", "'a\\x00b' cannot be the name of a file"),
        (
            "!vault hunter2",
            "this is not ansible-vault text: it does not begin with $ANSIBLE_VAULT. "
            "Make it anew with ansible-vault encrypt_string",
        ),
        (
            VAULT,
            "the vault's password is not known. "
            "Name its file in PKICONF_VAULT_PASSWORD_FILE or --vault-password-file",
        ),
    ],
)  # fmt: skip
def test_references_that_lead_nowhere(keyed: Folder, passphrase: str, problem: str) -> None:
    (keyed.path / "empty").write_bytes(b"\n")
    (said,) = keyed.refused(declared(passphrase))
    assert said == f"pki.yaml:6:19  authority 'ca': key.passphrase: {problem.replace('%s/', '')}"


def test_nothing_is_read_without_resolving(keyed: Folder) -> None:
    """What a pipeline without the secrets can still check."""
    (keyed.path / "ca.key").unlink()
    (keyed.path / "pki.yaml").write_text(declared("!env NOT_THERE"))
    found = only(load_files([keyed.path], environment={}, resolve_secrets=False))
    assert found.explicit["key"]["passphrase"] == "!env NOT_THERE"
    assert not found.secrets
    assert not found.files


def test_a_key_file_may_be_vault_text(keyed: Folder) -> None:
    (keyed.path / "ca.key").write_bytes(V12)
    (keyed.path / "pki.yaml").write_text(declared("!env SECRET"))
    document = load_files([keyed.path], environment={"SECRET": "x"}, vault_password_file=keyed.path / "password")
    assert only(document).files["key.file"] == b"hunter2"


def test_a_named_password_file_wins(keyed: Folder) -> None:
    (keyed.path / "pki.yaml").write_text(declared(VAULT))
    environment = {"PKICONF_VAULT_PASSWORD_FILE": "/nowhere"}
    document = load_files([keyed.path], environment=environment, vault_password_file=keyed.path / "password")
    assert only(document).secrets["key.passphrase"].reveal() == b"hunter2"


def test_the_process_environment_answers_by_default(keyed: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CA_PASSPHRASE", "hunter2")
    (keyed.path / "pki.yaml").write_text(declared("!env CA_PASSPHRASE"))
    assert only(load_files([keyed.path])).secrets["key.passphrase"].reveal() == b"hunter2"


def test_no_error_shows_a_secret(keyed: Folder) -> None:
    """Not even when what stands beside it is wrong, or the secret has the wrong type."""
    problems = keyed.refused(declared("hunter2").replace("source: import", "source: imported"))
    assert "hunter2" not in "".join(problems)
    problems = keyed.refused(declared("{ hunter2: hunter2 }"))
    assert problems == ["pki.yaml:6:19  authority 'ca': key.passphrase wants text, not a mapping"]


def test_a_number_as_a_passphrase(keyed: Folder) -> None:
    assert only(keyed.load(declared("123456"))).secrets["key.passphrase"].reveal() == b"123456"
