"""The one table of subject attribute types (RFC 5280 Appendix A, X.520, RFC 4519, CA/B Forum EV)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

UTF8_STRING: Final = 12
PRINTABLE_STRING: Final = 19
IA5_STRING: Final = 22


@dataclass(frozen=True, slots=True)
class AttributeType:
    """`name` is the YAML key, `short` what RFC 4514 text and `--set subject.SHORT=` use,
    `upper_bound` the RFC 5280 limit in characters (None: no limit)."""

    name: str
    short: str
    oid: str
    string_tag: int = UTF8_STRING
    upper_bound: int | None = None


# In the order in which a declared subject is encoded: from the widest to the narrowest.
_ROWS = (
    AttributeType("domain_component", "DC", "0.9.2342.19200300.100.1.25", IA5_STRING),
    AttributeType("country", "C", "2.5.4.6", PRINTABLE_STRING, 2),
    AttributeType("state", "ST", "2.5.4.8", upper_bound=128),
    AttributeType("locality", "L", "2.5.4.7", upper_bound=128),
    AttributeType("postal_code", "postalCode", "2.5.4.17", upper_bound=40),
    AttributeType("street_address", "street", "2.5.4.9", upper_bound=128),
    AttributeType("jurisdiction_country", "jurisdictionC", "1.3.6.1.4.1.311.60.2.1.3", PRINTABLE_STRING, 2),
    AttributeType("jurisdiction_state", "jurisdictionST", "1.3.6.1.4.1.311.60.2.1.2", upper_bound=128),
    AttributeType("jurisdiction_locality", "jurisdictionL", "1.3.6.1.4.1.311.60.2.1.1", upper_bound=128),
    AttributeType("business_category", "businessCategory", "2.5.4.15", upper_bound=128),
    AttributeType("organization", "O", "2.5.4.10", upper_bound=64),
    AttributeType("organization_identifier", "organizationIdentifier", "2.5.4.97"),
    AttributeType("organizational_unit", "OU", "2.5.4.11", upper_bound=64),
    AttributeType("title", "title", "2.5.4.12", upper_bound=64),
    AttributeType("given_name", "GN", "2.5.4.42", upper_bound=32768),
    AttributeType("surname", "SN", "2.5.4.4", upper_bound=32768),
    AttributeType("initials", "initials", "2.5.4.43", upper_bound=32768),
    AttributeType("generation_qualifier", "generationQualifier", "2.5.4.44", upper_bound=32768),
    AttributeType("pseudonym", "pseudonym", "2.5.4.65", upper_bound=128),
    AttributeType("dn_qualifier", "dnQualifier", "2.5.4.46", PRINTABLE_STRING),
    AttributeType("user_id", "UID", "0.9.2342.19200300.100.1.1", upper_bound=256),
    AttributeType("common_name", "CN", "2.5.4.3", upper_bound=64),
    AttributeType("serial_number", "serialNumber", "2.5.4.5", PRINTABLE_STRING, 64),
    AttributeType("email_address", "emailAddress", "1.2.840.113549.1.9.1", IA5_STRING, 255),
)

ATTRIBUTE_TYPES: Final[tuple[AttributeType, ...]] = _ROWS
BY_OID: Final[Mapping[str, AttributeType]] = MappingProxyType({row.oid: row for row in _ROWS})
BY_NAME: Final[Mapping[str, AttributeType]] = MappingProxyType(
    {spelling.lower(): row for row in _ROWS for spelling in (row.name, row.short)}
)

COMMON_NAME: Final = "2.5.4.3"
EMAIL_ADDRESS: Final = "1.2.840.113549.1.9.1"
