"""The file a backup is: a tar of manifest.json, manifest.mac and database.sqlite, in this order.

The manifest says what the database file's digest is, and is authenticated with the audit MAC key, which it carries
sealed: so an archive proves, before anything in it is believed, that this PKI made it and that the right master key
is at hand. Names inside the tar are only compared, never used as paths.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Final

from pkiconf.errors import Conflict, Malformed, Unavailable
from pkiconf.steps import Step, kill_point

FORMAT: Final = 1
_MANIFEST: Final = "manifest.json"
_MAC: Final = "manifest.mac"
_DATABASE: Final = "database.sqlite"
_LARGEST_MANIFEST: Final = 1 << 20
_CHUNK: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Manifest:
    """`made_at` is epoch seconds; `tables` counts rows; `size` and `sha256` are the database file's."""

    format: int
    made_at: int
    revision: str
    dialect: str
    tables: Mapping[str, int]
    size: int
    sha256: str
    audit_mac: str  # the sealed audit MAC key, hex
    wrapping_key_id: str  # of audit_mac
    wrapping_key_ids: tuple[str, ...]  # every master key that is needed

    def encode(self) -> bytes:
        return json.dumps(asdict(self), sort_keys=True, indent=1).encode() + b"\n"


@dataclass(frozen=True, slots=True)
class Archive:
    """An archive opened for reading; `manifest_bytes` is what `mac` authenticates. Nothing is believed yet."""

    path: Path
    manifest: Manifest
    manifest_bytes: bytes
    mac: bytes
    _tar: tarfile.TarFile

    def extract_database(self, target: Path) -> None:
        """Write the database file to `target`, mode 0600. Raises Malformed unless it has the manifest's digest."""
        member, content = _next(self._tar, _DATABASE, self.path)
        if member.size != self.manifest.size:
            raise _damaged(self.path, "the database in it has another size than its manifest says")
        digest = hashlib.sha256()
        with _private(target) as out:
            while block := content.read(_CHUNK):
                digest.update(block)
                out.write(block)
        if digest.hexdigest() != self.manifest.sha256:
            raise _damaged(self.path, "the database in it has another digest than its manifest says")
        if self._tar.next() is not None:
            raise _damaged(self.path, "it holds more than a backup does")


def file_digest(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def write_archive(target: Path, temporary: Path, manifest: Manifest, mac: bytes, database: Path) -> None:
    """Complete under `temporary` first, then moved to `target`, which must not exist. Raises Conflict."""
    manifest_bytes = manifest.encode()
    kill_point(Step.BACKUP_ARCHIVE, "before")
    with _private(temporary) as out:
        with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for name, content in ((_MANIFEST, manifest_bytes), (_MAC, mac.hex().encode() + b"\n")):
                tar.addfile(_member(name, len(content), manifest), io.BytesIO(content))
            with database.open("rb") as handle:
                tar.addfile(_member(_DATABASE, manifest.size, manifest), handle)
        out.flush()
        os.fsync(out.fileno())
    try:
        os.link(temporary, target)  # unlike a rename, it never replaces
    except FileExistsError:
        raise Conflict(f"{target} exists already", "Name another file for the backup") from None
    descriptor = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    kill_point(Step.BACKUP_ARCHIVE, "after")


@contextmanager
def open_archive(path: Path) -> Iterator[Archive]:
    """Raises Malformed for what is no backup or a damaged one; Conflict for a later format; Unavailable."""
    try:
        with path.open("rb") as handle, tarfile.open(fileobj=handle, mode="r:") as tar:
            manifest_bytes = _read_small(tar, _MANIFEST, path)
            mac = _hex(_read_small(tar, _MAC, path).decode("ascii", "replace").strip(), path)
            yield Archive(path, _parse(manifest_bytes, path), manifest_bytes, mac, tar)
    except (tarfile.TarError, EOFError):
        raise _damaged(path, "it is no backup, or its end is missing") from None
    except OSError as error:
        raise Unavailable(f"backup {path}: {error.strerror or error}") from None


def _parse(data: bytes, path: Path) -> Manifest:
    try:
        value: dict[str, Any] = json.loads(data)
        if value["format"] != FORMAT:
            raise Conflict(f"{path} is a backup of format {value['format']}", "Restore it with a later pkiconf")
        manifest = Manifest(**{**value, "wrapping_key_ids": tuple(value["wrapping_key_ids"])})
        bytes.fromhex(manifest.audit_mac)
    except (ValueError, TypeError, KeyError):
        raise _damaged(path, "its manifest cannot be read") from None
    return manifest


def _read_small(tar: tarfile.TarFile, name: str, path: Path) -> bytes:
    member, content = _next(tar, name, path)
    if member.size > _LARGEST_MANIFEST:
        raise _damaged(path, f"{name} in it is too large")
    data = content.read()
    if len(data) != member.size:
        raise _damaged(path, "its end is missing")
    return data


def _next(tar: tarfile.TarFile, name: str, path: Path) -> tuple[tarfile.TarInfo, IO[bytes]]:
    member = tar.next()
    content = tar.extractfile(member) if member is not None and member.isreg() else None
    if member is None or content is None or member.name != name:
        raise _damaged(path, f"{name} is not where it should be")
    return member, content


def _member(name: str, size: int, manifest: Manifest) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mtime, member.mode = size, manifest.made_at, 0o600
    return member


@contextmanager
def _private(path: Path) -> Iterator[IO[bytes]]:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as handle:
        yield handle


def _hex(text: str, path: Path) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise _damaged(path, f"{_MAC} in it cannot be read") from None


def _damaged(path: Path, what: str) -> Malformed:
    return Malformed(f"{path} is not a whole backup: {what}", "Take another copy of it, or an earlier backup")
