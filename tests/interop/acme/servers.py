"""Web servers that obtain their own certificates: running, and asked over TLS what they serve."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

from tests.interop.acme.pki import PKI
from tests.serving.running import Running


def served(pki: PKI, name: str, port: int) -> bytes | None:
    """The certificate (DER) that a server shows for a name, verified up to our root; None while there is none."""
    context = ssl.create_default_context(cafile=str(pki.root))
    try:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=5) as plain,
            context.wrap_socket(plain, server_hostname=name) as connection,
        ):
            return connection.getpeercert(binary_form=True)
    except (OSError, ssl.SSLError):
        return None


def still_running(tree: Running) -> bool:
    assert tree.process.poll() is None, tree.text
    return True


def pem(folder: Path, der: bytes) -> Path:
    path = folder / "served.pem"
    path.write_text(ssl.DER_cert_to_PEM_cert(der))
    return path
