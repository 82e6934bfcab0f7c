"""micromdm's `scepclient`, with granian as the server."""

from __future__ import annotations

from pathlib import Path

from tests.interop.scep.pki import running_pki
from tests.interop.scep.test_scepclient import ScepClient


def test_enrolment(tmp_path: Path) -> None:
    with running_pki(tmp_path, "granian") as pki:
        (tmp_path / "client").mkdir()
        client = ScepClient(pki, tmp_path / "client")
        said = client.run("rsa")
        assert "pkiStatus=SUCCESS" in said, said
        assert "micro" in pki.verified(client.folder / "cert.pem", "rsa")
