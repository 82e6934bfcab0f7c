"""A PKI that stamps, and strangers that ask it: openssl makes the requests and judges the answers."""

from __future__ import annotations

from pathlib import Path

from asn1crypto import cms, tsp

from pkiconf.der.pem import pem_encode
from pkiconf.model.timestamps import FailureInfo
from tests.tools import accepted, run_tool
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
    assert failure is None, tsp.TimeStampResp.load(response)["status"].native
    return response


def refused(world: World, request: bytes, slug: str = "issuing") -> tuple[FailureInfo, str]:
    """The failure and the sentence of a response without a token."""
    response, failure = world.services.timestamps.answer(slug, request)
    assert failure is not None
    read = tsp.TimeStampResp.load(response, strict=True)
    assert "time_stamp_token" not in read.native or read.native["time_stamp_token"] is None
    status = read["status"]
    assert status["status"].native == "rejection"
    (text,) = status["status_string"].native
    bits = status["fail_info"]
    assert bits.native == {failure.name.lower()} or failure.value in _bits(bits.contents)
    return failure, text


def _bits(contents: bytes) -> set[int]:
    octets = contents[1:]
    return {i for i in range(8 * len(octets)) if octets[i // 8] & 0x80 >> i % 8}


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
