"""A PKI to measure on: a root and an issuing authority, both P-256, in a folder of its own."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import SecretStr

from pkiconf.bootstrap import open_services
from pkiconf.model.actor import Actor
from pkiconf.reconciler.apply import apply_plan
from pkiconf.reconciler.observe import load_plan
from pkiconf.services import Services
from pkiconf.settings import ProcessSettings
from pkiconf.spec.loader import load_files

OPERATOR = Actor("operator", "benchmark", "local-shell")

DECLARATION = """
authorities:
  - { name: root, key: { type: ec, curve: p256 } }
  - { name: issuing, issuer: root, key: { type: ec, curve: p256 } }
"""


@contextmanager
def prepared(declared: str = DECLARATION, database_url: str | None = None) -> Iterator[Services]:
    with tempfile.TemporaryDirectory(prefix="pkiconf-bench-", dir=Path.cwd()) as folder:
        state = Path(folder) / "state"
        declaration = Path(folder) / "pki.yaml"
        declaration.write_text(declared)
        document = load_files([declaration])
        url = SecretStr(database_url) if database_url else None
        with open_services(ProcessSettings(state=state, database_url=url, threads=1), create=True) as services:
            plan = load_plan(services, document, now=services.parts.now())
            apply_plan(services, plan, document, (), OPERATOR)
            yield services
