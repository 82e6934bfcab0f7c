"""Timestamps over HTTP: two protocols at one URL."""

from __future__ import annotations

import base64
from datetime import timedelta
from pathlib import Path

import pytest
from asn1crypto import cms, tsp

from pkiconf.endpoints.app import create_app, create_server_app
from pkiconf.endpoints.timestamp import is_older_protocol
from pkiconf.settings import ProcessSettings
from tests.endpoints.client import Answer, Client
from tests.timestamps.stamping import authenticode_request, declare, query
from tests.world import World

QUERY = "application/timestamp-query"
OLDER = "application/octet-stream"


@pytest.fixture(params=[create_app, create_server_app], ids=["framework", "front"])
def served(sqlite_world: World, request: pytest.FixtureRequest) -> Client:
    """By the framework, and with what stands in front of it: nobody can tell them apart."""
    declare(sqlite_world)
    return Client(request.param(sqlite_world.services, ProcessSettings()), sqlite_world)  # type: ignore[arg-type]


def status(answer: Answer) -> str:
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/timestamp-reply", "without parameters: jarsigner compares it"
    assert answer.headers["content-length"] == str(len(answer.body))
    assert answer.headers["cache-control"] == "no-store"
    if len(answer.body) < 300:
        return "refused"
    return str(tsp.TimeStampResp.load(answer.body, strict=True)["status"]["status"].native)


@pytest.mark.row("F141")
@pytest.mark.parametrize("media_type", [QUERY, f"{QUERY}; charset=utf-8", QUERY.upper(), "", "text/plain", OLDER])
def test_a_query_whatever_the_media_type(served: Client, tmp_path: Path, media_type: str) -> None:
    assert status(served.post("/tsa/issuing", query(tmp_path), content_type=media_type)) == "granted"


@pytest.mark.row("F142")
@pytest.mark.parametrize("media_type", [OLDER, "", "application/x-www-form-urlencoded", "text/plain"])
def test_the_older_protocol_whatever_the_media_type(served: Client, media_type: str) -> None:
    answer = served.post("/tsa/issuing", authenticode_request(b"signature") + b"\0", content_type=media_type)
    assert answer.status == 200
    assert answer.headers["content-type"] == OLDER
    assert answer.headers["cache-control"] == "no-store"
    read = cms.ContentInfo.load(base64.b64decode(answer.body, validate=True), strict=True)["content"]
    assert read["encap_content_info"]["content"].native == b"signature"


@pytest.mark.parametrize(
    ("media_type", "body", "older"),
    [
        (QUERY, b"MIIB", False),
        (QUERY, b"\x30", False),
        (OLDER, b"MIIB", True),
        (OLDER, b"\x30\x82", False),
        ("", b"", True),
        ("", b"\x30", False),
    ],
)
def test_how_they_are_told_apart(media_type: str, body: bytes, older: bool) -> None:
    assert is_older_protocol(media_type, body) is older


@pytest.mark.parametrize("body", [b"", b"\x30", b"\x30\x03\x02\x01\x01", b"MIIB", b"\x30" + bytes(20_000)])
def test_a_query_that_is_none_is_refused_in_its_own_protocol(served: Client, body: bytes) -> None:
    assert status(served.post("/tsa/issuing", body, content_type=QUERY)) == "refused"


@pytest.mark.row("F142")
@pytest.mark.parametrize("body", [b"", b"hello", b"AAAA", b"A" * 20_000])
def test_the_older_protocol_knows_no_failures_but_those_of_http(served: Client, body: bytes) -> None:
    answer = served.post("/tsa/issuing", body, content_type=OLDER)
    assert answer.status == 400
    assert "Authenticode" in answer.text


def test_a_body_that_is_far_too_large(served: Client) -> None:
    answer = served.request("POST", "/tsa/issuing", b"", {"content_type": QUERY, "content_length": "1"})
    assert status(answer) == "refused"
    answer = served.request("POST", "/tsa/issuing", environ={"CONTENT_LENGTH": str(1 << 30)})
    assert answer.status == 413


@pytest.mark.parametrize("media_type", [QUERY, OLDER])
@pytest.mark.parametrize("slug", ["root", "nobody", "a%00b", "issuing%2f", "%ff"])
def test_where_there_are_none(served: Client, tmp_path: Path, slug: str, media_type: str) -> None:
    body = query(tmp_path) if media_type == QUERY else authenticode_request(b"signature")
    assert served.post(f"/tsa/{slug}", body, content_type=media_type).status == 404


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
def test_only_post(served: Client, method: str) -> None:
    assert served.request(method, "/tsa/issuing").status == 405


@pytest.mark.row("F142")
def test_the_older_protocol_switched_off(served: Client, sqlite_world: World) -> None:
    declare(sqlite_world, "enabled: true, authenticode: false")
    answer = served.post("/tsa/issuing", authenticode_request(b"signature"), content_type=OLDER)
    assert answer.status == 403
    assert "RFC 3161" in answer.text


@pytest.mark.row("F141")
def test_a_clock_that_is_wrong(served: Client, sqlite_world: World, tmp_path: Path) -> None:
    request = query(tmp_path)
    assert status(served.post("/tsa/issuing", request, content_type=QUERY)) == "granted"
    sqlite_world.timepiece.moved = -int(timedelta(hours=1).total_seconds()) * 1_000_000
    assert status(served.post("/tsa/issuing", request, content_type=QUERY)) == "refused"
    older = served.post("/tsa/issuing", authenticode_request(b"signature"), content_type=OLDER)
    assert older.status == 503
    assert older.headers["retry-after"]
    assert older.text == "not available now\n"


def test_what_became_of_requests_is_counted(served: Client, tmp_path: Path) -> None:
    served.post("/tsa/issuing", query(tmp_path), content_type=QUERY)
    served.post("/tsa/issuing", b"", content_type=QUERY)
    served.post("/tsa/issuing", b"", content_type=OLDER)
    text = served.get("/metrics").text
    for labels in (
        'protocol="rfc3161",result="granted"',
        'protocol="rfc3161",result="bad_data_format"',
        'protocol="authenticode",result="refused"',
    ):
        assert f"pkiconf_timestamps_total{{{labels}}}" in text
