"""What an authority is when little is declared of it, and the templates its own certificates are made from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pkiconf.errors import Refused
from pkiconf.model.durations import Duration
from pkiconf.model.request import Overrides
from pkiconf.policy.starters import Fields, overlay, starter_defaults
from pkiconf.spec.authority import AuthoritySpec
from pkiconf.spec.template import TemplateSpec

ROOT_VALIDITY: Final = "10y"
SUBORDINATE_VALIDITY: Final = "5y"

CA_TEMPLATE: Final = "certificate-authority"

# purpose → the starter its template comes from, and what differs from it
_SERVICES: Final[Mapping[str, tuple[str, Fields]]] = {
    "ocsp": ("ocsp-signing", {}),
    "tsa": ("timestamping", {}),
    # Signs and deciphers (RFC 8894 §2.2), and is no client or server of anything.
    "scep_ra": ("device", {"extended_key_usage": {"critical": False, "values": []}}),
    # Signs profiles for Apple's devices, which ask for no purpose.
    "profile": (
        "device",
        {"key_usage": {"values": ["digitalSignature"]}, "extended_key_usage": {"critical": False, "values": []}},
    ),
    "tls": ("web-server", {}),
}  # fmt: skip

_KEY_PARAMETERS: Final[Mapping[str, Fields]] = {
    "rsa": {"size": 3072},
    "ec": {"curve": "p384"},
    "ml-dsa": {"parameter_set": 65},
}
_SERVICE_KEY_PARAMETERS: Final[Mapping[str, Fields]] = {**_KEY_PARAMETERS, "ec": {"curve": "p256"}}


def authority_defaults(explicit: Mapping[str, Any], levels_below: int, issuer_is_self: bool) -> Fields:
    """Every field of an authority, JSON-able: `explicit` (what was written, by YAML key) with defaults around it.

    `levels_below` is how many levels of declared authorities stand below it (`levels_below`; False and True
    count as 0 and 1): a subordinate gets the shortest path length that lets them exist, and an authority that
    issues others gets no implied template. A written `path_length: null` is unlimited.
    Defaults belong to creation; later the stored result is what stands.
    """
    defaults: Fields = {
        "path_length": None if issuer_is_self else int(levels_below),
        "default_templates": [] if levels_below else ["web-server"],
    }
    resolved = overlay(defaults, explicit)
    if resolved.get("validity") is None and resolved.get("not_after") is None:
        resolved["validity"] = ROOT_VALIDITY if issuer_is_self else SUBORDINATE_VALIDITY
    resolved["subject"] = _subject(explicit)
    resolved["key"] = _key(explicit.get("key") or {}, _KEY_PARAMETERS)
    service = dict(explicit.get("service_certificates") or {})
    resolved["service_certificates"] = {**service, "key": _key(service.get("key") or {}, _SERVICE_KEY_PARAMETERS)}
    return _dump(AuthoritySpec.model_validate(resolved))


def _dump(spec: AuthoritySpec) -> Fields:
    """Attributes and key parameters that are not there are left out; every other field stands, null or not."""
    fields = spec.model_dump(mode="json", by_alias=True)
    for holder in (fields, fields["service_certificates"]):
        holder["key"] = _written(holder["key"])
    return {**fields, "subject": _written(fields["subject"])}


def _written(fields: Mapping[str, Any]) -> Fields:
    return {name: value for name, value in fields.items() if value is not None}


def levels_below(name: str, issuers: Mapping[str, str]) -> int:
    """How deep the tree of authorities below `name` is. `issuers` maps each declared authority to its issuer,
    without cycles (`self` and `external` end a chain)."""
    below = [other for other, issuer in issuers.items() if issuer == name and other != name]
    return 1 + max(levels_below(other, issuers) for other in below) if below else 0


def _subject(written: Mapping[str, Any]) -> Fields:
    subject = dict(written.get("subject") or {})
    if "rdn" not in subject and subject.get("common_name") is None:
        subject["common_name"] = written["name"]
    return subject


def _key(written: Mapping[str, Any], parameters: Mapping[str, Fields]) -> Fields:
    """A key's parameter is written out, so that another default in a later version changes no standing key."""
    if written.get("source") == "import":
        return _written(written)  # what it is stands in its file
    kind = written.get("type") or "ec"
    return {"type": kind, **parameters.get(kind, {}), **_written(written)}


def ca_template(spec: AuthoritySpec) -> TemplateSpec:
    """The template of an authority's own certificates: self-signed, by its issuer, renewed or cross-signed.

    Its validity is clipped to the issuer's end like any template's; the ends that a declaration fixes
    (`not_before`, `not_after`) go into `ca_overrides`. The hash is the signing issuer's own.
    """
    policies = [{"oid": spec.cps.policy, "cps": True}] if spec.cps and spec.cps.policy else []
    fields = overlay(
        starter_defaults("certificate-authority"),
        {
            "name": CA_TEMPLATE,
            "authority": spec.name if spec.issuer in ("self", "external") else spec.issuer,
            "starter": "certificate-authority",
            "description": f"Certificates of authority {spec.name}",
            "validity": str(spec.validity or _default_validity(spec)),
            "key_usage": {"critical": True, "values": list(spec.key_usage)},
            "extended_key_usage": {"critical": False, "values": list(spec.extended_key_usage)},
            "basic_constraints": {"critical": True, "ca": True, "path_length": spec.path_length},
            "name_constraints": spec.name_constraints,
            "extensions": {"cps": bool(policies), "policies": policies},
        },
    )
    return TemplateSpec.model_validate(fields)


def ca_overrides(spec: AuthoritySpec) -> Overrides:
    """The explicit ends of an authority's own certificate."""
    return Overrides(not_before=spec.not_before, not_after=spec.not_after)


def service_template(purpose: str, spec: AuthoritySpec) -> TemplateSpec:
    """The template of a certificate that an authority issues to one of its own services: `ocsp`, `tsa`, `scep_ra`,
    `profile` or `tls`."""
    if purpose not in _SERVICES:
        raise Refused(f"no service certificate has purpose {purpose!r}", f"Use one of {', '.join(_SERVICES)}")
    starter, differences = _SERVICES[purpose]
    validity = spec.timestamp.validity if purpose == "tsa" else spec.service_certificates.validity
    fields = {
        **overlay(starter_defaults(starter), differences),
        "name": f"service-{purpose.replace('_', '-')}",
        "authority": spec.name,
        "starter": starter,
        "description": f"Service certificates ({purpose}) of authority {spec.name}",
        "validity": str(validity),
    }
    return TemplateSpec.model_validate(fields)


def _default_validity(spec: AuthoritySpec) -> Duration:
    return Duration.parse(ROOT_VALIDITY if spec.issuer == "self" else SUBORDINATE_VALIDITY)
