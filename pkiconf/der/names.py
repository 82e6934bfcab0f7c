"""Names, as DER and as text: the doors to the modules that do the work."""

from __future__ import annotations

from pkiconf.der.distinguished_name_text import name_text, parse_name_text
from pkiconf.der.distinguished_names import check_attribute, encode_name, parse_name
from pkiconf.der.general_name_text import general_name_text, parse_general_name_text
from pkiconf.der.general_names import (
    check_general_name,
    encode_general_name,
    encode_general_names,
    parse_general_names,
)
from pkiconf.der.name_syntax import to_a_labels

__all__ = [
    "check_attribute",
    "check_general_name",
    "encode_general_name",
    "encode_general_names",
    "encode_name",
    "general_name_text",
    "name_text",
    "parse_general_name_text",
    "parse_general_names",
    "parse_name",
    "parse_name_text",
    "to_a_labels",
]
