"""`audit list`, `verify` and `export`; what was done to a copy of the database is told."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.conftest import CommandLine


@pytest.fixture
def sealed(pki: CommandLine) -> CommandLine:
    """With a revoked certificate and everything sealed."""
    pki.ok("cert", "revoke", pki.issue(), "--reason", "superseded")
    assert "things done" in pki.ok("worker", "--once").out
    return pki


def tamper(database: Path, *statements: str) -> None:
    with closing(sqlite3.connect(database)) as c, c:
        for statement in statements:
            c.execute(statement)


def test_records_are_listed(sealed: CommandLine) -> None:
    records = sealed.ok("audit", "list", "--json").json
    assert [record["id"] for record in records] == sorted(record["id"] for record in records)
    revoked = next(record for record in records if record["action"] == "certificate.revoke")
    assert revoked["actor"].startswith("operator:")
    assert revoked["proved_by"] == "local-shell"
    assert revoked["details"]["reason"] == "superseded"
    assert revoked["sealed_at_index"] is not None
    assert "certificate.revoke" in sealed.ok("audit", "list").out


def test_records_are_filtered(sealed: CommandLine) -> None:
    def ids(*words: str) -> list[int]:
        return [record["id"] for record in sealed.ok("audit", "list", "--json", *words).json]

    everything = ids()
    assert ids("--limit", "2") == everything[-2:], "the newest"
    assert ids("--after", "0", "--limit", "2") == everything[:2], "from the beginning"
    assert ids("--after", str(everything[3])) == everything[4:]
    assert len(ids("--action", "certificate.revoke")) == 1
    assert len(ids("--action", "certificate.*", "--limit", "3")) == 3
    assert set(ids("--address", "authority/*")) < set(everything)
    assert len(ids("--address", "template/corp-issuing/web-server", "--action", "template.create")) == 1
    assert ids("--since", "2999-01-01") == []
    assert ids("--until", "2020-01-01") == []
    assert ids("--since", "2020-01-01", "--until", "2999-01-01") == everything
    assert sealed.ok("audit", "list", "--action", "nothing.happened").out == "No such records.\n"


def test_the_log_holds(sealed: CommandLine) -> None:
    said = sealed.ok("audit", "verify").out
    assert said.endswith("the log holds.\n")
    report = sealed.ok("audit", "verify", "--json").json
    assert report["findings"] == []
    assert report["sealed"] > 10


@pytest.mark.parametrize(
    ("statement", "kind"),
    [
        ("UPDATE audit_event SET body = replace(body, 'superseded', 'unspecified')", "edited"),
        ("UPDATE audit_event SET at = at - 3600 WHERE id = 5", "edited"),
        ("DELETE FROM audit_event WHERE id = 5", "missing"),
        ("UPDATE audit_leaf SET leaf_hash = zeroblob(32) WHERE \"index\" = 4", "reordered"),
        ("DELETE FROM audit_leaf WHERE \"index\" = 4", "missing"),
        ("DELETE FROM audit_leaf WHERE \"index\" > 4", "cut-off"),
        ("UPDATE audit_checkpoint SET signature = zeroblob(64)", "unsigned"),
        ("UPDATE certificate SET status = 'good', reason = NULL, revoked_at = NULL WHERE status = 'revoked'",
         "certificate"),
        ("UPDATE certificate SET reason = 1 WHERE status = 'revoked'", "certificate"),
    ],
)  # fmt: skip
def test_a_copy_that_was_changed(sealed: CommandLine, statement: str, kind: str) -> None:
    """The copy is examined against the state folder's checkpoints; the real one is as it was."""
    copy = sealed.folder / "copy.db"
    sealed.ok("db", "status")
    with closing(sqlite3.connect(sealed.state / "pkiconf.db")) as real, closing(sqlite3.connect(copy)) as target:
        real.backup(target)
    url = ("--database-url", f"sqlite:///{copy}")
    assert sealed(*url, "audit", "verify").code == 0
    tamper(copy, statement)
    result = sealed(*url, "audit", "verify")
    assert result.code == 1
    assert any(line.startswith(f"{kind}: ") for line in result.out.splitlines()), result.out
    assert "finding" in result.err
    found = sealed(*url, "audit", "verify", "--json")
    assert found.code == 1
    assert kind in {finding["kind"] for finding in found.json["findings"]}
    assert sealed("audit", "verify").code == 0


def test_the_export_proves_each_place(sealed: CommandLine) -> None:
    """RFC 6962 §2.1.1, computed here anew."""
    out = sealed.folder / "audit.jsonl"
    assert "Wrote" in sealed.ok("audit", "export", "--out", out).err
    first, *records = [json.loads(line) for line in out.read_text().splitlines()]
    checkpoint = first["checkpoint"]
    proved = [record for record in records if "index" in record]
    assert len(proved) == checkpoint["size"] > 10
    for record in proved:
        content = record["id"].to_bytes(8, "big") + bytes.fromhex(record["mac"]) + record["body"].encode()
        leaf = hashlib.sha256(b"\0" + content).digest()
        assert leaf.hex() == record["leaf"]
        path = [bytes.fromhex(node) for node in record["path"]]
        assert root_from(leaf, record["index"], checkpoint["size"], path).hex() == checkpoint["root"]
    assert sealed.ok("audit", "export").out == out.read_text()
    after = records[4]["id"]
    assert len(sealed.ok("audit", "export", "--after", str(after)).out.splitlines()) == len(records) - 5 + 1


def root_from(leaf: bytes, index: int, size: int, path: list[bytes]) -> bytes:
    """RFC 9162 §2.1.3.2."""
    fn, sn, found = index, size - 1, leaf
    for node in path:
        assert sn
        if fn & 1 or fn == sn:
            found = hashlib.sha256(b"\1" + node + found).digest()
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            found = hashlib.sha256(b"\1" + found + node).digest()
        fn, sn = fn >> 1, sn >> 1
    assert sn == 0
    return found


def test_an_export_that_cannot_be_written_leaves_nothing(sealed: CommandLine) -> None:
    assert "cannot be written" in sealed.refuses(1, "audit", "export", "--out", "/nonexistent/x")
    target = sealed.folder / "audit.jsonl"
    target.write_text("as it was")
    tamper(sealed.state / "pkiconf.db", "UPDATE audit_leaf SET leaf_hash = zeroblob(32)")
    assert "audit verify" in sealed.refuses(4, "audit", "export", "--out", target)
    assert target.read_text() == "as it was"
    assert sorted(path.name for path in sealed.folder.iterdir() if path.name.startswith(".")) == []


@pytest.mark.parametrize(
    "words",
    [
        ("list", "--since", "last week"),
        ("list", "--limit", "0"),
        ("list", "--after", "-1"),
        ("list", "--action"),
        ("verify", "something"),
        ("export", "--after", "all"),
    ],
)
def test_mistakes(bare: CommandLine, words: tuple[str, ...]) -> None:
    bare.refuses(64, "audit", *words)


def test_nothing_to_look_at(bare: CommandLine) -> None:
    for words in (("list",), ("verify",), ("export",)):
        assert "pkiconf apply" in bare.refuses(1, "audit", *words)
    assert not bare.state.exists()
