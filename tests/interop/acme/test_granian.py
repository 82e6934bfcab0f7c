"""lego, with granian as the server."""

from __future__ import annotations

from pathlib import Path

from tests.interop.acme.pki import running_pki
from tests.interop.acme.test_lego import Lego


def test_http_and_revocation(tmp_path: Path) -> None:
    with running_pki(tmp_path, None, "granian") as pki:
        lego = Lego(pki, tmp_path / "lego")
        names = ("granian.corp.example", "www.granian.corp.example")
        said = lego.run(*lego.http, "run", names=names)
        assert "Server responded with a certificate." in said
        leaf = lego.certificate(names[0])
        pki.verified(leaf, name=names[1])
        assert not pki.is_revoked(leaf, "issuing")
        assert "Certificate was revoked." in lego.run("revoke", "--keep", names=names[:1])
        assert pki.is_revoked(leaf, "issuing")
