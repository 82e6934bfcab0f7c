"""The master key is changed, a backup is made and brought back, the schema is looked at."""

from __future__ import annotations

import shutil
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest
from cryptography import x509

from tests.cli.conftest import QUICKSTART, CommandLine


def crl_number(pki: CommandLine) -> int:
    number: int = pki.ok("crl", "show", "corp-issuing", "--json").json["number"]
    return number


@pytest.mark.row("F31")
def test_a_new_master_key(pki: CommandLine) -> None:
    old = pki.ok("keystore", "status", "--json").json
    assert old["sealed_under"] == {old["current"]: 6}
    kept = pki.folder / "old.key"
    said = pki.ok("keystore", "rekey", "--keep-old", kept).out
    assert f"Backups made until now still need {old['current']}: it is in {kept}." in said
    new = pki.ok("keystore", "status", "--json").json
    assert new["current"] != old["current"]
    assert new["sealed_under"] == {new["current"]: 6}
    assert new["current"] in pki.ok("keystore", "status").out
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    pki.issue()
    said = pki.refuses(1, "--master-key-file", kept, "authority", "list")
    assert new["current"] in said
    assert old["current"] in said
    assert pki.ok("audit", "list", "--action", "keystore.rekey", "--json").json[0]["details"]["to"] == new["current"]


