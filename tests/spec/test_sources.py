"""Files, folders, links and what lies beside a declaration."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest

from pkiconf.spec.errors import SpecErrors
from pkiconf.spec.loader import load_files
from tests.spec.loading import AUTHORITY, Folder


def names(*paths: Path) -> list[str]:
    return [found.spec.name for found in load_files(list(paths)).authorities]


def write(path: Path, name: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"authorities: [{{ name: {name} }}]\n")
    return path


def problems(*paths: Path) -> list[str]:
    with pytest.raises(SpecErrors) as caught:
        load_files(list(paths))
    return [str(problem).replace(f"{paths[0].parent}/", "") for problem in caught.value.problems]


def test_folders_in_sorted_order(tmp_path: Path) -> None:
    write(tmp_path / "b.yaml", "b")
    write(tmp_path / "a.yml", "a")
    write(tmp_path / "c" / "deep" / "d.yaml", "d")
    write(tmp_path / ".git" / "hidden.yaml", "hidden")
    write(tmp_path / ".hidden.yaml", "hidden")
    write(tmp_path / "notes.txt", "notes")
    write(tmp_path / "pki.yaml.bak", "backup")
    assert names(tmp_path) == ["a", "b", "d"]


def test_a_named_file_needs_no_suffix(tmp_path: Path) -> None:
    assert names(write(tmp_path / ".hidden", "a"), write(tmp_path / "b.json", "b")) == ["a", "b"]


def test_a_file_counts_once_however_it_is_reached(tmp_path: Path) -> None:
    file = write(tmp_path / "a.yaml", "a")
    (tmp_path / "link.yaml").symlink_to(file)
    assert names(file, tmp_path, tmp_path / "." / "a.yaml", tmp_path / "link.yaml") == ["a"]


def test_links_in_a_circle(tmp_path: Path) -> None:
    write(tmp_path / "pki" / "a.yaml", "a")
    (tmp_path / "pki" / "up").symlink_to(tmp_path)
    (tmp_path / "pki" / "again").symlink_to(tmp_path / "pki")
    (tmp_path / "pki" / "self.txt").symlink_to(tmp_path / "pki" / "self.txt")
    assert names(tmp_path / "pki") == ["a"]
    (tmp_path / "pki" / "self.yaml").symlink_to(tmp_path / "pki" / "self.yaml")
    (problem,) = problems(tmp_path / "pki")
    assert problem == "pki/self.yaml  cannot be read: Too many levels of symbolic links"


def test_a_mounted_config_map(tmp_path: Path) -> None:
    """Kubernetes mounts files as links through a hidden, versioned folder."""
    write(tmp_path / "..2026" / "pki.yaml", "a")
    (tmp_path / "..data").symlink_to("..2026")
    (tmp_path / "pki.yaml").symlink_to("..data/pki.yaml")
    assert names(tmp_path) == ["a"]


def test_a_pipe_can_be_read_if_named(tmp_path: Path) -> None:
    """Such as the output of a decrypting command: <(sops -d pki.yaml)."""
    pipe = tmp_path / "pipe.yaml"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=(AUTHORITY,))
    writer.start()
    assert names(pipe) == ["ca"]
    writer.join()
    write(tmp_path / "a.yaml", "a")
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("pki.yml", "there is no such file. Did you mean {}/pki.yaml?"),
        ("none/pki.yaml", "there is no such file. There is no folder {}/none either"),
        ("wholly-different", "there is no such file"),
        ("empty", "the folder holds no *.yaml or *.yml file"),
        ("dangling.yaml", "there is no such file. It is a symbolic link to something that does not exist"),
        ("pki.yaml/x", "cannot be read: Not a directory"),
    ],
)
def test_what_cannot_be_found(tmp_path: Path, name: str, problem: str) -> None:
    write(tmp_path / "pki.yaml", "a")
    (tmp_path / "empty").mkdir()
    (tmp_path / "dangling.yaml").symlink_to(tmp_path / "gone.yaml")
    with pytest.raises(SpecErrors) as caught:
        load_files([tmp_path / name])
    assert str(caught.value) == f"{tmp_path / name}  {problem.format(tmp_path)}"


def test_every_missing_file_is_named(tmp_path: Path) -> None:
    assert len(problems(tmp_path / "a.yaml", tmp_path / "b.yaml")) == 2


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"a: 1\nb: caf\xe9\n", ":2:7  byte 0xe9 is not UTF-8. Save the file as UTF-8"),
        (b"# \xc3\xa4\xc3\xa4 \xff", ":1:6  byte 0xff is not UTF-8. Save the file as UTF-8"),
        ("authorities: []".encode("utf-16"), ":1:1  byte 0xff is not UTF-8. Save the file as UTF-8"),
        ("authorities: []".encode("utf-16-le"), ":1:2  character U+0000 may not stand in a YAML file"),
    ],
)
def test_what_is_not_utf_8(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / "pki.yaml"
    path.write_bytes(content)
    assert problems(path)[0].startswith("pki.yaml" + problem)


def test_a_file_without_end() -> None:
    with pytest.raises(SpecErrors) as caught:
        load_files([Path("/dev/zero")])
    assert str(caught.value) == "/dev/zero  /dev/zero is larger than 8 MiB. Check that it is the right file"


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, mode: str) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    path = write(tmp_path / "pki.yaml", "a")
    monkeypatch.setattr(Path, "open", refuse)  # root may read everything
    assert problems(path) == ["pki.yaml  cannot be read: Permission denied"]


def test_files_lie_beside_the_declaration(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    (folder.path / "ca.pem").write_bytes(b"certificate")
    (folder.path / "statement.txt").write_text("Trust us.\n")
    text = (
        "authorities: [{ name: ca, issuer: external, certificate: { file: ./ca.pem, chain: %s }, cps: { file: %s } }]"
    )
    found = folder.load(text % (folder.path / "ca.pem", "../declared/statement.txt")).authorities[0]
    assert found.files == {"certificate.file": b"certificate", "certificate.chain": b"certificate"}
    assert found.explicit["cps"] == {"text": "Trust us.\n"}
    assert found.spec.cps is not None
    assert (found.spec.cps.text, found.spec.cps.file) == ("Trust us.\n", None)


def test_files_that_are_missing_too_large_or_no_text(folder: Folder) -> None:
    (folder.path / "large").write_bytes(b"x" * ((1 << 16) + 1))
    (folder.path / "latin").write_bytes(b"caf\xe9")
    problems = folder.refused(
        "authorities:\n"
        "  - { name: a, key: { source: import, file: ca.key } }\n"
        "  - { name: b, issuer: external, certificate: { file: large, chain: . } }\n"
        "  - { name: c, cps: { file: latin } }\n"
    )
    assert problems == [
        "pki.yaml:2:45  authority 'a': key.file: there is no such file: ca.key",
        "pki.yaml:3:55  authority 'b': certificate.file: large is larger than 64 KiB. Check that it is the right file",
        "pki.yaml:3:69  authority 'b': certificate.chain: . is not a file. Name a file",
        "pki.yaml:4:29  authority 'c': cps.file: the practice statement is not UTF-8. Save the file as UTF-8",
    ]
