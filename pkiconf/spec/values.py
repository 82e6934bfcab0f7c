"""Small values that declared things are made of."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Annotated, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    WithJsonSchema,
)

from pkiconf.model.durations import Duration
from pkiconf.model.keys import Hash, KeyAlgorithm, KeyType, Padding, get_key_algorithm
from pkiconf.model.usages import EXTENDED_KEY_USAGES, KeyUsage
from pkiconf.spec.errors import did_you_mean
from pkiconf.spec.misfits import Advised, Declared, Misfit, Said


def _duration(value: object) -> Duration:
    if isinstance(value, Duration):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        raise Advised(f"{value} is a number without a unit", f"Write {value}d for days, or another of s, m, h, w, y")
    if not isinstance(value, str):
        raise Advised("this is not a duration", "Write a whole number and a unit, such as 90d, 12h or 10y")
    return Duration.parse(value)


DurationField = Annotated[
    Duration,
    BeforeValidator(_duration),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "pattern": r"^\d+(s|m|h|d|w|y)$", "examples": ["90d", "12h", "10y"]}),
    Said("a whole number and a unit: s, m, h, d (24 hours), w or y (calendar years), such as 90d"),
]


def _instant(value: object) -> datetime:
    if isinstance(value, str):
        value = _moment(value)
    if not isinstance(value, datetime):
        raise Advised("this is not a moment", "Write 2031-12-31 or 2031-12-31T23:59:59Z")
    if value.tzinfo is None:
        raise Advised(f"{value.isoformat()} names no time zone", f"Write {value.isoformat()}Z for UTC")
    if value.microsecond:
        raise Advised("certificates know whole seconds only", f"Write {value.replace(microsecond=0).isoformat()}")
    return value.astimezone(UTC)


def _moment(text: str) -> datetime:
    try:
        if len(text) == 10:  # a day alone means its beginning in UTC
            return datetime.fromisoformat(text).replace(tzinfo=UTC)
        return datetime.fromisoformat(text)
    except ValueError:
        raise Advised(f"{text!r} is not a moment", "Write 2031-12-31 or 2031-12-31T23:59:59Z") from None


Instant = Annotated[
    datetime,
    BeforeValidator(_instant),
    PlainSerializer(lambda moment: moment.isoformat().replace("+00:00", "Z"), return_type=str),
    WithJsonSchema({"type": "string", "examples": ["2031-12-31", "2031-12-31T23:59:59Z"]}),
    Said("a moment with its time zone, or a day, which begins at midnight UTC: 2031-12-31T23:59:59Z, 2031-12-31"),
]

LABEL_PATTERN = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


def _label(value: str) -> str:
    if LABEL_PATTERN.fullmatch(value):
        return value
    fitting = re.sub(r"[^a-z0-9]+", "-", value.lower()).strip("-")[:63].strip("-")
    raise Advised(
        f"{value[:80]!r} cannot be a name: lower-case letters, digits and inner hyphens, at most 63",
        f"Write {fitting}" if fitting else "",
    )


Label = Annotated[
    str,
    AfterValidator(_label),
    WithJsonSchema({"type": "string", "pattern": f"^{LABEL_PATTERN.pattern}$"}),
    Said("a name: lower-case letters, digits and inner hyphens, at most 63"),
]


def _reference(value: str) -> str:
    authority, slash, name = value.rpartition("/")
    return f"{_label(authority)}/{_label(name)}" if slash else _label(value)


Reference = Annotated[
    str,
    AfterValidator(_reference),
    WithJsonSchema({"type": "string", "pattern": f"^(?:{LABEL_PATTERN.pattern}/)?{LABEL_PATTERN.pattern}$"}),
    Said("a name, or authority/name"),
]

OID_PATTERN = re.compile(r"[0-2](?:\.(?:0|[1-9]\d*)){1,31}")


def _oid(value: object) -> str:
    if isinstance(value, float):
        raise Advised(f"{value} is a number to YAML, not an object identifier", f"Put it in quotes: '{value}'")
    if not isinstance(value, str) or not OID_PATTERN.fullmatch(value):
        raise ValueError(f"{value!r} is not a dotted object identifier such as 1.3.6.1.4.1.99999.1")
    if value[0] in "01" and int(value.split(".")[1]) > 39:
        raise ValueError(f"{value!r} is not an object identifier: its second number must be below 40")
    return value


DottedOID = Annotated[
    str,
    BeforeValidator(_oid),
    WithJsonSchema({"type": "string", "pattern": rf"^{OID_PATTERN.pattern}$"}),
    Said("a dotted object identifier in quotes"),
]


def _extended_key_usage(value: object) -> str:
    if not isinstance(value, str):
        raise Advised("an extended key usage is a name or an OID", f"Put it in quotes: '{value}'")
    if value in EXTENDED_KEY_USAGES:
        return value
    for name, oid in EXTENDED_KEY_USAGES.items():
        if value == oid:
            return name
    if OID_PATTERN.fullmatch(value):
        return _oid(value)
    raise Advised(
        f"{value!r} is neither an extended key usage nor a dotted OID",
        did_you_mean(value, tuple(EXTENDED_KEY_USAGES), f"Known: {', '.join(EXTENDED_KEY_USAGES)}"),
    )


ExtendedKeyUsageName = Annotated[
    str,
    BeforeValidator(_extended_key_usage),
    WithJsonSchema(
        {"anyOf": [{"enum": list(EXTENDED_KEY_USAGES)}, {"type": "string", "pattern": rf"^{OID_PATTERN.pattern}$"}]}
    ),
    Said(f"one of {', '.join(EXTENDED_KEY_USAGES)}, or a dotted object identifier in quotes"),
]


def _http_url(value: str) -> str:
    """An absolute http or https URL that an IA5String can carry (RFC 5280 §4.2.1.13, §4.2.2.1)."""
    advice = "Write a URL such as http://pki.corp.example"
    if not value.isascii() or re.search(r"[\s\x00-\x1f\x7f]", value):
        raise Advised(f"{value!r} holds characters that a URL cannot", "Use A-labels (xn--…) and %-escapes")
    if not re.match(r"https?://", value):
        raise Advised(f"{value!r} does not begin with http:// or https://", advice)
    parts = urlsplit(value)
    try:
        port_fits = parts.port != 0
    except ValueError:
        port_fits = False
    if not parts.hostname or not port_fits:
        raise Advised(f"{value!r} names no host, or a port that cannot be", advice)
    if parts.username is not None or parts.query or parts.fragment or value.endswith(("?", "#")):
        raise Advised(f"{value!r} carries a user name, a query or a fragment", advice)
    return value


HTTPURL = Annotated[
    str,
    AfterValidator(_http_url),
    WithJsonSchema({"type": "string", "pattern": r"^https?://[^\s?#]+$"}),
    Said("an absolute URL, http or https"),
]


Starter = Literal[
    "web-server", "client", "mutual-tls", "s-mime", "code-signing", "timestamping", "ocsp-signing", "device",
    "vpn-server", "vpn-client", "certificate-authority",
]  # fmt: skip


class KeySpec(Declared):
    """What key to make."""

    default_curve: ClassVar[str] = "p384"

    type: Literal["rsa", "ec", "ed25519", "ed448", "ml-dsa"] = Field("ec", description="Kind of key")
    size: Literal[2048, 3072, 4096] | None = Field(None, description="RSA modulus in bits. Default: 3072")
    curve: Literal["p256", "p384", "p521"] | None = Field(None, description="EC curve. Default: p384")
    parameter_set: Literal[44, 65, 87] | None = Field(
        None,
        description="ML-DSA parameter set: 44 is NIST level 2, 65 level 3, 87 level 5. Default: 65",
        json_schema_extra={"rfc": "FIPS 204; RFC 9881"},
    )

    def misfits(self, written: bool) -> Iterator[Misfit]:
        for field, wanted in (("size", "rsa"), ("curve", "ec"), ("parameter_set", "ml-dsa")):
            if getattr(self, field) is not None and self.type != wanted:
                kind = f"a key of type {self.type}" if self.wrote("type") else f"the default key type {self.type}"
                yield Misfit(
                    (field, "type"), f"{field} does not go with {kind}", f"Write type: {wanted}, or remove {field}"
                )

    @property
    def algorithm(self) -> KeyAlgorithm:
        suffix: dict[str, str] = {
            "rsa": f"rsa-{self.size or 3072}",
            "ec": f"ec-{self.curve or self.default_curve}",
            "ml-dsa": f"ml-dsa-{self.parameter_set or 65}",
        }
        return get_key_algorithm(suffix.get(self.type, self.type))


def signature_misfits(key_type: str, hash: Hash | None, padding: Padding | None, key: str = "key") -> Iterator[Misfit]:
    """A hash is chosen for RSA and EC keys only, a padding for RSA keys only (RFC 8410 §3, RFC 9881 §2)."""
    if hash is not None and key_type not in (KeyType.RSA, KeyType.EC):
        yield Misfit(
            ("signature_hash", f"{key}.type"),
            f"signature_hash does not go with a key of type {key_type}, which fixes its own hash",
            "Remove signature_hash",
        )
    if padding is not None and key_type != KeyType.RSA:
        yield Misfit(
            ("signature_padding", f"{key}.type"),
            f"signature_padding does not go with a key of type {key_type}",
            "Write key: {type: rsa}, or remove signature_padding",
        )


def repeated_misfits(field: str, values: Sequence[str]) -> Iterator[Misfit]:
    for value in dict.fromkeys(value for value in values if values.count(value) > 1):
        yield Misfit((field,), f"{field} lists {value} twice", "Keep one of them")


def key_usage_misfits(field: str, usages: tuple[KeyUsage, ...]) -> Iterator[Misfit]:
    """RFC 5280 §4.2.1.3: encipherOnly and decipherOnly mean nothing without keyAgreement."""
    yield from repeated_misfits(field, usages)
    only = [usage for usage in usages if usage in (KeyUsage.ENCIPHER_ONLY, KeyUsage.DECIPHER_ONLY)]
    if only and KeyUsage.KEY_AGREEMENT not in usages:
        yield Misfit((field,), f"{only[0]} means nothing without keyAgreement (RFC 5280 §4.2.1.3)", "Add keyAgreement")
