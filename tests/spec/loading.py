"""Files as an operator has them, loaded; what is refused comes back as lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from pkiconf.spec.document import Document
from pkiconf.spec.errors import SpecErrors
from pkiconf.spec.loader import load_files

ENVIRONMENT = {"SECRET": "hunter2", "EMPTY": "", "LONG": "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWY"}

AUTHORITY = "authorities: [{ name: ca }]\n"


class Folder:
    """`load("text")` reads it as pki.yaml; `load(a="…", b="…")` as a.yaml and b.yaml."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self, text: str | None = None, **files: str) -> Document:
        for name, content in ({"pki": text} if text is not None else files).items():
            (self.path / f"{name}.yaml").write_text(content)
        return load_files([self.path], environment=ENVIRONMENT)

    def refused(self, text: str | None = None, **files: str) -> list[str]:
        """The problems as printed, with file names relative to the folder."""
        with pytest.raises(SpecErrors) as caught:
            self.load(text, **files)
        problems = caught.value.problems
        assert problems == tuple(sorted(problems))
        return [str(problem).replace(f"{self.path}/", "") for problem in problems]
