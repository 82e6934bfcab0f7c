"""Lists of requests, however long."""

from __future__ import annotations

import pytest

from tests.world import OPERATOR, World, make_csr

PKI = """
authorities:
  - { name: root, validity: 20y, path_length: 1 }
  - { name: issuing, issuer: root, validity: 10y }
templates:
  - { name: web-server, authority: issuing }
  - { name: client, authority: issuing, starter: client }
"""


@pytest.mark.row("F22")
def test_a_list_ends_where_it_was_asked_to_and_nowhere_else(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pkiconf.issuance.requests._PAGE", 2)
    assert world.apply(PKI).exit_code == 0
    search, csr = world.services.requests.search, make_csr()
    numbers = [
        world.services.requests.submit(f"issuing/{template}", csr, OPERATOR)
        for template in ("web-server", "client", "web-server", "client", "web-server")
    ]
    assert [found.row.id for found in search((), {})] == numbers
    assert [found.row.id for found in search(("pending",), {"template": "web-server"}, 2)] == numbers[:3:2]
    assert [found.row.id for found in search((), {}, 4)] == numbers[:4]
    assert search(("declined",), {}) == []
