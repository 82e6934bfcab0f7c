"""A PKI that stamps, and strangers that ask it: openssl makes the requests and judges the answers."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import ClassVar

from asn1crypto import cms, core, tsp

from pkiconf.der.pem import pem_encode
from pkiconf.model.timestamps import FailureInfo
from tests.tools import accepted, run_tool
from tests.vectors.construct import oid, tlv
from tests.world import World

DATA = b"what is to be stamped\n"


def declare(world: World, timestamp: str = "enabled: true", services: str = "", settings: str = "") -> None:
    """A root and an authority below it, which stamps."""
    key = f", service_certificates: {{ key: {{ {services} }} }}" if services else ""
    stamping = f"{{ name: issuing, issuer: root{key}, timestamp: {{ {timestamp} }} }}"
    text = f"authorities: [ {{ name: root }}, {stamping} ]"
    assert world.apply(f"{f'settings: {{ {settings} }}' if settings else ''}\n{text}").exit_code == 0


def query(folder: Path, *options: str, data: bytes = DATA) -> bytes:
    """A TimeStampReq by openssl: SHA-256, a nonce, certificates wanted, unless `options` say otherwise."""
    (folder / "data").write_bytes(data)
    words = options or ("-sha256", "-cert")
    accepted(run_tool("openssl", "ts", "-query", "-data", folder / "data", "-out", folder / "request.tsq", *words))
    return (folder / "request.tsq").read_bytes()


def granted(world: World, request: bytes, slug: str = "issuing") -> bytes:
    response, failure = world.services.timestamps.answer(slug, request)
    assert failure is None
    return response


def refused(world: World, request: bytes, slug: str = "issuing") -> tuple[FailureInfo, str]:
    """The failure and the sentence of a response without a token."""
    response, failure = world.services.timestamps.answer(slug, request)
    assert failure is not None
    status = Refusal.load(response, strict=True)["status"]
    assert status["status"].native == "rejection"
    (text,) = status["status_string"].native
    unused, *octets = status["fail_info"].contents
    assert octets[-1] == 1 << unused
    assert octets[-1] == 0x80 >> failure % 8
    return failure, text


class Refusal(core.Sequence):  # type: ignore[misc]
    """asn1crypto's own TimeStampResp demands a token."""

    _fields: ClassVar = [("status", tsp.PKIStatusInfo)]


def tst_info(response: bytes) -> tsp.TSTInfo:
    found = tsp.TimeStampResp.load(response, strict=True)["time_stamp_token"]["content"]
    return found["encap_content_info"]["content"].parsed


def signed_data(response: bytes) -> cms.SignedData:
    return tsp.TimeStampResp.load(response, strict=True)["time_stamp_token"]["content"]


def trust(world: World, folder: Path) -> tuple[Path, Path]:
    """Files with the root, and with what may lie between it and a signer."""
    root, between = folder / "root.pem", folder / "between.pem"
    root.write_text(pem_encode("CERTIFICATE", world.services.lookup.export("root", "der")))
    between.write_text(pem_encode("CERTIFICATE", world.services.lookup.export("issuing", "der")))
    return root, between


def verify(world: World, folder: Path, response: bytes, *options: str | Path, data: bytes = DATA) -> None:
    """openssl believes the token, at the time that the world's clock shows."""
    root, between = trust(world, folder)
    (folder / "response.tsr").write_bytes(response)
    (folder / "data").write_bytes(data)
    now = str(int(world.clock.now().timestamp()))
    words = options or ("-data", folder / "data")
    judged = run_tool(
        *("openssl", "ts", "-verify", "-in", folder / "response.tsr", "-CAfile", root, "-untrusted", between),
        *("-attime", now, *words),
    )
    assert "Verification: OK" in accepted(judged)


def authenticode_request(content: bytes, kind: str = "1.3.6.1.4.1.311.3.2.1", attributes: bytes = b"") -> bytes:
    """As signtool /t and osslsigncode -t send it: base64."""
    data = tlv(0x30, oid("1.2.840.113549.1.7.1"), tlv(0xA0, tlv(0x04, content)))
    return base64.b64encode(tlv(0x30, oid(kind), attributes, data))
