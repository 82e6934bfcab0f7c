"""Every step has a scenario, and everything that writes names its step: in the source itself, not by habit."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from pkiconf.steps import Step
from tests.crash.acme_scenarios import SCENARIOS
from tests.crash.conftest import Copy
from tests.wholeness import check_whole, opened, settle

ROOT = Path(__file__).parents[2] / "pkiconf"
DATABASES = ("db", "_db", "scratch")
"""What a `Database` is called wherever one is written to."""
WRITES = ("write", "write_all")

WITHOUT_STEP: Mapping[str, str] = {
    "cli/output.py": "what an operator wished to have in a file: whole or not at all, and kept by nobody but them",
    "endpoints/middleware.py": "the access log, on standard output",
    "store/gate.py": "lock files, which hold nothing",
    "store/redemptions.py": "redeemed nonces, which a crash of the machine takes away together with their epoch",
    "store/sqlite.py": "an empty database file; what is in it is written by steps",
    "store/portable.py": "the copy that a backup is packed from, in a folder that goes with it",
    "store/backup.py": "the folder of that copy",
    "store/restore.py": "the folder that an archive is unpacked into; what is restored is written by a step",
    "cli/app.py": "the null device in the place of a closed output",
}
"""Modules that write files outside every step, and why they may."""

SOURCES = {str(path.relative_to(ROOT)): ast.parse(path.read_text()) for path in sorted(ROOT.rglob("*.py"))}


def test_every_step_has_a_scenario() -> None:
    assert set(Step) - {scenario.step for scenario in SCENARIOS} == set()
    names = [scenario.name for scenario in SCENARIOS]
    assert len(names) == len(set(names))


def test_every_step_is_taken_somewhere() -> None:
    assert set(Step) - {step for tree in SOURCES.values() for step in _steps_in(tree)} == set()


@pytest.mark.parametrize("module", SOURCES)
def test_every_write_to_a_database_names_its_step(module: str) -> None:
    for function, call in _calls(SOURCES[module]):
        if _method(call) in WRITES and _receiver(call) in DATABASES:
            assert _names_steps(call.args[0], function, SOURCES[module]), f"{module}:{call.lineno}"
        elif _method(call) in WRITES and _steps_in(call):
            pytest.fail(f"{module}:{call.lineno} writes to a database under a name that this test does not know")


@pytest.mark.parametrize("module", SOURCES)
def test_every_module_that_writes_files_has_kill_points(module: str) -> None:
    lines = [call.lineno for _, call in _calls(SOURCES[module]) if _writes_a_file(call)]
    sides = {
        call.args[1].value
        for _, call in _calls(SOURCES[module])
        if isinstance(call.func, ast.Name) and call.func.id == "kill_point" and isinstance(call.args[1], ast.Constant)
    }
    if module in WITHOUT_STEP:
        assert lines, f"{module} writes no file any more: take it out of the list"
    elif lines:
        assert sides == {"before", "after"}, f"{module}, lines {lines}"


def test_a_fresh_program_dies_there_and_another_finishes(copy: Copy) -> None:
    """What the scenarios do in forked processes holds of `python -m pkiconf` as well."""
    place = copy("running")
    sign = ("request", "sign", "1", "--out", "{folder}/1.pem")
    place.killed(*sign, at="certificate.complete:before", fresh=True)
    assert not (place.folder / "1.pem").exists()
    assert place.run(*sign, fresh=True).code == 0
    with opened(place.state) as services:
        settle(services)
        check_whole(services)


def test_the_time_it_dies_can_be_chosen(copy: Copy) -> None:
    """`step:side:n` dies at the n-th time; beyond the last one it runs to its end."""
    place = copy("running")
    submit = ("request", "submit", "--template", "issuing/web", "{folder}/5.csr")
    assert place.run(*submit, kill_at="request.submit:before:2").code == 0
    place.killed(*submit, at="request.submit:after:1")


def _calls(tree: ast.AST, function: ast.AST | None = None) -> Iterator[tuple[ast.AST | None, ast.Call]]:
    """Every call with the function around it."""
    for node in ast.iter_child_nodes(tree):
        inner = node if isinstance(node, ast.FunctionDef) else function
        if isinstance(node, ast.Call):
            yield function, node
        yield from _calls(node, inner)


def _method(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else ""


def _receiver(call: ast.Call) -> str:
    """The last name before the method's."""
    value = call.func.value if isinstance(call.func, ast.Attribute) else None
    return value.attr if isinstance(value, ast.Attribute) else value.id if isinstance(value, ast.Name) else ""


def _steps_in(tree: ast.AST) -> set[Step]:
    names = (
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "Step"
    )
    return {Step[name] for name in names}


def _names_steps(expression: ast.expr, function: ast.AST | None, module: ast.Module) -> bool:
    """A member of Step; or a variable that holds one; or a parameter that every call in the module gives one."""
    if isinstance(expression, ast.Attribute):
        return bool(_steps_in(expression))
    if not isinstance(expression, ast.Name) or not isinstance(function, ast.FunctionDef):
        return False
    for node in ast.walk(function):
        if isinstance(node, ast.Assign) and [target.id for target in node.targets if isinstance(target, ast.Name)] == [
            expression.id
        ]:
            return bool(_steps_in(node.value))
    callers = [
        call
        for _, call in _calls(module)
        if function.name in (_method(call), call.func.id if isinstance(call.func, ast.Name) else "")
    ]
    return bool(callers) and all(any(_steps_in(argument) for argument in call.args) for call in callers)


def _writes_a_file(call: ast.Call) -> bool:
    text = ast.unparse(call.func)
    if text in ("os.link", "os.replace", "os.rename", "sqlite3.connect", "tempfile.TemporaryDirectory"):
        return True
    if text == "os.open":
        return "O_CREAT" in ast.unparse(call) or "O_WRONLY" in ast.unparse(call)
    if _method(call) in ("write_text", "write_bytes"):
        return True
    if _method(call) == "write":
        return _receiver(call) not in DATABASES and len(call.args) == 1
    return _method(call) == "replace" and len(call.args) == 1 and not call.keywords
