"""Where master keys come from, and everything that may be wrong there."""

from __future__ import annotations

import base64
import os
import stat
import sys
from pathlib import Path

import pytest

from pkiconf.entropy import SystemEntropy
from pkiconf.errors import Conflict, PkiconfError, Unavailable
from pkiconf.model.secret import Secret
from pkiconf.signing import private_file
from pkiconf.signing.master import (
    CommandSource,
    EnvironmentSource,
    FileSource,
    create_master_key_file,
    load_master_keys,
    master_key_id,
    parse_master_keys,
    reloader,
    replace_master_key_file,
)
from pkiconf.signing.private_file import alone_with

ONE, TWO = bytes(range(32)), bytes(range(32, 64))
TEXT = {key: base64.b64encode(key).decode() for key in (ONE, TWO)}


def place(path: Path, text: str, mode: int = 0o600) -> FileSource:
    path.write_text(text)
    path.chmod(mode)
    return FileSource(path)


def test_the_first_key_is_current(tmp_path: Path) -> None:
    source = place(tmp_path / "k", f"# a comment\n\n{TEXT[TWO]}  # new\n  {TEXT[ONE]}\n")
    master = load_master_keys(source)
    assert [key.reveal() for key in master.keys] == [TWO, ONE]
    assert master.current.reveal() == TWO
    assert master.current_id == master_key_id(Secret(TWO)) == master.ids[0]
    assert master.find(master_key_id(Secret(ONE))) is master.keys[1]
    assert master.find("0" * 16) is None
    assert TEXT[ONE] not in repr(master)


def test_an_id_tells_nothing_of_the_key() -> None:
    assert len(master_key_id(Secret(ONE))) == 16
    assert ONE.hex()[:8] not in master_key_id(Secret(ONE))


def test_a_variable_may_hold_several() -> None:
    source = EnvironmentSource("PKICONF_MASTER_KEY")
    for between in (" ", ",", "\n", ", "):
        master = load_master_keys(source, {"PKICONF_MASTER_KEY": TEXT[ONE] + between + TEXT[TWO]})
        assert [key.reveal() for key in master.keys] == [ONE, TWO]


def test_a_command_prints_it() -> None:
    command = CommandSource((sys.executable, "-c", f"print('{TEXT[ONE]}')"))
    assert load_master_keys(command).current.reveal() == ONE
    assert TEXT[ONE] not in str(command)
    assert reloader(command)().current.reveal() == ONE


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660, 0o620, 0o601, 0o666, 0o777])
def test_a_file_that_others_may_use_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(Unavailable, match=f"mode {mode:04o}") as caught:
        load_master_keys(place(tmp_path / "k", TEXT[ONE], mode))
    assert "chmod 600" in caught.value.hint


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_private_file_is_read(tmp_path: Path, mode: int) -> None:
    assert load_master_keys(place(tmp_path / "k", TEXT[ONE], mode)).current.reveal() == ONE


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "holds no key"),
        ("# only a comment\n", "holds no key"),
        ("hello", "line 1: not base64"),
        (f"{TEXT[ONE]}\nhello world\n", "line 2: not base64"),
        (base64.b64encode(ONE[:31]).decode(), "31 octets"),
        (base64.b64encode(ONE + b"x").decode(), "33 octets"),
        (f"{TEXT[ONE]}\n{TEXT[ONE]}\n", "line 2: the same key"),
        (TEXT[ONE][:-4], "octets"),
        ("AAAA" * 20000, "more than 65536"),
        ("é", "is not text"),
    ],
)
def test_a_file_that_holds_something_else(tmp_path: Path, text: str, match: str) -> None:
    with pytest.raises(Unavailable, match=match) as caught:
        load_master_keys(place(tmp_path / "k", text))
    assert str(tmp_path / "k") in str(caught.value)
    assert TEXT[ONE] not in str(caught.value)


