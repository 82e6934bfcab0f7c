"""A file that only its owner may read, written so that a crash leaves the old content or the new, never half of one."""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pkiconf.errors import Conflict, Unavailable
from pkiconf.steps import Step, kill_point


def read_private_file(path: Path, limit: int) -> bytes:
    """At most `limit` octets of a regular file of ours (or root's) that no one else may read. Raises Unavailable."""
    try:
        # Opened once and judged by its handle, so that the file that was checked is the file that is read;
        # O_NONBLOCK, because a named pipe would wait for its writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            _check_private(path, os.fstat(descriptor))
            with os.fdopen(descriptor, "rb", closefd=False) as handle:
                return handle.read(limit)
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        raise Unavailable(f"{path} does not exist", "Without it nothing that is sealed can be opened") from None
    except OSError as error:
        raise Unavailable(f"cannot read {path}: {error.strerror}") from None


def create_private_file(path: Path, content: bytes) -> None:
    """Raises Conflict when the file exists, also when another process makes it at this moment; Unavailable."""
    if path.exists() or path.is_symlink():
        raise _taken(path)
    with alone_with(path):
        _place(path, content, _link, Step.MASTER_KEY_FILE)


def replace_private_file(path: Path, content: bytes, step: Step = Step.MASTER_KEY_FILE) -> None:
    """Put `content` in the place of the file, if there is one; its mode becomes 0600. Raises Unavailable.

    The caller is `alone_with` it from before it read the old content. Where the path is a link, what it points to is
    replaced and the link stays.
    """
    _place(path.resolve(), content, os.replace, step)


@contextmanager
def alone_with(path: Path) -> Iterator[None]:
    """No other process writes this file inside the block. Raises Conflict when one does; Unavailable.

    The folder is what is locked: the file itself is replaced, and its lock with it.
    """
    try:
        descriptor = os.open(path.resolve().parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise Unavailable(f"cannot open the folder of {path}: {error.strerror}") from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(f"another process is writing {path}", "Try again when it has ended") from None
        yield
    finally:
        os.close(descriptor)


def _place(path: Path, content: bytes, move: Callable[[Path, Path], None], step: Step) -> None:
    temporary = path.with_name(path.name + ".new")
    kill_point(step, "before")
    try:
        temporary.unlink(missing_ok=True)  # left by a run that was killed between here and the move
        _write_new(temporary, content)
        move(temporary, path)
        _sync_folder(path.parent)
    except FileExistsError:
        raise _taken(path) from None
    except OSError as error:
        raise Unavailable(f"cannot write {path}: {error.strerror}", "Check the folder's owner and free space") from None
    finally:
        with suppress(OSError):  # what made the write fail has been said
            temporary.unlink(missing_ok=True)
    kill_point(step, "after")


def _link(temporary: Path, path: Path) -> None:
    os.link(temporary, path)  # unlike a rename, it never replaces


def _write_new(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as handle:
        os.fchmod(descriptor, 0o600)  # a umask may have taken the owner's bits
        handle.write(content)
        handle.flush()
        os.fsync(descriptor)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _check_private(path: Path, facts: os.stat_result) -> None:
    if not stat.S_ISREG(facts.st_mode):
        raise Unavailable(f"{path} is not a regular file")
    if facts.st_uid not in (os.geteuid(), 0):
        raise Unavailable(f"{path} belongs to another user", "chown it to the user that runs pkiconf")
    if facts.st_mode & 0o077:
        mode = stat.S_IMODE(facts.st_mode)
        raise Unavailable(f"{path} has mode {mode:04o}: others may use it", f"chmod 600 {path}")


def _taken(path: Path) -> Conflict:
    return Conflict(f"{path} exists already", "A master key that is overwritten takes every sealed key with it")
