"""OpenSSL judges timestamps: it reads them, and validates them with the logs' keys in a TLS handshake."""

from __future__ import annotations

import base64
import re
import subprocess
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from pkiconf.clock import SystemClock
from pkiconf.der.pem import pem_encode
from tests.ct_log import Log, serving, trusting
from tests.ports import free_port
from tests.serving.running import eventually
from tests.tools import accepted, find_tool, run_tool
from tests.world import World, make_csr


def _moments_ago() -> float:
    """OpenSSL compares with the second in which the session began, so what is of the same second is of the future."""
    return time.time() - 10


@pytest.fixture
def made(sqlite_world: World, tmp_path: Path) -> tuple[Path, tuple[Log, ...]]:
    """A folder with leaf and chain, the key and the root; and the three logs that the leaf has timestamps of."""
    sqlite_world.clock.moment = SystemClock().now()
    sqlite_world.https.trust = trusting
    key = ec.generate_private_key(ec.SECP256R1())
    rsa_key = rsa.generate_private_key(65537, 2048)
    logs = tuple(Log(clock=_moments_ago, **more) for more in ({}, {"key": rsa_key}, {"static": True}))
    with serving(*logs):
        ct = f"ct: {{ logs: [{', '.join(log.declared for log in logs)}], required_scts: 3 }}"
        declared = "authorities: [{ name: root }, { name: issuing, issuer: root }]\n"
        assert sqlite_world.apply(f"{declared}templates: [{{ name: web, authority: issuing, {ct} }}]").exit_code == 0
        issued = sqlite_world.issued("issuing/web", make_csr(key=key))
    sqlite_world.https.close()
    path = (issued.der, *issued.chain)
    (tmp_path / "leaf.pem").write_text("".join(pem_encode("CERTIFICATE", der) for der in path))
    (tmp_path / "shown.pem").write_text(pem_encode("CERTIFICATE", logs[0].seen[0][0]))
    (tmp_path / "root.pem").write_text(pem_encode("CERTIFICATE", logs[0].seen[0][-1]))
    (tmp_path / "leaf.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return tmp_path, logs


def test_openssl_reads_poison_and_timestamps(made: tuple[Path, tuple[Log, ...]]) -> None:
    folder, logs = made
    text = accepted(run_tool("openssl", "x509", "-in", folder / "leaf.pem", "-noout", "-text"))
    assert text.count("Signed Certificate Timestamp:") == 3
    named = {re.sub(r"[\s:]", "", found) for found in re.findall(r"Log ID\s+:((?:\s*[0-9A-F]{2}:?)+)", text)}
    assert named == {log.id.hex().upper() for log in logs}
    assert "CT Precertificate Poison: critical" in accepted(
        run_tool("openssl", "x509", "-in", folder / "shown.pem", "-noout", "-text")
    )
    accepted(
        run_tool(
            "openssl", "verify", "-x509_strict", "-CAfile", folder / "root.pem", "-untrusted", folder / "leaf.pem",
            folder / "leaf.pem",
        )
    )  # fmt: skip
    refused = run_tool(
        "openssl", "verify", "-CAfile", folder / "root.pem", "-untrusted", folder / "leaf.pem", folder / "shown.pem"
    )
    assert refused.returncode != 0, "nobody takes the precertificate for a certificate"


@pytest.mark.row("F85")
def test_openssl_validates_the_timestamps_in_a_handshake(made: tuple[Path, tuple[Log, ...]]) -> None:
    folder, logs = made
    lines = [f"enabled_logs = {','.join(f'log{number}' for number in range(len(logs)))}"]
    for number, log in enumerate(logs):
        lines += [f"[log{number}]", f"description = log {number}", f"key = {base64.b64encode(log.spki).decode()}"]
    (folder / "logs.cnf").write_text("\n".join(lines) + "\n")
    port = free_port()
    server = subprocess.Popen(
        [find_tool("openssl"), "s_server", "-accept", f"127.0.0.1:{port}", "-cert", folder / "leaf.pem",
         "-cert_chain", folder / "leaf.pem", "-key", folder / "leaf.key", "-quiet"],
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        seen: list[str] = []

        def connected() -> bool:
            done = run_tool(
                "openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-CAfile", folder / "root.pem", "-ct",
                "-ctlogfile", folder / "logs.cnf", "-verify_return_error",
            )  # fmt: skip
            seen.append((done.stdout + done.stderr).decode(errors="replace"))
            return "SCTs present" in seen[-1]

        eventually(connected)
    finally:
        server.kill()
        server.wait(30)
        assert server.stdin is not None
        server.stdin.close()
    assert "SCTs present (3)" in seen[-1]
    assert seen[-1].lower().count("validation status: valid") == 3, seen[-1]
