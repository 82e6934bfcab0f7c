from __future__ import annotations

from pathlib import Path

import pytest

from tests.serving.running import DECLARATION, Installation, copy_of


@pytest.fixture(scope="session")
def prepared_state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder with a root and an issuing authority; every test gets a copy."""
    installation = Installation(tmp_path_factory.mktemp("prepared"))
    declaration = installation.folder / "pki.yaml"
    declaration.write_text(DECLARATION)
    installation.run("apply", declaration)
    return installation.state


@pytest.fixture
def installation(prepared_state: Path, tmp_path: Path) -> Installation:
    return copy_of(prepared_state, tmp_path)
