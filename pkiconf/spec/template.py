"""`templates:` what an authority issues. The same model, resolved, is what a template version stores."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, WithJsonSchema

from pkiconf.model.keys import KEY_ALGORITHMS, Hash, KeyType
from pkiconf.model.usages import KeyUsage
from pkiconf.spec.authority import NameConstraintsSpec
from pkiconf.spec.errors import did_you_mean
from pkiconf.spec.extensions import ExtensionsSpec
from pkiconf.spec.misfits import Advised, Declared, Misfit, Said, rfc
from pkiconf.spec.patterns import (
    CommonNamePattern,
    DirectoryPattern,
    DNSPattern,
    EmailPattern,
    IdentifierPattern,
    NetworkPattern,
    URIPattern,
)
from pkiconf.spec.scep import SCEPSpec
from pkiconf.spec.subject import SubjectSpec
from pkiconf.spec.transparency import CTSpec
from pkiconf.spec.values import (
    DurationField,
    ExtendedKeyUsageName,
    Label,
    Reference,
    Starter,
    key_usage_misfits,
    repeated_misfits,
)

_KEY_KINDS: Final = tuple(dict.fromkeys([*(kind.value for kind in KeyType), *KEY_ALGORITHMS]))
_SANS: Final = rfc("RFC 5280 §4.2.1.6")


class KeyUsageSpec(Declared):
    """What the certified key may do (RFC 5280 §4.2.1.3)."""

    critical: bool = Field(True, description="RFC 5280 wants true", json_schema_extra=rfc("RFC 5280 §4.2.1.3"))
    values: tuple[KeyUsage, ...] = Field(
        (),
        description="Those that a key cannot have are left out when issuing. Default: the starter's",
        json_schema_extra=rfc("RFC 5280 §4.2.1.3"),
    )

    def misfits(self, written: bool) -> Iterator[Misfit]:
        yield from key_usage_misfits("values", self.values)


class ExtendedKeyUsageSpec(Declared):
    """What the certificate is for (RFC 5280 §4.2.1.12)."""

    critical: bool = Field(
        False,
        description="Must be true for timestamping (RFC 3161 §2.3). Default: the starter's",
        json_schema_extra=rfc("RFC 5280 §4.2.1.12"),
    )
    values: tuple[ExtendedKeyUsageName, ...] = Field(
        (),
        description="Names such as serverAuth, or dotted OIDs in quotes. Default: the starter's",
        json_schema_extra=rfc("RFC 5280 §4.2.1.12"),
    )

    def misfits(self, written: bool) -> Iterator[Misfit]:
        yield from repeated_misfits("values", self.values)


class BasicConstraintsSpec(Declared):
    """RFC 5280 §4.2.1.9."""

    critical: bool = Field(True, description="RFC 5280 demands true", json_schema_extra=rfc("RFC 5280 §4.2.1.9"))
    ca: bool = Field(
        False,
        description="Whether this issues authorities. Default: the starter's",
        json_schema_extra=rfc("RFC 5280 §4.2.1.9"),
    )
    path_length: int | None = Field(
        None,
        ge=0,
        le=32,
        description="How many authorities may follow below it. Default: the starter's",
        json_schema_extra=rfc("RFC 5280 §4.2.1.9"),
    )

    def misfits(self, written: bool) -> Iterator[Misfit]:
        if self.path_length is not None and self.wrote("ca") and not self.ca:
            yield Misfit(
                ("path_length", "ca"), "path_length goes with ca: true", "Write ca: true, or remove path_length"
            )


class TemplateSubject(Declared):
    """Where the subject comes from."""

    from_: Literal["csr", "template", "merge"] = Field(
        "csr",
        alias="from",
        description="csr: as requested; template: only the values here; merge: these win, the rest as requested",
    )
    values: SubjectSpec | None = Field(None, description="Attributes, as in an authority's subject")

    def misfits(self, written: bool) -> Iterator[Misfit]:
        if self.from_ != "csr" and self.values is None:
            yield Misfit(("from", "values"), f"from: {self.from_} needs values", "Add values: {organization: …}")
        if written and self.from_ == "csr" and self.values is not None:
            yield Misfit(
                ("values", "from"), "values are not used with from: csr", "Write from: template or from: merge"
            )


class NameRules(Declared):
    """Patterns by type; `*` is any. A type that is not listed is not allowed (or, under deny, not denied)."""

    dns: tuple[DNSPattern, ...] | None = Field(
        None, description="DNS names: exact, *.d (d and everything below), * (any)", json_schema_extra=_SANS
    )
    ip: tuple[NetworkPattern, ...] | None = Field(
        None, description="IP addresses: an address or a network in CIDR form", json_schema_extra=_SANS
    )
    email: tuple[EmailPattern, ...] | None = Field(
        None, description="Mailboxes: exact, @host, @.domain (every host below)", json_schema_extra=_SANS
    )
    uri: tuple[URIPattern, ...] | None = Field(None, description="How a URI begins", json_schema_extra=_SANS)
    rid: tuple[IdentifierPattern, ...] | None = Field(
        None, description="Registered IDs, as dotted OIDs in quotes", json_schema_extra=_SANS
    )
    dirname: tuple[DirectoryPattern, ...] | None = Field(
        None,
        description="Directory names: RFC 4514 text they end with, such as O=Example,C=NL",
        json_schema_extra=_SANS,
    )
    othername: tuple[IdentifierPattern, ...] | None = Field(
        None, description="Other names, by their type as a dotted OID in quotes", json_schema_extra=_SANS
    )
    cn: tuple[CommonNamePattern, ...] | None = Field(
        None,
        description="Common names: exact or *.d. Where it is left out, a name in one has to be allowed by its type",
    )


class NamesSpec(Declared):
    """Which names a certificate may carry."""

    allow: NameRules | None = Field(None, description="If given, names of a type not listed here are refused")
    deny: NameRules | None = Field(None, description="Refused even if allowed")
    wildcards: bool = Field(True, description="Whether DNS names may start with *.")


def _key_kind(text: str) -> str:
    if text in _KEY_KINDS or re.fullmatch(r"rsa-[1-9]\d{3,4}", text):
        return text
    raise Advised(f"{text!r} is no kind of key", did_you_mean(text, _KEY_KINDS, f"Known: {', '.join(_KEY_KINDS)}"))


KeyKind = Annotated[
    str,
    AfterValidator(_key_kind),
    WithJsonSchema({"enum": list(_KEY_KINDS)}),
    Said(f"one of {', '.join(_KEY_KINDS)}"),
]


class TemplateSpec(Declared):
    """What an authority issues."""

    name: Label = Field(description="Names it below its authority; part of its URLs")
    authority: Label = Field(description="The declared authority that issues")
    state: Literal["present", "absent"] = Field("present", description="absent retires it (needs --allow retire)")
    moved: Reference | None = Field(None, description="Its former name; URLs stay")
    starter: Starter = Field(
        "web-server", description="What it is for: gives usages and validity where none are written"
    )
    description: str = Field("", description="For people")
    enabled: bool = Field(True, description="false: nothing is issued by any path")
    validity: DurationField = Field(
        "90d", description="How long certificates are valid, unless asked otherwise. Default: the starter's"
    )  # type: ignore[assignment]
    max_validity: DurationField | None = Field(None, description="Nobody gets more, not even by an override")
    signature_hash: Hash | None = Field(
        None, description="Hash of the signatures on its certificates. Default: the authority's"
    )
    allowed_keys: tuple[KeyKind, ...] | None = Field(
        None, description="Such as rsa, rsa-3072, ec-p256, ml-dsa. Default: any"
    )
    subject: TemplateSubject = Field(
        default_factory=TemplateSubject,
        description="Where the subject comes from",
        json_schema_extra=rfc("RFC 5280 §4.1.2.6"),
    )
    names: NamesSpec = Field(default_factory=NamesSpec, description="Which names are allowed", json_schema_extra=_SANS)
    key_usage: KeyUsageSpec = Field(
        default_factory=KeyUsageSpec,
        description="What the certified key may do",
        json_schema_extra=rfc("RFC 5280 §4.2.1.3"),
    )
    extended_key_usage: ExtendedKeyUsageSpec = Field(
        default_factory=ExtendedKeyUsageSpec,
        description="What the certificate is for",
        json_schema_extra=rfc("RFC 5280 §4.2.1.12"),
    )
    basic_constraints: BasicConstraintsSpec = Field(
        default_factory=BasicConstraintsSpec,
        description="Whether this issues authorities",
        json_schema_extra=rfc("RFC 5280 §4.2.1.9"),
    )
    name_constraints: NameConstraintsSpec | None = Field(
        None, description="For certificates of authorities only", json_schema_extra=rfc("RFC 5280 §4.2.1.10")
    )
    extensions: ExtensionsSpec = Field(default_factory=ExtensionsSpec, description="What else stands in a certificate")
    ct: CTSpec | None = Field(
        None,
        description="Logs that see each certificate before anybody else. Default: none",
        json_schema_extra=rfc("RFC 6962"),
    )
    scep: SCEPSpec | None = Field(
        None, description="Enrolment of devices over SCEP. Default: off", json_schema_extra=rfc("RFC 8894")
    )

    def misfits(self, written: bool) -> Iterator[Misfit]:
        yield from repeated_misfits("allowed_keys", self.allowed_keys or ())
        if self.scep is not None and self.scep.enabled and self.basic_constraints.ca:
            said = "a template that makes authorities cannot be enrolled with over SCEP"
            yield Misfit(("scep.enabled", "basic_constraints.ca"), said, "Declare another template for devices")
        if written:
            yield from self._written_misfits()
        constraints = self.basic_constraints
        signs = KeyUsage.KEY_CERT_SIGN in self.key_usage.values
        if not constraints.wrote("ca") or not self.key_usage.wrote("values"):
            return
        if constraints.ca and not signs:
            said = "an authority cannot issue without keyCertSign"
            yield Misfit(("key_usage.values", "basic_constraints.ca"), said, "Add keyCertSign, or write ca: false")
        if signs and not constraints.ca:
            said = "keyCertSign goes with ca: true (RFC 5280 §4.2.1.9)"
            yield Misfit(("key_usage.values", "basic_constraints.ca"), said, "Remove keyCertSign, or write ca: true")

    def _written_misfits(self) -> Iterator[Misfit]:
        longest = self.max_validity
        if self.wrote("validity") and longest is not None and self.validity.seconds > longest.seconds:
            said = f"validity {self.validity} is longer than max_validity {longest}"
            yield Misfit(("validity", "max_validity"), said, "Shorten validity, or raise max_validity")
        makes_authorities = self.basic_constraints.ca or (
            self.starter == "certificate-authority" and not self.basic_constraints.wrote("ca")
        )
        if self.name_constraints is not None and self.wrote("starter") and not makes_authorities:
            said = "name_constraints stand in certificates of authorities only (RFC 5280 §4.2.1.10)"
            yield Misfit(("name_constraints", "basic_constraints.ca", "starter"), said, "Remove them")
