"""`doctor`: what is wrong, with remedies; the exit status tells errors from warnings."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from tests.cli.conftest import CommandLine


def test_warnings_are_no_failure(pki: CommandLine) -> None:
    result = pki.ok("doctor")
    assert "warning master key: " in result.out
    assert "        → Move it" in result.out
    assert result.out.endswith("\n0 errors, 1 warning.\n")
    report = pki.ok("doctor", "--json").json
    assert (report["errors"], report["warnings"]) == (0, 1)
    assert {finding["severity"] for finding in report["findings"]} == {"ok", "warning"}


def test_all_well(pki: CommandLine) -> None:
    key = pki.folder / "master.key"
    (pki.state / "master.key").rename(key)
    assert pki.ok("--master-key-file", key, "doctor").out.endswith("\n0 errors, 0 warnings.\n")


def test_errors_are_a_failure(pki: CommandLine, bare: CommandLine) -> None:
    (pki.state / "master.key").unlink()
    result = pki("doctor")
    assert result.code == 1
    assert "error   master key: " in result.out
    assert pki("doctor", "--json").json["errors"] == 1


def test_a_key_that_does_not_open(pki: CommandLine) -> None:
    with closing(sqlite3.connect(pki.state / "pkiconf.db")) as c, c:
        c.execute("UPDATE key SET sealed = (SELECT sealed FROM key WHERE id = 1) WHERE id = 2")
    result = pki("doctor")
    assert result.code == 1
    assert "error   keys: key 2 (" in result.out
    assert "Restore it from a backup" in result.out


def test_no_installation(bare: CommandLine) -> None:
    result = bare("doctor")
    assert result.code == 1
    assert "pkiconf apply" in result.out
    assert not bare.state.exists()


def test_mistakes(bare: CommandLine) -> None:
    bare.refuses(64, "doctor", "everything")
    bare.refuses(64, "doctor", "--fix")
    assert "MASTER_KEY" not in bare.refuses(64, "doctor", "--jsn")
