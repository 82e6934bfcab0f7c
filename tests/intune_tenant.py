"""A tenant of Intune: its application, its profiles, the challenges that it gives devices, and how it judges requests.

Certification requests are read by a stranger's library. The challenge is an encrypted and signed blob, as opaque to a
certification authority as the real one.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import AttributeOID

TENANT = "11111111-2222-3333-4444-555555555555"
APPLICATION = "66666666-7777-8888-9999-aaaaaaaaaaaa"
SECRET = "s3cr3t~with+signs&that=forms%escape"
SID = "tag:microsoft.com,2022-09-14:sid:S-1-5-21-1111111111-2222222222-333333333-1104"
_NONCE = bytes(12)
_PADDING = "x" * 1500
"""Real challenges have some thousands of characters."""


@dataclass(frozen=True)
class Profile:
    """What an administrator wants of a device's certificate. Sets are compared as they are; with neither usages nor
    extended ones, both are left to the authority."""

    subject: str = "CN=laptop-7"
    sans: frozenset[str] = frozenset({"DNS:laptop-7.corp.example", f"URI:{SID}"})
    key_usages: frozenset[str] = frozenset({"digital_signature", "key_encipherment"})
    extended: frozenset[str] = frozenset({"1.3.6.1.5.5.7.3.2"})
    bits: int = 2048
    is_targeted: bool = True
    wants_registered_key: bool = False
    signing_thumbprint: str = ""


@dataclass
class Tenant:
    """`now` is the tenant's own clock."""

    now: Callable[[], datetime]
    profiles: dict[str, Profile] = field(default_factory=lambda: {"laptops": Profile()})
    key: bytes = bytes(range(32))

    def challenge(self, profile: str = "laptops", **changes: Any) -> str:
        """What Intune puts into the SCEP profile of a device; `changes` to what stands in it, None to leave it out."""
        content = {
            "profile": profile,
            "request": str(uuid.uuid4()),
            "device": str(uuid.uuid4()),
            "user": str(uuid.uuid4()),
            "from": self.now().timestamp(),
            "until": (self.now() + timedelta(hours=1)).timestamp(),
            "padding": _PADDING,
        } | changes
        text = json.dumps({name: value for name, value in content.items() if value is not None}, sort_keys=True)
        return self.sealed(json.dumps({"content": text, "mac": self._mac(text)}))

    def sealed(self, text: str) -> str:
        return base64.b64encode(AESGCM(self.key).encrypt(_NONCE, text.encode(), None)).decode()

    def judge(self, request: str) -> str:
        """A code; `Success` for what this tenant sent a device for."""
        try:
            csr = x509.load_der_x509_csr(base64.b64decode(request, validate=True))
        except ValueError:
            return "CertificateRequestDecodingFailed"
        if not csr.is_signature_valid:
            return "CertificateRequestDecodingFailed"
        return self._judge_challenge(csr) or "Success"

    def _judge_challenge(self, csr: x509.CertificateSigningRequest) -> str:
        try:
            given = csr.attributes.get_attribute_for_oid(AttributeOID.CHALLENGE_PASSWORD).value
        except x509.AttributeNotFound:
            return "ChallengePasswordMissing"
        try:
            sealed = base64.b64decode(given, validate=True)
        except ValueError:
            return "ChallengeDecodingError"
        try:
            text = AESGCM(self.key).decrypt(_NONCE, sealed, None).decode()
        except (InvalidTag, ValueError):
            return "ChallengeDecryptionError"
        try:
            signed = json.loads(text)
            content, mac = json.loads(signed["content"]), signed["mac"]
        except (ValueError, KeyError, TypeError):
            return "ChallengeDeserializationError"
        if not hmac.compare_digest(mac, self._mac(signed["content"])):
            return "SignatureValidationFailed"
        return self._judge_content(content) or self._judge_profile(csr, content)

    def _judge_content(self, content: dict[str, Any]) -> str:
        try:
            begins, ends = (datetime.fromtimestamp(content[name], UTC) for name in ("from", "until"))
        except (KeyError, TypeError):
            return "ChallengeInvalidTimestamp"
        if begins > self.now() + timedelta(minutes=5):
            return "ChallengeInvalidTimestamp"
        if ends < self.now():
            return "ChallengeExpired"
        names = {"request": "CertificateRequest", "device": "Device", "user": "User"}
        for name, called in names.items():
            try:
                uuid.UUID(content.get(name, ""))
            except ValueError:
                return f"Bad{called}IdInChallenge"
        return ""

    def _judge_profile(self, csr: x509.CertificateSigningRequest, content: dict[str, Any]) -> str:
        profile = self.profiles.get(content["profile"], Profile(is_targeted=False))
        if not profile.is_targeted:
            return "ScepProfileNoLongerTargetedToTheClient"
        if profile.signing_thumbprint != content.get("signer", ""):
            return "SigningCertThumbprintMismatch"
        return (
            _judge_names(csr, profile)
            or _judge_key(csr, profile, content)
            or _judge_usages(csr, profile)
        )  # fmt: skip

    def _mac(self, text: str) -> str:
        return hmac.new(b"signs" + self.key, text.encode(), hashlib.sha256).hexdigest()

    def change(self, profile: str = "laptops", **changes: Any) -> None:
        self.profiles[profile] = replace(self.profiles[profile], **changes)


def _judge_names(csr: x509.CertificateSigningRequest, profile: Profile) -> str:
    if profile.subject and not list(csr.subject):
        return "SubjectNameMissing"
    if csr.subject.rfc4514_string() != profile.subject:
        return "SubjectNameMismatch"
    try:
        listed = csr.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return "SubjectAltNameMissing" if profile.sans else ""
    kinds = {x509.DNSName: "DNS", x509.UniformResourceIdentifier: "URI"}
    sans = {f"{kinds.get(type(name), 'other')}:{name.value}" for name in listed}
    return "" if sans == profile.sans else "SubjectAltNameMismatch"


def _judge_key(csr: x509.CertificateSigningRequest, profile: Profile, content: dict[str, Any]) -> str:
    key = csr.public_key()
    if not isinstance(key, rsa.RSAPublicKey) or key.key_size != profile.bits:
        return "KeyLengthMismatch"
    if not profile.wants_registered_key:
        return ""
    if not content.get("keys"):
        return "AadKeyIdentifierListMissing"
    mine = hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()
    return "" if mine in content["keys"] else "RegisteredKeyMismatch"


def _judge_usages(csr: x509.CertificateSigningRequest, profile: Profile) -> str:
    if not profile.key_usages and not profile.extended:
        return ""
    try:
        usage = csr.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return "KeyUsageMismatch"
    if any(getattr(usage, name) != (name in profile.key_usages) for name in ("digital_signature", "key_encipherment")):
        return "KeyUsageMismatch"
    try:
        extended = csr.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return "EnhancedKeyUsageMissing" if profile.extended else ""
    return "" if {oid.dotted_string for oid in extended} == profile.extended else "EnhancedKeyUsageMismatch"
