"""A wrong master key, a full disk, a locked database, a folder that may not be written: each command line says so in
one sentence with a remedy, and touches nothing; when the trouble is over, it does its work."""

from __future__ import annotations

import base64
import ctypes
import os
import resource
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import select

from pkiconf.store.database import DATABASE_FILE
from pkiconf.store.tables import metadata
from tests.crash.child import Place, command_line
from tests.crash.conftest import Copy
from tests.processes import ended, start
from tests.wholeness import check_whole, opened, settle

Surroundings = Callable[[], None]

WRITING = {
    "apply": (("apply", "{folder}/changed.yaml", "--allow", "rollover,retire"), 3),
    "submit": (("request", "submit", "--template", "issuing/web", "{folder}/5.csr"), 0),
    "sign": (("request", "sign", "1", "--out", "{folder}/1.pem"), 0),
    "decline": (("request", "decline", "4", "--reason", "no"), 0),
    "revoke": (("cert", "revoke", "{serial 2}", "--reason", "keyCompromise"), 0),
    "release": (("cert", "release", "{serial 3}"), 0),
    "install": (("authority", "install-cert", "outside", "{folder}/outside.pem", "--chain", "{folder}/above.pem"), 0),
    "destroy": (("authority", "destroy", "gone", "--confirm", "gone"), 0),
    "rekey": (("keystore", "rekey"), 0),
}
"""Command lines and the exit status that they have when all is well."""
READING = {
    "plan": (("plan", "{folder}/standing.yaml"), 0),
    "list": (("cert", "list"), 0),
    "verify": (("audit", "verify"), 0),
    "csr": (("authority", "csr", "outside"), 0),
    "backup": (("backup", "{folder}/backup.tar"), 0),
    "worker": (("worker", "--once"), 0),
}
ALL = {**WRITING, **READING}


def every_file(place: Place) -> dict[str, bytes]:
    """What lies in the state folder, but for lock files, which hold nothing."""
    files = (path for path in sorted(place.state.rglob("*")) if path.is_file())
    return {path.name: path.read_bytes() for path in files if not path.name.endswith(("-gate", "-turn"))}


def every_row(place: Place) -> dict[str, list[tuple[object, ...]]]:
    with opened(place.state, place.url) as services:
        return services.parts.db.read(
            lambda c: {
                table.name: sorted((tuple(row) for row in c.execute(select(table))), key=repr)
                for table in metadata.sorted_tables
            }
        )


def _in_surroundings(surroundings: Surroundings, arguments: list[str], environment: dict[str, str], out: Path) -> None:
    surroundings()
    command_line(arguments, environment, out)


def run_in(place: Place, surroundings: Surroundings, *words: str, **environment: str) -> tuple[int, str]:
    output = place.folder / "output.txt"
    child = start(_in_surroundings, surroundings, place.arguments(*words), place.environment(**environment), output)
    (code,) = ended([child])
    return code, output.read_text()


def all_is_well() -> None:
    pass


# A wrong master key


def another_key(path: Path) -> None:
    path.write_text(base64.b64encode(bytes(range(32))).decode() + "\n")


def no_key(path: Path) -> None:
    path.unlink()


def garbage(path: Path) -> None:
    path.write_bytes(b"\x00\xff not a key")


def half_a_key(path: Path) -> None:
    path.write_text(base64.b64encode(bytes(16)).decode() + "\n")


def no_line(path: Path) -> None:
    path.write_text("# only a comment\n")


def for_everybody(path: Path) -> None:
    path.chmod(0o644)


@pytest.mark.parametrize("name", ALL)
def test_another_master_key_says_so_and_touches_nothing(copy: Copy, name: str) -> None:
    place = copy("running")
    another_key(place.state / "master.key")
    before = every_file(place)
    words, _ = ALL[name]
    code, said = run_in(place, all_is_well, *words)
    assert code == 1
    assert "sealed under master key" in said
    assert "Point pkiconf at the master key that belongs to this database" in said
    assert every_file(place) == before
    assert not (place.folder / "1.pem").exists()


@pytest.mark.parametrize("damage", [no_key, garbage, half_a_key, no_line, for_everybody])
@pytest.mark.parametrize("name", ["apply", "sign", "rekey"])
def test_no_usable_master_key_says_so_and_touches_nothing(
    copy: Copy, damage: Callable[[Path], None], name: str
) -> None:
    """Above all, no new key is made in the place of one that was lost."""
    place = copy("running")
    damage(place.state / "master.key")
    before = every_file(place)
    words, _ = ALL[name]
    code, said = run_in(place, all_is_well, *words)
    assert code == 1
    assert "master.key" in said
    assert "Traceback" not in said
    assert every_file(place) == before


def test_another_master_key_from_a_variable_or_a_command(copy: Copy) -> None:
    place = copy("running")
    before = every_file(place)
    wrong = base64.b64encode(bytes(32)).decode()
    for variables in ({"PKICONF_MASTER_KEY": wrong}, {"PKICONF_MASTER_KEY_COMMAND": f"echo {wrong}"}):
        code, said = run_in(place, all_is_well, "request", "sign", "1", **variables)
        assert code == 1
        assert "sealed under master key" in said
        assert wrong not in said
    for variables in ({"PKICONF_MASTER_KEY_COMMAND": "false"}, {"PKICONF_MASTER_KEY_COMMAND": "no-such-program"}):
        code, said = run_in(place, all_is_well, "request", "sign", "1", **variables)
        assert code == 1
        assert "master key command" in said
    assert every_file(place) == before


