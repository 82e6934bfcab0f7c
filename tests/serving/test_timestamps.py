"""Timestamps of a really running server."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from tests.serving.running import Installation
from tests.timestamps.stamping import query

QUERY = {"Content-Type": "application/timestamp-query"}


@pytest.mark.row("F141")
@pytest.mark.parametrize("name", ["gunicorn", "granian"])
def test_a_server_that_ends_gives_back_what_it_has_counted_ahead(tmp_path: Path, name: str) -> None:
    installation = Installation(tmp_path)
    declaration = tmp_path / "pki.yaml"
    declaration.write_text("authorities: [{ name: ca, timestamp: { enabled: true, record: count } }]")
    installation.run("apply", declaration)
    request = query(tmp_path)
    with installation.serving("--workers", "2", "--server", name) as server:
        for _ in range(5):
            assert server.request("POST", "/tsa/ca", request, headers=QUERY, timeout=60)[0] == 200
        assert server.tree.end(signal.SIGTERM) == 0
    counted = json.loads(installation.run("timestamp", "count", "ca", "--json").stdout)
    assert counted == {"recorded": 0, "counted": 5, "total": 5}
