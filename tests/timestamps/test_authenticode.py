"""The protocol before RFC 3161: base64 in, base64 out, the time in the countersignature alone."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import pytest
from asn1crypto import cms

from pkiconf.errors import Malformed, NotFound, Refused
from pkiconf.store import timestamps
from tests.authority.following import current
from tests.timestamps.stamping import authenticode_request, declare, trust
from tests.tools import accepted, run_tool
from tests.vectors.construct import oid, tlv
from tests.world import World

SIGNATURE = bytes(range(256))


def countersigned(world: World, body: bytes) -> bytes:
    reply = world.services.timestamps.countersign("issuing", body)
    assert b"\n" not in reply
    return base64.b64decode(reply, validate=True)


@pytest.mark.row("F142")
@pytest.mark.parametrize("key", ["type: rsa, size: 2048", "type: ec"])
def test_openssl_believes_the_countersignature(sqlite_world: World, tmp_path: Path, key: str) -> None:
    declare(sqlite_world, services=key)
    root, _ = trust(sqlite_world, tmp_path)
    (tmp_path / "reply.der").write_bytes(countersigned(sqlite_world, authenticode_request(SIGNATURE)))
    result = run_tool(
        *("openssl", "cms", "-verify", "-inform", "DER", "-in", tmp_path / "reply.der", "-CAfile", root, "-binary"),
        *("-purpose", "timestampsign", "-attime", str(int(sqlite_world.clock.now().timestamp()))),
    )
    accepted(result)
    assert result.stdout == SIGNATURE


@pytest.mark.row("F142")
def test_what_it_says(world: World) -> None:
    declare(world, services="type: rsa, size: 2048")
    der = countersigned(world, authenticode_request(SIGNATURE))
    read = cms.ContentInfo.load(der, strict=True)["content"]
    assert read["version"].native == "v1"
    assert read["encap_content_info"]["content_type"].native == "data"
    assert read["encap_content_info"]["content"].native == SIGNATURE
    (info,) = read["signer_infos"]
    found = {attribute["type"].native: attribute["values"][0].native for attribute in info["signed_attrs"]}
    assert found == {
        "content_type": "data",
        "signing_time": world.clock.now(),
        "message_digest": hashlib.sha256(SIGNATURE).digest(),
    }
    serials = {one.chosen.serial_number for one in read["certificates"]}
    assert serials == {info["sid"].chosen["serial_number"].native, current(world, "issuing").serial_number}
    authority = world.services.lookup.get("issuing").row.id
    (row,) = world.parts.db.read(lambda c: timestamps.page(c, authority))
    assert (row.protocol, row.hash) == ("authenticode", hashlib.sha256(SIGNATURE).digest())


@pytest.mark.row("F142")
@pytest.mark.parametrize(
    "spoil",
    [
        lambda body: body + b"\0",
        lambda body: body + b"\r\n",
        lambda body: b"\r\n".join(body[at : at + 64] for at in range(0, len(body), 64)) + b"\r\n\0",
        lambda body: authenticode_request(SIGNATURE, attributes=tlv(0x31)),
    ],
    ids=["nul", "line-end", "lines", "attributes"],
)
def test_forms_that_clients_send(sqlite_world: World, spoil: object) -> None:
    declare(sqlite_world)
    body = spoil(authenticode_request(SIGNATURE))  # type: ignore[operator]
    read = cms.ContentInfo.load(countersigned(sqlite_world, body), strict=True)["content"]
    assert read["encap_content_info"]["content"].native == SIGNATURE


DATA = oid("1.2.840.113549.1.7.1")
KIND = oid("1.3.6.1.4.1.311.3.2.1")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"*",
        b"MIIB",
        authenticode_request(SIGNATURE)[:-8],
        authenticode_request(SIGNATURE) + b"AAAA",
        authenticode_request(SIGNATURE, kind="1.3.6.1.4.1.311.3.2.2"),
        authenticode_request(b""),
        *(
            base64.b64encode(der)
            for der in (
                tlv(0x30),
                tlv(0x30, KIND),
                tlv(0x30, KIND, tlv(0x30, oid("1.2.840.113549.1.7.2"), tlv(0xA0, tlv(0x04, b"x")))),
                tlv(0x30, KIND, tlv(0x30, DATA, tlv(0xA0, tlv(0x0C, b"x")))),
                tlv(0x30, KIND, tlv(0x30, DATA)),
                tlv(0x30, KIND, tlv(0x30, DATA, tlv(0x04, b"x"))),
                tlv(0x30, KIND, tlv(0x30, DATA, tlv(0xA0, tlv(0x04, b"x"))), tlv(0x30)),
                tlv(0x30, KIND, tlv(0x30, DATA, tlv(0xA0, tlv(0x04, b"x"), tlv(0x04, b"y")))),
            )
        ),
    ],
)
def test_what_is_no_request_is_refused_and_not_recorded(sqlite_world: World, body: bytes) -> None:
    declare(sqlite_world)
    with pytest.raises(Malformed):
        sqlite_world.services.timestamps.countersign("issuing", body)
    authority = sqlite_world.services.lookup.get("issuing").row.id
    assert sqlite_world.parts.db.read(lambda c: timestamps.count(c, authority)) == (0, 0)


@pytest.mark.row("F142")
def test_the_older_protocol_can_be_switched_off(sqlite_world: World) -> None:
    declare(sqlite_world, "enabled: true, authenticode: false")
    with pytest.raises(Refused, match="osslsigncode -ts"):
        sqlite_world.services.timestamps.countersign("issuing", authenticode_request(SIGNATURE))


def test_nobody_countersigns_where_no_timestamps_are_served(sqlite_world: World) -> None:
    declare(sqlite_world, "enabled: false")
    with pytest.raises(NotFound):
        sqlite_world.services.timestamps.countersign("issuing", authenticode_request(SIGNATURE))
