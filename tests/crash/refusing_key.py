"""A command line in a process whose keys refuse to sign certificates, as a token may."""

from __future__ import annotations

import sys

from pkiconf.cli.app import main
from pkiconf.errors import NotSigned
from pkiconf.signing.local import LocalSigner
from pkiconf.signing.signer import Kind, SigningOrder

sign = LocalSigner.sign


def refuse(self: LocalSigner, order: SigningOrder) -> bytes:
    if order.kind is Kind.CERTIFICATE:
        raise NotSigned("the key refused")
    return sign(self, order)


if __name__ == "__main__":
    LocalSigner.sign = refuse  # type: ignore[method-assign]
    sys.exit(main(sys.argv[1:]))
