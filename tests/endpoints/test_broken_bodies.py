"""Bodies that break off or are too long, at every place that takes one: a refusal, and nothing half-done."""

from __future__ import annotations

import pytest

from tests.endpoints.client import Client, client_of
from tests.enrolment.office import Office, token_of
from tests.revocation.pki import PKI
from tests.wholeness import rows
from tests.world import World

_PLACES = (
    "/ocsp/issuing",
    "/tsa/issuing",
    "/scep/issuing/device?operation=PKIOperation",
    "/acme/new-order",
    "/acme/new-account",
    "/claim/{token}",
)
_TABLES = ("certificate", "timestamp_token", "request", "acme_account", "acme_order")


class Broken:
    def read(self, *_: int) -> bytes:
        raise OSError("the client went away")


@pytest.fixture
def office(sqlite_world: World) -> Office:
    made = Office(sqlite_world)
    made.declare()
    text = "{ name: issuing, issuer: root, subject: { common_name: Example Issuing, organization: Example Corp }"
    assert text in made.declared
    declared = made.declared.replace(text, f"{text}, timestamp: {{ enabled: true }}")
    assert sqlite_world.apply(declared).exit_code == 0
    return made


@pytest.fixture
def client(office: Office) -> Client:
    made = client_of(PKI(office.world))
    assert made.get("/scep/issuing/device?operation=GetCACert").status == 200  # its service certificate is there
    return made


def contents(office: Office) -> list[int]:
    return [int(rows(office.world.services, f"SELECT count(*) FROM {table}")[0][0]) for table in _TABLES]


def place(office: Office, path: str) -> str:
    if "{token}" not in path:
        return path
    return path.format(token=token_of(office.preapprove("email:jane@corp.example")))


@pytest.mark.parametrize("path", _PLACES)
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_breaks_off(office: Office, client: Client, path: str, chunked: bool) -> None:
    target = place(office, path)
    before = contents(office)
    environ = {"wsgi.input": Broken(), **({} if chunked else {"CONTENT_LENGTH": "100"})}
    headers = {"content_type": "application/jose+json"} if "/acme/" in path else {}
    answer = client.request("POST", target, headers=headers, chunked=chunked, environ=environ)
    assert answer.status == 400
    assert contents(office) == before


@pytest.mark.parametrize("path", [*_PLACES, "/certsrv/issuing/device/mscep_admin/"])
def test_a_body_that_is_too_long(office: Office, client: Client, path: str) -> None:
    target = place(office, path)
    before = contents(office)
    assert client.post(target, bytes(10_000_000)).status == 413
    assert contents(office) == before
