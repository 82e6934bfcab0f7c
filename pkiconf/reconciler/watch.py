"""Notice edited files, and converge to them. A broken edit is reported and changes nothing."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Final

import watchfiles

from pkiconf.errors import PkiconfError
from pkiconf.model.actor import Actor
from pkiconf.reconciler.apply import Recap, apply_plan
from pkiconf.reconciler.observe import DEFAULT_WORKSPACE, load_plan
from pkiconf.reconciler.plan import Plan
from pkiconf.services import Services
from pkiconf.spec.declare import ACME_POLICIES, AUTHORITIES
from pkiconf.spec.document import Document
from pkiconf.spec.errors import Problem
from pkiconf.spec.loader import load_files
from pkiconf.spec.nodes import Node, Scalar, find
from pkiconf.spec.sources import find_sources

DEBOUNCE: Final = 50
"""Milliseconds without a further change before an edit is taken up."""

_SAFETY_NET: Final = 5000


@dataclass(frozen=True, slots=True)
class Converged:
    """The edit was planned; what could be done without consent was done."""

    plan: Plan
    recap: Recap


@dataclass(frozen=True, slots=True)
class Broken:
    """The edit cannot be read or planned, or the attempt failed as a whole; what stood before still stands."""

    error: PkiconfError


Outcome = Converged | Broken


@dataclass
class Converger:
    """Loads, plans and applies, never taking what needs consent."""

    services: Services
    paths: Sequence[Path]
    actor: Actor
    workspace: str = DEFAULT_WORKSPACE
    vault_password_file: Path | None = None
    beside: Mapping[Path, str] = field(default_factory=dict)
    """Files that the last readable document refers to, and what was in them then."""

    def converge(self) -> Outcome:
        try:
            document = load_files(self.paths, vault_password_file=self.vault_password_file)
            self.beside = {path: _digest(path) for path in referenced(document)}
            plan = load_plan(self.services, document, now=self.services.parts.now(), workspace=self.workspace)
            return Converged(plan, apply_plan(self.services, plan, document, (), self.actor, leave_grave=True))
        except PkiconfError as error:
            return Broken(error)


def watch(converger: Converger, report: Callable[[Outcome], None], stop: threading.Event) -> None:
    """Converge now and after every edit until `stop` is set; each outcome is reported once.

    Touching a file without changing it is no edit. Folders are watched, not files, because editors and
    configuration mounts replace files instead of writing into them.
    """
    seen: dict[Path, str] | None = None
    while not stop.is_set():
        found = contents(converger)
        if found == seen:
            _wait(folders(converger), stop)
            continue
        # A file may be read while it is being written: an edit is taken up once it has settled.
        if stop.wait(DEBOUNCE / 1000) or contents(converger) != found:
            continue
        known_before = converger.beside
        report(converger.converge())
        # What was edited meanwhile still counts as unseen; what was read for the first time counts as it was then.
        seen = {path: digest for path, digest in found.items() if path not in known_before or path in converger.beside}
        seen |= {path: digest for path, digest in converger.beside.items() if path not in seen}


def _wait(watched: Sequence[Path], stop: threading.Event) -> None:
    """Until something happens in one of the folders, and at most some seconds: the safety net."""
    if not watched:
        stop.wait(_SAFETY_NET / 1000)
        return
    with suppress(FileNotFoundError):
        for _ in watchfiles.watch(
            *watched,
            watch_filter=None,
            debounce=DEBOUNCE,
            rust_timeout=_SAFETY_NET,
            yield_on_timeout=True,
            stop_event=stop,
            raise_interrupt=False,
            recursive=False,
        ):
            return


def contents(converger: Converger) -> dict[Path, str]:
    """A digest of every file that the declaration consists of; empty for one that cannot be read."""
    unreadable: list[Problem] = []
    files = {*find_sources(converger.paths, unreadable), *converger.beside}
    return {path: _digest(path) for path in sorted(files)}


def _digest(path: Path) -> str:
    try:
        return sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""


def folders(converger: Converger) -> list[Path]:
    """Where edits happen: every folder with a file of the declaration, and those behind symbolic links."""
    found: set[Path] = set()
    for path in converger.paths:
        if path.is_dir():
            found |= _folders_below(path)
    for file in (*contents(converger), *(path for path in converger.paths if not path.is_dir())):
        found |= {file.parent, file.resolve().parent}
    return sorted(folder for folder in found if folder.is_dir())


def _folders_below(path: Path) -> set[Path]:
    """A folder and those inside it, without hidden ones: the same that are read."""
    found = set()
    for folder, names, _ in os.walk(path):
        names[:] = [name for name in names if not name.startswith(".")]
        found.add(Path(folder))
    return found


def referenced(document: Document) -> Iterator[Path]:
    """Files that a document names beside itself: keys, certificates, practice statements, `!file` secrets."""
    for declaration in document.authorities:
        named = (_scalar(declaration.node, path) for path in AUTHORITIES.files)
        yield from (_beside(scalar) for scalar in named if scalar is not None)
        yield from _secret_files(AUTHORITIES.secret_places(declaration.node))
    for policy in document.acme_policies:
        yield from _secret_files(ACME_POLICIES.secret_places(policy.node))


def _secret_files(places: Iterable[tuple[str, Scalar]]) -> Iterator[Path]:
    return (_beside(scalar) for _, scalar in places if scalar.tag == "!file")


def _beside(scalar: Scalar) -> Path:
    return Path(scalar.file).parent / scalar.text


def _scalar(node: Node | None, path: str) -> Scalar | None:
    if node is None:
        return None
    steps = path.split(".")
    found, taken = find(node, steps)
    return found if isinstance(found, Scalar) and len(taken) == len(steps) else None
