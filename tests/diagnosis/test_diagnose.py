"""The whole check-up, from the state folder down: what is wrong is told, and nothing is changed by looking."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pkiconf.bootstrap import open_services
from pkiconf.diagnosis.diagnose import diagnose
from pkiconf.diagnosis.finding import Finding, Severity
from pkiconf.diagnosis.machine import check_engines
from pkiconf.errors import UnsupportedAlgorithm
from pkiconf.model.keys import KeyAlgorithm, KeyType
from pkiconf.settings import ProcessSettings
from pkiconf.signing import engines, local
from pkiconf.steps import Step
from pkiconf.store.database import open_database


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    state = tmp_path_factory.mktemp("made") / "state"
    with open_services(ProcessSettings(state=state), create=True):
        pass
    return state


@pytest.fixture
def state(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "state"))


def look(state: Path, **settings: object) -> list[Finding]:
    return diagnose(ProcessSettings(state=state, **settings), datetime.now(UTC))  # type: ignore[arg-type]


def wrong(found: list[Finding]) -> list[tuple[str, str]]:
    return [(finding.severity.value, finding.check) for finding in found if finding.severity is not Severity.OK]


def sql(state: Path, statement: str) -> None:
    db = open_database(None, state)
    db.write(Step.KEYSTORE_REWRAP, lambda c: c.exec_driver_sql(statement))
    db.close()


def test_a_fresh_installation(state: Path) -> None:
    found = look(state)
    assert wrong(found) == [("warning", "master key")]
    assert [finding.check for finding in found] == [
        "state folder", "database", "master key", "keys", "clock", "authorities", "service certificates", "CRLs",
        "jobs", "ACME", "mail", "audit log", "engines",
    ]  # fmt: skip
    assert all(finding.remedy for finding in found if finding.severity is not Severity.OK)


def test_a_master_key_elsewhere(state: Path, tmp_path: Path) -> None:
    vault = tmp_path / "vault"
    vault.mkdir()
    (state / "master.key").rename(vault / "master.key")
    assert wrong(look(state, master_key_file=vault / "master.key")) == []
    assert wrong(look(state)) == [("error", "master key")]
    (state / "link").symlink_to(state)
    (vault / "master.key").rename(state / "master.key")
    assert wrong(look(state, master_key_file=state / "link" / "master.key")) == [("warning", "master key")]


def test_looking_changes_nothing(state: Path, tmp_path: Path) -> None:
    before = {path.name: path.read_bytes() for path in state.iterdir() if path.suffix in (".key", ".db")}
    look(state)
    assert {path.name: path.read_bytes() for path in state.iterdir() if path.suffix in (".key", ".db")} == before
    nowhere = tmp_path / "nowhere"
    assert wrong(look(nowhere)) == [("error", "state folder")]
    assert not nowhere.exists()


def test_a_state_folder_that_others_can_read(state: Path) -> None:
    state.chmod(0o755)
    found = look(state)
    assert ("warning", "state folder") in wrong(found)
    assert any(finding.remedy == f"chmod 700 {state}" for finding in found)


def test_a_state_folder_without_a_database(state: Path) -> None:
    for path in state.glob("pkiconf.db*"):
        path.unlink()
    assert wrong(look(state)) == [("error", "database")]
    assert not (state / "pkiconf.db").exists()


def test_a_file_that_is_no_database(state: Path) -> None:
    for path in state.glob("pkiconf.db*"):
        path.unlink()
    (state / "pkiconf.db").write_bytes(b"This is not SQLite." * 100)
    (finding,) = [finding for finding in look(state) if finding.check == "database"]
    assert finding.severity is Severity.ERROR
    assert "no SQLite database" in finding.text
    assert "restore" in finding.remedy


def test_a_server_that_is_not_there(state: Path) -> None:
    found = look(state, database_url="postgresql://u:hunter2@127.0.0.1:1/x")
    assert wrong(found) == [("error", "database")]
    assert "hunter2" not in str(found)


def test_another_schema(state: Path) -> None:
    sql(state, "UPDATE alembic_version SET version_num = '9999'")
    (finding,) = [finding for finding in look(state) if finding.check == "database"]
    assert finding.severity is Severity.ERROR
    assert "9999" in finding.text


def test_another_master_key(state: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.key"
    other.write_text("x" * 42 + "w=\n")
    other.chmod(0o600)
    (finding,) = [finding for finding in look(state, master_key_file=other) if finding.check == "master key"]
    assert finding.severity is Severity.ERROR
    assert "sealed under" in finding.text


def test_a_master_key_that_others_can_read(state: Path) -> None:
    (state / "master.key").chmod(0o644)
    (finding,) = [finding for finding in look(state) if finding.check == "master key"]
    assert finding.severity is Severity.ERROR
    assert "chmod 600" in finding.remedy


def test_an_unfinished_rekey(state: Path) -> None:
    with (state / "master.key").open("a") as file:
        file.write("x" * 42 + "w=\n")
    assert any("keystore rekey" in finding.remedy for finding in look(state))


def test_a_sealed_secret_that_does_not_open(state: Path) -> None:
    sql(state, "UPDATE sealed_secret SET sealed = zeroblob(60) WHERE name = 'audit-mac'")
    (finding,) = [finding for finding in look(state) if finding.check == "keys"]
    assert finding.severity is Severity.ERROR
    assert "audit-mac" in finding.text


def test_engines_are_found_by_using_them(monkeypatch: pytest.MonkeyPatch) -> None:
    (finding,) = check_engines()
    assert finding.severity is Severity.OK
    assert engines.find_missing() == ()
    real = local.generate

    def without_ml_dsa(algorithm: KeyAlgorithm) -> tuple[bytes, bytes]:
        if algorithm.type is KeyType.ML_DSA:
            raise UnsupportedAlgorithm("not in this build")
        return real(algorithm)

    monkeypatch.setattr(engines, "generate", without_ml_dsa)
    (finding,) = check_engines()
    assert finding.severity is Severity.WARNING
    assert "ml-dsa-44, ml-dsa-65, ml-dsa-87" in finding.text


def test_a_full_disk(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for free, expected in ((200 << 20, "warning"), (1 << 20, "error")):
        monkeypatch.setattr(shutil, "disk_usage", lambda _, free=free: shutil._ntuple_diskusage(free, 0, free))
        assert (expected, "state folder") in wrong(look(state))
