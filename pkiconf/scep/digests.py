"""What is stored of passphrases, passwords and challenges: HMAC-SHA-256 under a key that never leaves the database
unsealed, each bound to its template and purpose. Whoever has the database alone can try nothing against it; a slow hash
would protect less and cost each enrolment a multiple of its cryptography."""

from __future__ import annotations

from enum import Enum

from pkiconf.issuance.parts import Parts


class Purpose(Enum):
    PASSPHRASE = b"pkiconf SCEP passphrase 1\n"
    BASIC_AUTH = b"pkiconf SCEP basic authentication 1\n"
    CHALLENGE = b"pkiconf SCEP challenge 1\n"


def digest_of(parts: Parts, purpose: Purpose, template_id: int, secret: bytes) -> bytes:
    """32 octets."""
    return parts.audit.mac(purpose.value, template_id.to_bytes(8, "big") + secret)
