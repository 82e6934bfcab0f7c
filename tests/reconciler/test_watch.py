"""Edits are noticed, planned and applied; broken ones are reported and change nothing."""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pkiconf.reconciler.watch import Broken, Converged, Converger, Outcome, contents, folders, watch
from tests.reconciler.conftest import OPERATOR, Installation

ROOT = "authorities:\n  - { name: root, key: { curve: p256 }, default_templates: [], crl: { validity: %s } }\n"


@contextmanager
def watching(installation: Installation, *paths: Path) -> Iterator[Callable[[], Outcome]]:
    """Yields a function that gives the next outcome."""
    outcomes: queue.Queue[Outcome] = queue.Queue()
    stop = threading.Event()
    converger = Converger(installation.services, paths or (installation.folder / "pki.yaml",), OPERATOR)
    thread = threading.Thread(target=watch, args=(converger, outcomes.put, stop))
    thread.start()
    try:
        yield lambda: outcomes.get(timeout=30)
        assert outcomes.empty(), outcomes.get_nowait()
    finally:
        stop.set()
        thread.join(timeout=30)
    assert not thread.is_alive()


def write(installation: Installation, text: str, name: str = "pki.yaml") -> Path:
    file = installation.folder / name
    file.write_text(text)
    return file


def converged(outcome: Outcome) -> Converged:
    assert isinstance(outcome, Converged), outcome
    return outcome


def validity(installation: Installation) -> str:
    ((spec,),) = installation.row("authority", "spec")
    return str(json.loads(spec)["crl"]["validity"])


def test_an_edit_is_applied(small_installation: Installation) -> None:
    write(small_installation, ROOT % "7d")
    with watching(small_installation) as outcome:
        assert str(converged(outcome()).recap) == "ok=0 changed=2 failed=0 waiting=0"
        write(small_installation, ROOT % "3d")
        assert str(converged(outcome()).recap) == "ok=1 changed=1 failed=0 waiting=0"
    assert validity(small_installation) == "3d"


def test_a_broken_edit_changes_nothing_and_the_mended_one_counts(small_installation: Installation) -> None:
    write(small_installation, ROOT % "7d")
    with watching(small_installation) as outcome:
        converged(outcome())
        write(small_installation, (ROOT % "3d").replace("crl:", "crll:"))
        broken = outcome()
        assert isinstance(broken, Broken)
        assert "pki.yaml:2:" in str(broken.error)
        assert validity(small_installation) == "7d"
        write(small_installation, ROOT % "3d")
        converged(outcome())
    assert validity(small_installation) == "3d"


def test_a_grave_edit_is_reported_and_left(small_installation: Installation) -> None:
    write(small_installation, ROOT % "7d")
    with watching(small_installation) as outcome:
        converged(outcome())
        write(small_installation, (ROOT % "7d").replace("curve: p256", "type: ed25519"))
        reported = converged(outcome())
        assert reported.recap.exit_code == 4
        assert "--allow rollover" in next(row.message for row in reported.recap.results if row.message)
    assert len(small_installation.row("issuer", "id")) == 1


def test_touching_is_no_edit(small_installation: Installation) -> None:
    file = write(small_installation, ROOT % "7d")
    with watching(small_installation) as outcome:
        converged(outcome())
        for _ in range(3):
            file.touch()
            write(small_installation, "unrelated", "notes.txt")
            time.sleep(0.2)


def test_replaced_files_and_links_are_followed(small_installation: Installation) -> None:
    """As editors do, and as mounted configuration does: `..data` is a link that is swapped."""
    folder = small_installation.folder / "mount"
    for version, text in (("one", ROOT % "7d"), ("two", ROOT % "2d")):
        (folder / version).mkdir(parents=True)
        (folder / version / "pki.yaml").write_text(text)
    (folder / "..data").symlink_to("one")
    (folder / "pki.yaml").symlink_to("..data/pki.yaml")
    with watching(small_installation, folder / "pki.yaml") as outcome:
        converged(outcome())
        (folder / "..new").symlink_to("two")
        (folder / "..new").rename(folder / "..data")
        converged(outcome())
        replacement = folder / ".pki.yaml.swp"
        replacement.write_text(ROOT % "1d")
        replacement.replace(folder / "pki.yaml")
        converged(outcome())
    assert validity(small_installation) == "1d"


def test_a_new_file_in_a_folder_counts(small_installation: Installation) -> None:
    folder = small_installation.folder / "pki"
    (folder / "below").mkdir(parents=True)
    (folder / "root.yaml").write_text(ROOT % "7d")
    with watching(small_installation, folder) as outcome:
        converged(outcome())
        (folder / "below" / "more.yaml").write_text("authorities: [{ name: more, default_templates: [] }]\n")
        assert "authority/more" in converged(outcome()).plan.addresses
        (folder / "below" / "more.yaml").unlink()
        gone = converged(outcome())
        assert [finding.address for finding in gone.plan.findings] == ["authority/more"]


def test_files_beside_the_declaration_are_watched(small_installation: Installation) -> None:
    beside = small_installation.folder / "texts"
    beside.mkdir()
    (beside / "cps.txt").write_text("We do our best.")
    write(small_installation, (ROOT % "7d").replace("crl:", "cps: { file: texts/cps.txt }, crl:"))
    with watching(small_installation) as outcome:
        converged(outcome())
        (beside / "cps.txt").write_text("We do better.")
        (change,) = converged(outcome()).plan.pending
        assert change.reason == "cps.text: We do our best. → We do better."


def test_a_file_that_cannot_be_read_is_reported(small_installation: Installation) -> None:
    file = write(small_installation, ROOT % "7d")
    with watching(small_installation) as outcome:
        converged(outcome())
        file.write_bytes(b"\xff\xfe not text")
        assert isinstance(outcome(), Broken)
    assert validity(small_installation) == "7d"


def test_a_missing_file_is_reported_and_waited_for(small_installation: Installation) -> None:
    file = small_installation.folder / "pki.yaml"
    with watching(small_installation) as outcome:
        assert isinstance(outcome(), Broken)
        file.write_text(ROOT % "7d")
        converged(outcome())


def test_hidden_folders_are_not_watched(small_installation: Installation) -> None:
    folder = small_installation.folder / "pki"
    (folder / ".git" / "objects").mkdir(parents=True)
    (folder / "shown").mkdir()
    converger = Converger(small_installation.services, (folder,), OPERATOR)
    assert contents(converger) == {}
    assert folders(converger) == [folder, folder / "shown"]
