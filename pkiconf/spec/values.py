"""Small values that declared things are made of. Frozen; unknown keys are refused."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, StringConstraints, WithJsonSchema

from pkiconf.model.durations import Duration
from pkiconf.model.keys import KeyAlgorithm, get_key_algorithm
from pkiconf.model.usages import EXTENDED_KEY_USAGES


class Declared(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


def _duration(value: Any) -> Duration:
    if isinstance(value, Duration):
        return value
    if not isinstance(value, str):
        raise ValueError("a duration is a whole number and a unit, such as 90d, 12h or 10y")
    return Duration.parse(value)


DurationField = Annotated[
    Duration,
    BeforeValidator(_duration),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "pattern": r"^\d+(s|m|h|d|w|y)$", "examples": ["90d", "12h", "10y"]}),
]

Label = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$"),
    Field(description="Lower-case letters, digits and inner hyphens, at most 63; part of URLs"),
]

Reference = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z0-9-]{1,63}(?:/[a-z0-9-]{1,63})?$"),
    Field(description="A name, or authority/name where the bare name would be ambiguous"),
]

OID_PATTERN = re.compile(r"[0-2](?:\.(?:0|[1-9]\d*)){1,31}")


def _oid(value: str) -> str:
    if not OID_PATTERN.fullmatch(value):
        raise ValueError(f"{value!r} is not a dotted object identifier such as 1.3.6.1.4.1.99999.1")
    if value[0] in "01" and int(value.split(".")[1]) > 39:
        raise ValueError(f"{value!r} is not an object identifier: its second number must be below 40")
    return value


DottedOID = Annotated[str, BeforeValidator(_oid)]


def _extended_key_usage(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("an extended key usage is a name such as serverAuth, or a dotted OID in quotes")
    if value in EXTENDED_KEY_USAGES:
        return value
    for name, oid in EXTENDED_KEY_USAGES.items():
        if value == oid:
            return name
    if OID_PATTERN.fullmatch(value):
        return _oid(value)
    raise ValueError(f"{value!r} is neither a dotted OID nor one of {', '.join(EXTENDED_KEY_USAGES)}")


ExtendedKeyUsageName = Annotated[str, BeforeValidator(_extended_key_usage)]

HTTPURL = Annotated[str, StringConstraints(pattern=r"^https?://[^\s/?#]+[^\s?#]*$")]


class KeySpec(Declared):
    """What key to make."""

    type: Literal["rsa", "ec", "ed25519", "ed448", "ml-dsa"] = Field("ec", description="Kind of key")
    size: Literal[2048, 3072, 4096] | None = Field(None, description="RSA modulus in bits (default 3072)")
    curve: Literal["p256", "p384", "p521"] | None = Field(None, description="EC curve (default p384)")
    parameter_set: Literal[44, 65, 87] | None = Field(
        None, description="ML-DSA parameter set: 44 is NIST level 2, 65 level 3, 87 level 5 (default 65)"
    )

    @property
    def algorithm(self) -> KeyAlgorithm:
        suffix: dict[str, str] = {
            "rsa": f"rsa-{self.size or 3072}",
            "ec": f"ec-{self.curve or 'p384'}",
            "ml-dsa": f"ml-dsa-{self.parameter_set or 65}",
        }
        return get_key_algorithm(suffix.get(self.type, self.type))


def is_network(text: str) -> bool:
    try:
        ipaddress.ip_network(text)
    except ValueError:
        return False
    return True
