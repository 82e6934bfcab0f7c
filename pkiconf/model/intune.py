"""What Microsoft Intune and a certification authority tell each other, in values (ScepRequestValidationFEService,
PkiConnectorFEService)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import Final

from pkiconf.model.secret import Secret

AUTHORITY_URL: Final = "https://login.microsoftonline.com/"
GRAPH_URL: Final = "https://graph.microsoft.com/"
RESOURCE_URL: Final = "https://api.manage.microsoft.com/"
INTUNE_APPLICATION: Final = "0000000a-0000-0000-c000-000000000000"
"""Intune's own application id, whose endpoints Graph lists."""

SUCCESS: Final = "Success"


class IntuneServiceName(StrEnum):
    """As Graph's `providerName` has them; compared without regard to case."""

    VALIDATION = "ScepRequestValidationFEService"
    REVOCATION = "PkiConnectorFEService"


@dataclass(frozen=True, slots=True)
class IntuneAccess:
    """How a tenant's Intune is reached. The URLs differ in national clouds; each ends in a slash."""

    tenant_id: str
    client_id: str
    client_secret: Secret = field(repr=False)
    authority_url: str = AUTHORITY_URL
    graph_url: str = GRAPH_URL
    resource_url: str = RESOURCE_URL

    @property
    def key(self) -> str:
        """The same for accesses that see the same, with the same secret; tells nothing of it."""
        places = (self.tenant_id, self.client_id, self.authority_url, self.graph_url, self.resource_url)
        digest = hashlib.sha256(b"\0".join([*(text.encode() for text in places), self.client_secret.reveal()]))
        return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What Intune says to a request or a notification: `code` is `Success`, or says why not."""

    code: str
    description: str = ""

    @property
    def is_success(self) -> bool:
        """Exactly `Success`: codes are compared with their case."""
        return self.code == SUCCESS

    def __str__(self) -> str:
        """For the log: on one line, whatever the code is."""
        code = self.code if self.code.isprintable() else repr(self.code)
        return f"{code}: {self.description}" if self.description else code


REFUSALS: Final = frozenset(
    {
        "Unknown",
        "CertificateRequestDecodingFailed",
        "ChallengePasswordMissing",
        "ChallengeDeserializationError",
        "ChallengeDecryptionError",
        "ChallengeDecodingError",
        "ChallengeInvalidTimestamp",
        "ChallengeExpired",
        "SubjectNameMissing",
        "SubjectNameMismatch",
        "SubjectAltNameMissing",
        "SubjectAltNameMismatch",
        "KeyUsageMismatch",
        "KeyLengthMismatch",
        "EnhancedKeyUsageMissing",
        "EnhancedKeyUsageMismatch",
        "AadKeyIdentifierListMissing",
        "RegisteredKeyMismatch",
        "SigningCertThumbprintMismatch",
        "ScepProfileNoLongerTargetedToTheClient",
        "SignatureValidationFailed",
        "BadCertificateRequestIdInChallenge",
        "BadDeviceIdInChallenge",
        "BadUserIdInChallenge",
    }
)
"""The codes that are known not to be `Success`. One that is in neither place refuses as well, and is logged as new."""


NO_CHALLENGES: Final = frozenset(
    {
        "ChallengePasswordMissing",
        "ChallengeDeserializationError",
        "ChallengeDecryptionError",
        "ChallengeDecodingError",
    }
)
"""The codes for what Intune never gave to a device."""


class HResult(Enum):
    """What a failure notification carries, as the number that JSON has: a 32-bit HRESULT without a sign."""

    FAIL = 0x80004005
    ACCESS_DENIED = 0x80070005


MOST_OF_DESCRIPTION: Final = 255
"""Characters of a failure notification's text."""


class RevocationResult(Enum):
    """What became of a revocation that Intune asked for: name as it is sent, and code. From 4100 on Intune asks again
    later."""

    NONE = ("None", 0)
    NON_RETRYABLE = ("NonRetryableServiceException", 4000)
    DATA_SERIALIZATION = ("DataSerializationError", 4001)
    PARAMETER_DATA_INVALID = ("ParameterDataInvalidError", 4002)
    CRYPTOGRAPHY = ("CryptographyError", 4003)
    CERTIFICATE_NOT_FOUND = ("CertificateNotFoundError", 4004)
    CONFLICT = ("ConflictError", 4005)
    NOT_SUPPORTED = ("NotSupportedError", 4006)
    PAYLOAD_TOO_LARGE = ("PayloadTooLargeError", 4007)
    RETRYABLE = ("RetryableServiceException", 4100)
    SERVICE_UNAVAILABLE = ("ServiceUnavailableException", 4101)
    SERVICE_TOO_BUSY = ("ServiceTooBusyException", 4102)
    AUTHENTICATION = ("AuthenticationException", 4103)

    def __init__(self, text: str, code: int) -> None:
        self.text = text
        self.code = code


@dataclass(frozen=True, slots=True)
class RevocationRequest:
    """`context` is opaque, and goes back as it came; `serial_number` is hexadecimal, in whatever spelling."""

    context: str
    serial_number: str
    issuer_name: str


@dataclass(frozen=True, slots=True)
class RevocationAnswer:
    """`message` is empty where it succeeded."""

    context: str
    result: RevocationResult = RevocationResult.NONE
    message: str = ""


@dataclass(frozen=True, slots=True)
class IssuedNotice:
    """What Intune is told of a certificate before a device gets it. `serial_number` and `thumbprint` (SHA-1 of the
    certificate) are upper-case hexadecimal; `ends` is ISO 8601; the last two come back when it is to be revoked."""

    thumbprint: str
    serial_number: str
    ends: str
    issuer_name: str
    ca_configuration: str
    certificate_authority: str
