"""Requests by number, however it was typed."""

from __future__ import annotations

import pytest

from pkiconf.errors import NotFound
from pkiconf.store import requests
from pkiconf.store.database import Database


@pytest.mark.parametrize("number", [0, -1, 4711, (1 << 63) - 1, 1 << 63, -(1 << 63), 10**30])
def test_a_number_that_no_request_has_is_not_found(database: Database, number: int) -> None:
    with pytest.raises(NotFound, match=f"no request {number}"):
        database.read(lambda c: requests.get_request(c, number))
