"""The list of guards is fresh, and a sample of it is taken out here; `python -m tests.mutants` takes out them all."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.mutants.guards import GUARDS, Guard
from tests.mutants.runner import ROOT, Stale, Tree, Verdict, nearest_first, without

SAMPLE = (
    "a CSR gets no CA:TRUE from a leaf template",
    "a request proves possession of its key",
    "ROCA keys are refused",
    "an audit record is authenticated",
    "a sealed key opens only as itself",
    "a lease that was taken over is lost",
    "vault text is authenticated",
)


def _name(guard: Guard) -> str:
    return guard.name


@pytest.mark.parametrize("guard", GUARDS, ids=_name)
def test_the_guard_stands_once_and_its_removal_is_a_program(guard: Guard) -> None:
    source = (ROOT / guard.file).read_text()
    removed = without(guard, source)
    assert removed != source
    ast.parse(removed)


@pytest.mark.parametrize("guard", GUARDS, ids=_name)
def test_the_tests_that_must_notice_are_there(guard: Guard) -> None:
    for test in guard.tests:
        assert list(ROOT.glob(test)) or (ROOT / test).exists(), test


def test_the_list_is_long_and_every_name_stands_once() -> None:
    names = [guard.name for guard in GUARDS]
    assert len(set(names)) == len(names) >= 40
    assert set(SAMPLE) <= set(names)


@pytest.mark.parametrize("times", [0, 2])
def test_a_guard_whose_text_has_changed_is_told(times: int) -> None:
    guard = Guard("x", "pkiconf/x.py", "if wrong:", "if False:", ())
    with pytest.raises(Stale, match=f"{times} times"):
        without(guard, "if wrong:\n    pass\n" * times)


def test_tests_that_are_named_like_the_guards_file_come_first() -> None:
    guard = Guard("x", "pkiconf/store/ocsp_answers.py", "", "", ("tests/store", "tests/revocation/test_ocsp.py"))
    files = nearest_first(guard)
    assert files[0] == "tests/revocation/test_ocsp.py"
    assert files[1:] == [f"tests/store/{name.name}" for name in sorted((ROOT / "tests/store").glob("test_*.py"))]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    return Tree(tmp_path_factory.mktemp("tree"))


@pytest.mark.parametrize("name", SAMPLE)
def test_a_removed_guard_is_noticed(tree: Tree, name: str) -> None:
    (guard,) = (guard for guard in GUARDS if guard.name == name)
    outcome = tree.judge(guard)
    assert outcome.verdict is Verdict.NOTICED, outcome.output
    assert "1 failed" in outcome.output


def test_a_removal_that_nothing_notices_is_told(tree: Tree) -> None:
    """Nor does a run whose tests cannot be collected count as having noticed."""
    test = "tests/der/test_pem.py"
    harmless = Guard("nothing", "pkiconf/der/pem.py", "from __future__ import annotations\n", "", (test,))
    assert tree.judge(harmless).verdict is Verdict.MISSED
    broken = Guard(
        "all", "pkiconf/der/pem.py", "from __future__ import annotations\n", "import no_such_thing\n", (test,)
    )
    assert tree.judge(broken).verdict is Verdict.BROKEN


def test_the_tree_is_as_it_was_afterwards(tree: Tree) -> None:
    guard = GUARDS[0]
    before = (tree.folder / guard.file).read_text()
    with tree.removed(guard):
        assert (tree.folder / guard.file).read_text() != before
    assert (tree.folder / guard.file).read_text() == before == (Path(ROOT) / guard.file).read_text()