@pytest.mark.row("F31")
def test_a_master_key_from_a_variable(pki: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The operator puts the new key before the old one; rekey moves everything to it."""
    lines = [line for line in (pki.state / "master.key").read_text().splitlines() if not line.startswith("#")]
    (pki.state / "master.key").unlink()
    new = "x" * 42 + "w="
    monkeypatch.setenv("PKICONF_MASTER_KEY", lines[0])
    assert "gives one key only" in pki.refuses(4, "keystore", "rekey")
    assert "copies a master key file" in pki.refuses(64, "keystore", "rekey", "--keep-old", pki.folder / "x")
    monkeypatch.setenv("PKICONF_MASTER_KEY", f"{new} {lines[0]}")
    said = pki.ok("keystore", "rekey").out
    assert "take it out of environment variable PKICONF_MASTER_KEY" in said
    assert lines[0] not in said
    monkeypatch.setenv("PKICONF_MASTER_KEY", new)
    pki.issue()


def test_the_old_key_is_kept_before_anything_is_changed(pki: CommandLine) -> None:
    before = (pki.state / "master.key").read_bytes()
    taken = pki.folder / "taken"
    taken.write_text("mine")
    assert "exists already" in pki.refuses(4, "keystore", "rekey", "--keep-old", taken)
    pki.refuses(1, "keystore", "rekey", "--keep-old", "/nonexistent/old.key")
    assert (pki.state / "master.key").read_bytes() == before
    assert taken.read_text() == "mine"


def test_a_backup_is_restored_and_nothing_comes_twice(pki: CommandLine) -> None:
    first, number = pki.issue("a.corp.example"), crl_number(pki)
    archive = pki.folder / "backup.tar"
    said = pki.ok("backup", archive)
    assert "2 authorities" in said.out
    assert "master key" in said.err
    assert stat.S_IMODE(archive.stat().st_mode) == 0o600
    later = pki.issue("b.corp.example")

    other = CommandLine(pki.folder / "elsewhere", pki.folder)
    assert "elsewhere/master.key does not exist" in other.refuses(1, "restore", archive)
    assert not other.state.exists()
    other.state.mkdir(mode=0o700)
    shutil.copy(pki.state / "master.key", other.state)
    restored = other.ok("restore", archive)
    assert "pkiconf doctor" in restored.out
    assert "never runs again" in restored.err
    assert other.ok("cert", "show", first, "--json").json["status"] == "good"
    other.refuses(1, "cert", "show", later)
    third = other.issue("c.corp.example")
    assert len({first, later, third}) == 3
    other.ok("cert", "revoke", third, "--reason", "superseded")
    assert crl_number(other) > number + 1000
    assert other.ok("ocsp", "query", third, "--local", "--json").json["status"] == "revoked"
    assert other.ok("worker", "--once").code == 0
    assert "the log holds" in other.ok("audit", "verify").out
    assert "checkpoints of another" in other.refuses(4, "restore", archive)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data[: len(data) // 2],
        lambda data: b"not a tar at all",
        lambda data: data[:-20_000] + bytes((data[-20_000] ^ 1,)) + data[-19_999:],
        lambda data: data.replace(b'"dialect": "sqlite"', b'"dialect": "sqlitE"'),
        lambda data: b"",
    ],
    ids=["half", "text", "one bit", "manifest", "nothing"],
)
def test_a_damaged_backup_is_refused(pki: CommandLine, spoil: object) -> None:
    archive = pki.folder / "backup.tar"
    pki.ok("backup", archive)
    archive.write_bytes(spoil(archive.read_bytes()))  # type: ignore[operator]
    other = CommandLine(pki.folder / "elsewhere", pki.folder)
    other.refuses(1, "--master-key-file", pki.state / "master.key", "restore", archive)
    assert other("--master-key-file", pki.state / "master.key", "authority", "list").code == 1


def test_a_backup_under_another_master_key(pki: CommandLine) -> None:
    archive, old = pki.folder / "backup.tar", pki.folder / "old.key"
    pki.ok("backup", archive)
    pki.ok("keystore", "rekey", "--keep-old", old)
    other = CommandLine(pki.folder / "elsewhere", pki.folder)
    assert "sealed under" in other.refuses(1, "--master-key-file", pki.state / "master.key", "restore", archive)
    other.ok("--master-key-file", old, "restore", archive)
    assert len(other.ok("--master-key-file", old, "authority", "list", "--json").json) == 2


@pytest.mark.parametrize(
    ("code", "words", "hint"),
    [
        (64, ("backup",), "FILE"),
        (4, ("backup", "TAKEN"), "exists already"),
        (1, ("backup", "/nonexistent/b.tar"), "/nonexistent/b.tar cannot be written"),
        (64, ("restore",), "FILE"),
        (1, ("restore", "nothing.tar"), "there is no backup nothing.tar"),
        (64, ("keystore", "rekey", "now"), "extra argument"),
        (64, ("db", "downgrade"), "Did you mean 'upgrade'?"),
        (1, ("--state", "nowhere", "db", "status"), "there is no database at"),
        (1, ("--state", "nowhere", "db", "upgrade"), "there is no database at"),
        (1, ("--database-url", "sqlite:///nowhere/x.db", "db", "status"), "there is no database at"),
        (1, ("--database-url", "oracle://x", "db", "status"), "postgresql://"),
        (1, ("--master-key-file", "nothing", "keystore", "status"), "nothing does not exist"),
        (1, ("--master-key-file", "TAKEN", "keystore", "status"), "chmod 600"),
    ],
)
def test_mistakes(
    pki: CommandLine, code: int, words: tuple[str, ...], hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(pki.folder)
    taken = pki.folder / "taken"
    taken.write_text("mine")
    assert hint in pki.refuses(code, *(taken if word == "TAKEN" else word for word in words))
    assert taken.read_text() == "mine"
    assert not Path("nowhere").exists()


def test_the_schema_is_shown(pki: CommandLine) -> None:
    shown = pki.ok("db", "status", "--json").json
    assert (shown["kind"], shown["state"]) == ("sqlite", "current")
    assert shown["schema"] == shown["wanted"]
    assert shown["database"] in pki.ok("db", "status").out
    assert "already" in pki.ok("db", "upgrade").out


def test_an_empty_database_is_upgraded(bare: CommandLine) -> None:
    bare.state.mkdir()
    with closing(sqlite3.connect(bare.state / "pkiconf.db")):
        pass
    (bare.state / "pkiconf.db").touch()
    result = bare("db", "status", "--json")
    assert (result.code, result.json["state"]) == (2, "empty")
    assert "pkiconf db upgrade" in bare.refuses(1, "authority", "list")
    assert "now has schema" in bare.ok("db", "upgrade").out
    assert bare.ok("db", "status", "--json").json["state"] == "current"


def test_a_newer_schema_is_left_alone(pki: CommandLine) -> None:
    with closing(sqlite3.connect(pki.state / "pkiconf.db")) as c, c:
        c.execute("UPDATE alembic_version SET version_num = '9999'")
    assert pki("db", "status").code == 1
    for words in (("db", "upgrade"), ("authority", "list"), ("worker", "--once")):
        assert "9999" in pki.refuses(4, *words)


def test_exported_certificates_survive_everything(pki: CommandLine) -> None:
    """After a rekey and a restore the keys are still the same keys."""
    before = x509.load_pem_x509_certificate(pki.ok("authority", "export", "corp-root").raw)
    pki.ok("keystore", "rekey")
    archive = pki.folder / "b.tar"
    pki.ok("backup", archive)
    other = CommandLine(pki.folder / "elsewhere", pki.folder)
    other.ok("--master-key-file", pki.state / "master.key", "restore", archive)
    key = ("--master-key-file", str(pki.state / "master.key"))
    assert x509.load_pem_x509_certificate(other.ok(*key, "authority", "export", "corp-root").raw) == before
    crl = x509.load_der_x509_crl(other.ok(*key, "crl", "fetch", "corp-root", "--local", "--format", "der").raw)
    assert crl.is_signature_valid(before.public_key())  # type: ignore[arg-type]


def test_the_same_on_postgresql(bare: CommandLine, empty_postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The schema is made by `apply`; a backup goes from one kind of database into the other."""
    monkeypatch.setenv("PKICONF_DATABASE_URL", empty_postgres_url)
    assert bare("db", "status").code == 2
    bare.ok("apply", QUICKSTART, "--yes")
    assert bare.ok("db", "status", "--json").json["kind"] == "postgresql"
    serial = bare.issue()
    bare.ok("cert", "revoke", serial, "--reason", "superseded")
    assert bare.ok("ocsp", "query", serial, "--local", "--json").json["status"] == "revoked"
    bare.ok("keystore", "rekey")
    bare.ok("worker", "--once")
    assert "the log holds" in bare.ok("audit", "verify").out
    assert bare.ok("doctor", "--json").json["errors"] == 0
    assert not (bare.state / "pkiconf.db").exists()
    archive = bare.folder / "backup.tar"
    bare.ok("backup", archive)
    monkeypatch.delenv("PKICONF_DATABASE_URL")
    other = CommandLine(bare.folder / "elsewhere", bare.folder)
    key = ("--master-key-file", str(bare.state / "master.key"))
    other.ok(*key, "restore", archive)
    assert other.ok(*key, "cert", "show", serial, "--json").json["status"] == "revoked"
    assert other.ok(*key, "worker", "--once").code == 0
    assert "the log holds" in other.ok(*key, "audit", "verify").out
