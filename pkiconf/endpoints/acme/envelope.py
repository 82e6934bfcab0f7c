"""The flattened JWS around every request (RFC 8555 §6.2), and the two that can stand in one (§7.3.4, §7.3.5)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pkiconf.endpoints.acme.jws import (
    MAC_ALGORITHMS,
    SIGNATURE_ALGORITHMS,
    PublicKey,
    bad_algorithm,
    check_mac,
    read_key,
)
from pkiconf.endpoints.acme.strict import decode_base64url, malformed, parse_object
from pkiconf.model.acme import AccountKey, ACMEProblem, ProblemType

_MEMBERS = frozenset({"protected", "payload", "signature"})


@dataclass(frozen=True, slots=True)
class JWS:
    """`header` is the protected one, and nothing in it is proved before the signature was checked."""

    header: Mapping[str, Any]
    algorithm: str
    payload: bytes
    signature: bytes
    signing_input: bytes

    def text(self, name: str) -> str | None:
        """A member of the header that has to be a string if it is there. Raises ACMEProblem `malformed`."""
        value = self.header.get(name)
        if value is not None and not isinstance(value, str):
            raise malformed(f"header parameter {name!r} is not a string")
        return value

    def check(self, key: PublicKey) -> None:
        key.verify(self.algorithm, self.signing_input, self.signature)


def read_jws(value: bytes | object, what: str, algorithms: tuple[str, ...] = SIGNATURE_ALGORITHMS) -> JWS:
    """A JWS from JSON text, or from what that text was parsed to. Raises ACMEProblem: `malformed`,
    `badSignatureAlgorithm` for anything but `algorithms` (`none` and MACs among it)."""
    found = parse_object(value, what) if isinstance(value, bytes) else value
    if not isinstance(found, dict):
        raise malformed(f"{what} is not a JSON object")
    _check_members(found, what)
    protected = found["protected"]
    header = parse_object(decode_base64url(protected, f"protected of {what}"), f"the protected header of {what}")
    for name in ("crit", "b64"):  # RFC 7515 §4.1.11, RFC 7797: nothing critical is understood here
        if name in header:
            raise malformed(f"header parameter {name!r} of {what} is not understood: leave it out")
    algorithm = header.get("alg")
    if not isinstance(algorithm, str):
        raise malformed(f"{what} has no alg in its protected header")
    if algorithm not in algorithms:
        raise bad_algorithm(f"alg {algorithm[:40]!r} of {what} is not accepted: use {', '.join(algorithms)}")
    payload = found["payload"]
    return JWS(
        header,
        algorithm,
        decode_base64url(payload, f"payload of {what}"),
        decode_base64url(found["signature"], f"signature of {what}"),
        f"{protected}.{payload}".encode(),
    )


def _check_members(found: Mapping[str, Any], what: str) -> None:
    if found.keys() == _MEMBERS:
        return
    if "signatures" in found:
        raise malformed(f"{what} has several signatures: use the flattened serialization (RFC 8555 §6.2)")
    if "header" in found:
        raise malformed(f"{what} has an unprotected header, which must not be used (RFC 8555 §6.2)")
    for name in sorted(_MEMBERS - found.keys()):
        raise malformed(f"{what} has no member {name!r}")
    extra = min(found.keys() - _MEMBERS)
    raise malformed(f"{what} has a member {extra[:40]!r}, where protected, payload and signature belong alone")


# --- external account binding ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class BindingJWS:
    """`key_id` is what the client claims; `check` is told the key that belongs to it."""

    key_id: str
    inner: JWS

    def check(self, key: bytes, account_key: AccountKey) -> None:
        """Raises ACMEProblem `unauthorized` unless the MAC holds and is over the account's key."""
        if not check_mac(self.inner.algorithm, key, self.inner.signing_input, self.inner.signature):
            raise _unauthorized(
                "the MAC of externalAccountBinding does not hold: check that the HMAC key belongs to the key "
                "identifier, and that it was given whole, as base64url without padding"
            )
        # Some clients put their private members in here too; it is the key that counts, not how it is written.
        bound = read_key(parse_object(self.inner.payload, _BINDING_PAYLOAD), ignore_private=True)
        if bound.account_key.thumbprint != account_key.thumbprint:
            raise _unauthorized("externalAccountBinding is over another key than the one that signs the request")


_BINDING = "externalAccountBinding"
_BINDING_PAYLOAD = "the payload of externalAccountBinding"


def read_binding(value: object, url: str) -> BindingJWS:
    """§7.3.4. Raises ACMEProblem `malformed`, `unauthorized` where it is for another `url`."""
    inner = _read_macced(value)
    if "nonce" in inner.header:
        raise malformed("the header of externalAccountBinding has a nonce, which must not be there (RFC 8555 §7.3.4)")
    key_id = inner.text("kid")
    if not key_id:
        raise malformed("the header of externalAccountBinding has no kid: it is the binding's key identifier")
    if inner.text("url") != url:
        raise _unauthorized("url in the header of externalAccountBinding is not that of the request")
    return BindingJWS(key_id, inner)


def _read_macced(value: object) -> JWS:
    try:
        return read_jws(value, _BINDING, MAC_ALGORITHMS)
    except ACMEProblem as problem:
        if problem.problem.type is ProblemType.BAD_SIGNATURE_ALGORITHM:
            raise malformed(problem.detail) from None  # that type tells of algorithms for account keys
        raise


# --- key change --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class KeyChange:
    """The inner JWS of §7.3.5, its signature by the new key checked."""

    key: PublicKey
    account: str
    old_key: PublicKey


def read_key_change(payload: bytes, url: str) -> KeyChange:
    """Raises ACMEProblem: `malformed`, `badPublicKey`, `badSignatureAlgorithm`, `unauthorized`."""
    inner = read_jws(payload, "the inner JWS")
    if "kid" in inner.header or "jwk" not in inner.header:
        raise malformed("the inner JWS names its key by jwk, and has no kid (RFC 8555 §7.3.5)")
    if "nonce" in inner.header:
        raise malformed("the inner JWS has a nonce, which must not be there (RFC 8555 §7.3.5)")
    if inner.text("url") != url:
        raise malformed("url of the inner JWS is not that of the outer one")
    key = read_key(inner.header["jwk"])
    inner.check(key)
    wish = parse_object(inner.payload, "the payload of the inner JWS")
    account = wish.get("account")
    if not isinstance(account, str):
        raise malformed("account in the inner JWS is not a string: it is the account's URL")
    if "oldKey" not in wish:
        raise malformed("the inner JWS has no oldKey")
    return KeyChange(key, account, read_key(wish["oldKey"]))


def _unauthorized(detail: str) -> ACMEProblem:
    return ACMEProblem(ProblemType.UNAUTHORIZED, detail)
