"""An installation with real keys and a real database, driven by YAML text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pkiconf.bootstrap import open_services
from pkiconf.model.actor import Actor
from pkiconf.reconciler.apply import Recap, apply_plan
from pkiconf.reconciler.observe import load_plan
from pkiconf.reconciler.plan import Plan
from pkiconf.reconciler.state import Action
from pkiconf.services import Services
from pkiconf.settings import ProcessSettings
from pkiconf.spec.document import Document
from pkiconf.spec.loader import load_files

OPERATOR = Actor("operator", "tests", "local-shell")


@dataclass
class Installation:
    services: Services
    folder: Path

    def load(self, text: str) -> Document:
        file = self.folder / "pki.yaml"
        file.write_text(text)
        return load_files([file])

    def plan(self, text: str, **options: Any) -> Plan:
        return load_plan(self.services, self.load(text), now=self.services.parts.now(), **options)

    def apply(self, text: str, *allow: str, plan: Plan | None = None, **options: Any) -> Recap:
        """Plan and apply, or apply a plan that was made before."""
        document = self.load(text)
        chosen = plan or self.plan(text, **options)
        return apply_plan(self.services, chosen, document, [Action(word) for word in allow], OPERATOR, patience=0)

    def settle(self, text: str, *allow: str, **options: Any) -> Recap:
        """Apply, and see that everything went well and that nothing is left to do."""
        recap = self.apply(text, *allow, **options)
        assert recap.exit_code == 0, recap.results
        assert self.pending(text, **options) == []
        return recap

    def pending(self, text: str, **options: Any) -> list[tuple[str, str]]:
        return [(change.action.value, change.address) for change in self.plan(text, **options).pending]

    def row(self, table: str, columns: str, where: str = "1 = 1") -> list[tuple[Any, ...]]:
        from sqlalchemy import text

        statement = text(f"SELECT {columns} FROM {table} WHERE {where}")
        return self.services.parts.db.read(lambda c: [tuple(row) for row in c.execute(statement)])


@pytest.fixture
def installation(database_url: str, tmp_path: Path) -> Iterator[Installation]:
    """On SQLite and on PostgreSQL."""
    yield from installed(database_url, tmp_path)


@pytest.fixture
def small_installation(sqlite_url: str, tmp_path: Path) -> Iterator[Installation]:
    """On SQLite only, for what does not depend on the database."""
    yield from installed(sqlite_url, tmp_path)


def installed(url: str | None, folder: Path) -> Iterator[Installation]:
    """With its state below `folder`, and its database there too unless a URL is given."""
    settings = ProcessSettings(state=folder / "state", database_url=url)
    with open_services(settings, create=True) as services:
        yield Installation(services, folder)


def changed(recap: Recap) -> Sequence[str]:
    return [result.address for result in recap.results if result.status.value == "changed"]
