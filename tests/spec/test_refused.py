"""Every file of `refused/` holds declarations that are refused, each with everything that is said about it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.spec.loading import Folder

FOLDER = Path(__file__).parent / "refused"


def cases() -> list[Any]:
    found = []
    for path in sorted(FOLDER.glob("*.yaml")):
        for number, case in enumerate(YAML(typ="safe").load(path), 1):
            rows = [pytest.mark.row(row) for row in case.get("rows", ())]
            found.append(pytest.param(case["declared"], case["problems"], id=f"{path.stem}-{number}", marks=rows))
    return found


@pytest.mark.parametrize(("declared", "problems"), cases())
def test_refused(folder: Folder, declared: str, problems: list[str]) -> None:
    assert [problem.removeprefix("pki.yaml:") for problem in folder.refused(declared)] == problems