def test_what_stands_in_the_files_place(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="does not exist"):
        load_master_keys(FileSource(tmp_path / "none"))
    (tmp_path / "folder").mkdir(mode=0o700)
    with pytest.raises(Unavailable, match="not a regular file"):
        load_master_keys(FileSource(tmp_path / "folder"))
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(Unavailable, match="not a regular file"):
        load_master_keys(FileSource(tmp_path / "pipe"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_another_user_is_refused(tmp_path: Path) -> None:
    source = place(tmp_path / "k", TEXT[ONE])
    os.chown(tmp_path / "k", 12345, 12345)
    with pytest.raises(Unavailable, match="belongs to another user"):
        load_master_keys(source)


def test_a_variable_that_is_missing_or_wrong() -> None:
    source = EnvironmentSource("PKICONF_MASTER_KEY")
    with pytest.raises(Unavailable, match="PKICONF_MASTER_KEY is not set"):
        load_master_keys(source, {})
    for wrong in ("", " , ", "secret-but-wrong!"):
        with pytest.raises(Unavailable) as caught:
            load_master_keys(source, {"PKICONF_MASTER_KEY": wrong})
        assert "secret-but-wrong" not in str(caught.value)


@pytest.mark.parametrize(
    ("command", "match"),
    [
        ((), "is empty"),
        (("/nowhere/at-all",), "cannot be started"),
        ((sys.executable, "-c", f"print('{TEXT[ONE]}'); raise SystemExit(3)"), "ended with code 3"),
        ((sys.executable, "-c", "pass"), "holds no key"),
        ((sys.executable, "-c", "print('x' * 70000)"), "more than 65536"),
        ((sys.executable, "-c", "import sys; sys.stdout.buffer.write(bytes([255]))"), "is not text"),
    ],
)
def test_a_command_that_fails(command: tuple[str, ...], match: str) -> None:
    with pytest.raises(Unavailable, match=match) as caught:
        load_master_keys(CommandSource(command))
    assert TEXT[ONE] not in str(caught.value)


def test_a_new_file_is_private_and_whole(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    before = os.umask(0o777)
    try:
        master = create_master_key_file(path, SystemEntropy())
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_master_keys(FileSource(path)).ids == master.ids
    assert [entry.name for entry in tmp_path.iterdir()] == ["master.key"]


@pytest.mark.parametrize("kind", ["file", "link", "dangling"])
def test_a_file_that_exists_is_never_overwritten(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "master.key"
    if kind == "file":
        path.write_text("precious")
    else:
        path.symlink_to(tmp_path / ("other" if kind == "link" else "nowhere"))
        if kind == "link":
            (tmp_path / "other").write_text("precious")
    with pytest.raises(Conflict, match="exists already"):
        create_master_key_file(path, SystemEntropy())
    assert not (tmp_path / "nowhere").exists()
    assert kind == "dangling" or path.read_text() == "precious"


def test_a_file_that_appears_meanwhile_is_never_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody who does not heed our lock puts a key there between looking and placing."""
    path = tmp_path / "master.key"
    write = private_file._write_new

    def meanwhile(temporary: Path, content: bytes) -> None:
        write(temporary, content)
        path.write_bytes(b"somebody else's")

    monkeypatch.setattr(private_file, "_write_new", meanwhile)
    with pytest.raises(Conflict, match="exists already"):
        create_master_key_file(path, SystemEntropy())
    assert path.read_bytes() == b"somebody else's"
    assert sorted(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        create_master_key_file(tmp_path / "no" / "master.key", SystemEntropy())


def test_replacing_is_whole_and_follows_a_link(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "master.key"
    place(real, TEXT[ONE])
    link.symlink_to(real)
    (tmp_path / "real.new").write_text("left by a killed run")
    replace_master_key_file(link, (Secret(TWO), Secret(ONE)))
    assert link.is_symlink()
    assert [key.reveal() for key in load_master_keys(FileSource(link)).keys] == [TWO, ONE]
    assert stat.S_IMODE(real.stat().st_mode) == 0o600
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["master.key", "real"]


def test_two_writers_do_not_meet(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    with alone_with(path), pytest.raises(Conflict, match="another process is writing"):
        create_master_key_file(path, SystemEntropy())
    assert not path.exists()


def test_errors_are_ours() -> None:
    with pytest.raises(PkiconfError):
        parse_master_keys("%%%", "somewhere")
