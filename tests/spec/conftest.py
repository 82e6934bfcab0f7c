from __future__ import annotations

from pathlib import Path

import pytest

from tests.spec.loading import Folder


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    path = tmp_path / "declared"
    path.mkdir()
    return Folder(path)
