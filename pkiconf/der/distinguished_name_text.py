"""Distinguished names as people write them (RFC 4514)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from pkiconf.der.distinguished_names import CONTROL_CHARACTERS, label
from pkiconf.der.name_syntax import quoted
from pkiconf.errors import Malformed
from pkiconf.model.attributes import ATTRIBUTE_TYPES, BY_NAME
from pkiconf.model.names import Attribute, Name

_OID: Final = re.compile(r"(?:OID\.)?([0-2](?:\.(?:0|[1-9]\d*))+)", re.IGNORECASE)
_ESCAPED: Final = '\\,+"<>;='
_PAIR: Final = re.compile(r"\\(?:([0-9A-Fa-f]{2})|(.))", re.DOTALL)
_SPECIAL: Final = _ESCAPED + " #"


def name_text(name: Name) -> str:
    """RFC 4514 text, the most specific name first, as the RFC and LDAP have it: `CN=web,O=Example Corp,C=NL`."""
    return ",".join("+".join(map(_attribute_text, rdn)) for rdn in reversed(name.rdns))


def _attribute_text(attribute: Attribute) -> str:
    return f"{label(attribute.oid)}={''.join(_escape(attribute.value))}"


def _escape(value: str) -> Iterator[str]:
    for at, character in enumerate(value):
        if character in _ESCAPED or (character == " " and at in (0, len(value) - 1)) or (character == "#" and at == 0):
            yield "\\" + character
        elif CONTROL_CHARACTERS.match(character):
            yield "".join(f"\\{octet:02x}" for octet in character.encode("utf-8", "surrogatepass"))
        else:
            yield character


def parse_name_text(text: str) -> Name:
    """Reads what `name_text` writes; attribute types by short name, YAML key or dotted OID, in any case; blanks
    around separators are ignored. Raises Malformed."""
    if not text.strip():
        return Name()
    rdns = [tuple(_parse_attribute(part) for part in _split(rdn, "+")) for rdn in _split(text, ",;")]
    return Name(tuple(reversed(rdns)))


def _split(text: str, separators: str) -> Iterator[str]:
    """Cut at separators that are neither escaped nor in quotes."""
    start, at, in_quotes = 0, 0, False
    while at < len(text):
        if text[at] == "\\":
            at += 1
        elif text[at] == '"':
            in_quotes = not in_quotes
        elif text[at] in separators and not in_quotes:
            yield text[start:at]
            start = at + 1
        at += 1
    if in_quotes:
        raise Malformed(f"a quotation mark in {quoted(text)} is never closed")
    yield text[start:]


def _parse_attribute(text: str) -> Attribute:
    kind, sign, value = text.partition("=")
    if not sign:
        raise Malformed(
            f"{quoted(text.strip())} is not TYPE=VALUE",
            "Write a name like CN=web,O=Example Corp,C=NL; escape , + = with \\",
        )
    return Attribute(_attribute_oid(kind.strip()), _unescape(value))


def _attribute_oid(kind: str) -> str:
    if row := BY_NAME.get(kind.lower()):
        return row.oid
    if found := _OID.fullmatch(kind):
        return found[1]
    raise Malformed(
        f"{quoted(kind)} is no attribute type",
        f"Use a dotted OID or one of {', '.join(row.short for row in ATTRIBUTE_TYPES)}",
    )


def _unescape(value: str) -> str:
    value = _strip(value)
    if value.startswith("#"):
        raise Malformed(
            f"{quoted(value)}: attribute values in hexadecimal are not read",
            "Write the text itself; \\# for a leading number sign",
        )
    if len(value) >= 2 and value[0] == value[-1] == '"':
        value = value[1:-1]
    out, at = bytearray(), 0
    while at < len(value):
        pair = _PAIR.match(value, at)
        if pair is None:
            if value[at] == "\\":
                raise Malformed(f"{quoted(value)} ends with a lone backslash")
            out += value[at].encode("utf-8", "surrogatepass")
            at += 1
            continue
        if pair[1] is None and pair[2] not in _SPECIAL:
            raise Malformed(f"{quoted(value)} escapes {pair[2]!r}, which needs no escape")
        out += bytes.fromhex(pair[1]) if pair[1] else pair[2].encode()
        at = pair.end()
    try:
        return out.decode("utf-8")
    except UnicodeDecodeError:
        raise Malformed(f"{quoted(value)} is not UTF-8 once its escapes are resolved") from None


def _strip(value: str) -> str:
    """Without blanks around it, but for an escaped one at the end."""
    value = value.lstrip(" ")
    bare = value.rstrip(" ")
    backslashes = len(bare) - len(bare.rstrip("\\"))
    return bare + " " if backslashes % 2 and len(bare) < len(value) else bare