@pytest.mark.parametrize("name", ["submit", "revoke", "apply"])
def test_a_master_key_that_opens_only_a_part_says_so_before_anything_is_done(copy: Copy, name: str) -> None:
    """A rekey was cut off, and somebody took the old key out of the file: what the program made for itself opens,
    the authorities' keys do not. Commands that need no such key do not begin either."""
    place = copy("running")
    place.killed("keystore", "rekey", at="keystore.rewrap:after")
    place.here("cert", "list")  # folds what the killed process left of its log into the database's file
    file = place.state / "master.key"
    new, old = (line for line in file.read_text().splitlines() if not line.startswith("#"))
    file.write_text(new + "\n")
    before = every_file(place)
    words, well = WRITING[name]
    code, said = run_in(place, all_is_well, *words)
    assert code == 1
    assert "sealed under master key" in said
    assert every_file(place) == before
    file.write_text(f"{new}\n{old}\n")
    _does_its_work(place, words, well)
    _does_its_work(place, *WRITING["rekey"])


@pytest.mark.parametrize("name", ["apply", "sign", "revoke", "rekey"])
def test_another_master_key_touches_nothing_on_postgresql(copy_on_postgresql: Copy, name: str) -> None:
    place = copy_on_postgresql("running")
    key = (place.state / "master.key").read_bytes()
    before = every_row(place)
    another_key(place.state / "master.key")
    words, _ = ALL[name]
    code, said = run_in(place, all_is_well, *words)
    assert code == 1
    assert "sealed under master key" in said
    (place.state / "master.key").write_bytes(key)
    assert every_row(place) == before


# A full disk


def no_file_may_grow() -> None:
    """What a full disk does to a program: the first page that would be new is refused."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))


@pytest.mark.parametrize("name", WRITING)
def test_a_full_disk_says_so_and_records_nothing(copy: Copy, name: str) -> None:
    place = copy("running")
    before = every_row(place)
    words, well = WRITING[name]
    code, said = run_in(place, no_file_may_grow, *words)
    assert code == 1, said
    assert "disk" in said or "cannot write" in said or "cannot be written" in said
    assert "Traceback" not in said
    if name not in ("apply", "rekey"):  # which may have done a part, and finish it below
        assert every_row(place) == before
    _does_its_work(place, words, well)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system takes root")
def test_a_disk_that_is_really_full(copy: Copy, tmp_path: Path) -> None:
    place = copy("running")
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(small)], capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        subprocess.run(["cp", "-a", f"{place.state}/.", str(small)], check=True)
        full = Place(place.folder)
        (place.folder / "state").rename(place.folder / "state-before")
        (place.folder / "state").symlink_to(small)
        before = every_row(full)
        with (small / "ballast").open("wb", buffering=0) as ballast:
            while ballast.write(bytes(4096)) == 4096:
                pass
    except OSError:  # the ballast has filled it
        code, said = run_in(full, all_is_well, *WRITING["sign"][0])
        assert code == 1
        assert "disk" in said
        assert not (place.folder / "1.pem").exists()
        (small / "ballast").unlink()
        assert every_row(full) == before
        _does_its_work(full, *WRITING["sign"])
    finally:
        subprocess.run(["umount", str(small)], check=True)


# A database that another program holds


def test_a_locked_database_says_so_and_records_nothing(copy: Copy) -> None:
    """All of them at once, because each waits for its turn as long as it may."""
    places = {name: copy("running") for name in WRITING}
    before = every_row(places["sign"])
    strangers = [sqlite3.connect(place.state / DATABASE_FILE, isolation_level=None) for place in places.values()]
    for stranger in strangers:
        stranger.execute("BEGIN IMMEDIATE")
    children = {name: place.begin(*WRITING[name][0], output="locked.txt") for name, place in places.items()}
    ended(children.values())
    for stranger in strangers:
        stranger.execute("ROLLBACK")
        stranger.close()
    for name, place in places.items():
        said = (place.folder / "locked.txt").read_text()
        assert children[name].exitcode == 1, said
        assert "locked by another program" in said
        assert "Close that program" in said
    assert every_row(places["sign"]) == before
    for name, place in places.items():
        _does_its_work(place, *WRITING[name])


def test_a_locked_database_can_be_read(copy: Copy) -> None:
    place = copy("running")
    with closing(sqlite3.connect(place.state / DATABASE_FILE, isolation_level=None)) as stranger:
        stranger.execute("BEGIN IMMEDIATE")
        for name in ("plan", "list", "verify"):
            words, code = READING[name]
            assert run_in(place, all_is_well, *words)[0] in (code, 3)


# A state folder that may not be written


def without_privileges() -> None:
    """Root, if it is root, must heed permissions like anybody else from now on."""
    header, nothing = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    assert ctypes.CDLL(None).capset(header, nothing) == 0


@pytest.mark.parametrize("name", WRITING)
def test_a_read_only_state_folder_says_so_and_touches_nothing(copy: Copy, name: str) -> None:
    place = copy("running")
    before = every_file(place)
    place.state.chmod(0o500)
    try:
        code, said = run_in(place, without_privileges, *WRITING[name][0])
    finally:
        place.state.chmod(0o700)
    assert code == 1, said
    assert "--state" in said or "PKICONF_STATE" in said
    assert "Traceback" not in said
    assert every_file(place) == before
    _does_its_work(place, *WRITING[name])


def test_a_state_folder_that_cannot_be_made(copy: Copy) -> None:
    place = copy("empty")
    place.folder.chmod(0o500)
    (place.folder / "output.txt").touch()
    try:
        code, said = run_in(place, without_privileges, "apply", "{folder}/first.yaml")
    finally:
        place.folder.chmod(0o700)
    assert code == 1, said
    assert "--state" in said
    assert not place.state.exists()


def _does_its_work(place: Place, words: tuple[str, ...], well: int) -> None:
    place.here(*words, codes=(well,))
    with opened(place.state, place.url) as services:
        settle(services)
        check_whole(services)
