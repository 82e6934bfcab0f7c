"""One prepared installation, copied for each test, on both databases; the fixtures of the crash tests."""

from __future__ import annotations

import pytest

from tests.crash.child import Place
from tests.crash.conftest import Copy, copy, copy_on_postgresql, made, made_on_postgresql

__all__ = ["Copy", "copy", "copy_on_postgresql", "made", "made_on_postgresql"]


@pytest.fixture(params=["sqlite", "postgresql"])
def copies(request: pytest.FixtureRequest) -> Copy:
    """Makes installations of the test's own, on SQLite and on PostgreSQL."""
    found: Copy = request.getfixturevalue("copy" if request.param == "sqlite" else "copy_on_postgresql")
    return found


@pytest.fixture
def place(copies: Copy) -> Place:
    return copies("running")
