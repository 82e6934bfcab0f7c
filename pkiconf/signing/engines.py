"""Which kinds of keys this machine's engine can really use: found by using them."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from pkiconf.errors import PkiconfError
from pkiconf.model.keys import KEY_ALGORITHMS, KeyAlgorithm, KeyType
from pkiconf.signing.local import generate, load_sealed
from pkiconf.signing.signer import Kind, SigningOrder


def find_missing() -> tuple[str, ...]:
    """Names of the key algorithms that cannot be made and used here.

    RSA is left out: every build has it, and making a key takes long.
    """
    probed = (row for row in KEY_ALGORITHMS.values() if row.type is not KeyType.RSA)
    return tuple(row.name for row in probed if not can_sign(row))


def can_sign(algorithm: KeyAlgorithm) -> bool:
    """Whether a key can be made, kept as PKCS#8, loaded again and sign."""
    try:
        signer = load_sealed(generate(algorithm)[0])
        order = SigningOrder(
            UUID(int=0), Kind.CHECKPOINT, b"probe", signer.algorithms[0], datetime.max.replace(tzinfo=UTC)
        )
        return bool(signer.sign(order))
    except PkiconfError:
        return False
