"""Starters: what a template is when nothing but its name is declared.

A starter is a mapping of `TemplateSpec` fields. Key usages name everything that a starter can give:
those which the key at hand cannot carry are dropped when a certificate is made (RFC 8813, RFC 8410, RFC 9881).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

Fields = dict[str, Any]

DEFAULT_STARTER: Final = "web-server"


def _starter(validity: str, key_usage: str, *extended: str, critical: bool = False, **more: Fields) -> Fields:
    return {
        "validity": validity,
        "key_usage": {"critical": True, "values": key_usage.split()},
        "extended_key_usage": {"critical": critical, "values": list(extended)},
        "basic_constraints": {"critical": True, "ca": False, "path_length": None},
        **more,
    }


_SIGN = "digitalSignature"
_SIGN_AND_ENCIPHER = "digitalSignature keyEncipherment"

# A status responder's certificate says that nobody need ask for its status (RFC 6960 §4.2.2.2.1), so it
# carries no pointer to where that status would be.
_UNCHECKED = {"ocsp_nocheck": True, "aia": False, "ocsp": False, "crl": False}

STARTERS: Final[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
    {
        "web-server": _starter("90d", _SIGN_AND_ENCIPHER, "serverAuth"),
        "client": _starter("365d", _SIGN, "clientAuth"),
        "mutual-tls": _starter("90d", _SIGN_AND_ENCIPHER, "serverAuth", "clientAuth"),
        "s-mime": _starter("365d", "digitalSignature keyEncipherment keyAgreement", "emailProtection"),
        "code-signing": _starter("365d", _SIGN, "codeSigning", critical=True),
        "timestamping": _starter("365d", _SIGN, "timeStamping", critical=True),
        "ocsp-signing": _starter("90d", _SIGN, "OCSPSigning", extensions=_UNCHECKED),
        "device": _starter("365d", _SIGN_AND_ENCIPHER, "clientAuth"),
        "vpn-server": _starter("365d", _SIGN_AND_ENCIPHER, "serverAuth", "ipsecIKE"),
        "vpn-client": _starter("365d", _SIGN, "clientAuth"),
        "certificate-authority": _starter(
            "1825d",
            "keyCertSign cRLSign",
            basic_constraints={"critical": True, "ca": True, "path_length": 0},
        ),
    }
)


def starter_defaults(starter: str) -> Fields:
    """The fields of a starter, as a fresh JSON-able mapping. Raises KeyError for an unknown one."""
    return copy.deepcopy(dict(STARTERS[starter]))


def template_defaults(explicit: Mapping[str, Any]) -> Fields:
    """`explicit` (what an operator wrote of a template) laid over its starter's fields.

    Mappings are merged key by key, so that `key_usage: {critical: false}` keeps the starter's values;
    anything else replaces.
    """
    defaults = starter_defaults(explicit.get("starter", DEFAULT_STARTER))
    return overlay({"starter": DEFAULT_STARTER, **defaults}, explicit)


def overlay(defaults: Mapping[str, Any], explicit: Mapping[str, Any]) -> Fields:
    """`defaults` with `explicit` on top, mappings merged key by key. Neither is changed."""
    merged = dict(defaults)
    for name, value in explicit.items():
        below = merged.get(name)
        merged[name] = overlay(below, value) if isinstance(below, dict) and isinstance(value, Mapping) else value
    return merged
