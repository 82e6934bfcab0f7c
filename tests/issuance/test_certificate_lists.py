"""Lists of certificates: the newest first, and nothing of the services' crowds out what people asked for."""

from __future__ import annotations

from datetime import timedelta

import pytest

from pkiconf.issuance.certificates import Filter
from tests.world import World, make_csr

PKI = """
authorities:
  - { name: root, validity: 20y, path_length: 1 }
  - { name: issuing, issuer: root, validity: 10y }
templates:
  - { name: short, authority: issuing, validity: 30d }
"""


@pytest.mark.row("F93")
def test_the_newest_come_first_whenever_they_end(world: World) -> None:
    assert world.apply(PKI).exit_code == 0
    made = []
    for template in ("issuing/web-server", "issuing/short", "issuing/web-server"):
        made.append(world.issued(template, make_csr()).id)
        world.pass_time(timedelta(minutes=1))
    search = world.services.certificates.search
    assert [found.id for found in search(Filter())] == made[::-1]
    assert [found.id for found in search(Filter(limit=2))] == made[:0:-1]


@pytest.mark.row("F93")
def test_service_certificates_take_no_place_in_a_list_that_leaves_them_out(world: World) -> None:
    assert world.apply(PKI).exit_code == 0
    issued = world.issued("issuing/web-server", make_csr()).id
    world.pass_time(timedelta(days=70))
    assert world.services.service_certificates.renew_due() == 2
    search = world.services.certificates.search
    assert [found.id for found in search(Filter(limit=1))] == [issued]
    assert len(search(Filter())) == 1
    assert [found.template for found in search(Filter(limit=2, include_system=True))] != ["web-server"] * 2
    assert len(search(Filter(include_system=True))) > 5
