"""`templates:` what an authority issues. The same model, resolved, is what a template version stores."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pkiconf.model.keys import Hash
from pkiconf.model.usages import KeyUsage
from pkiconf.spec.authority import NameConstraintsSpec
from pkiconf.spec.subject import SubjectSpec
from pkiconf.spec.values import HTTPURL, Declared, DottedOID, DurationField, ExtendedKeyUsageName, Label

Starter = Literal[
    "web-server", "client", "mutual-tls", "s-mime", "code-signing", "timestamping", "ocsp-signing", "device",
    "vpn-server", "vpn-client", "certificate-authority",
]  # fmt: skip


class KeyUsageSpec(Declared):
    critical: bool = True
    values: tuple[KeyUsage, ...] = ()


class ExtendedKeyUsageSpec(Declared):
    critical: bool = False
    values: tuple[ExtendedKeyUsageName, ...] = ()


class BasicConstraintsSpec(Declared):
    """RFC 5280 §4.2.1.9."""

    critical: bool = True
    ca: bool = False
    path_length: int | None = Field(None, ge=0, le=32)


class TemplateSubject(Declared):
    from_: Literal["csr", "template", "merge"] = Field(
        "csr",
        alias="from",
        description="csr: as requested; template: only the values here; merge: these win, the rest as requested",
    )
    values: SubjectSpec | None = None


class NameRules(Declared):
    """Patterns by type. dns: exact, `*.d` (d and everything below), `*` (any); ip: CIDR; email: mailbox, @host,
    @.domain; uri: prefix; othername and rid: the OID; dirname: RFC 4514 suffix; cn: exact or `*.d`."""

    dns: tuple[str, ...] | None = None
    ip: tuple[str, ...] | None = None
    email: tuple[str, ...] | None = None
    uri: tuple[str, ...] | None = None
    rid: tuple[str, ...] | None = None
    dirname: tuple[str, ...] | None = None
    othername: tuple[str, ...] | None = None
    cn: tuple[str, ...] | None = None


class NamesSpec(Declared):
    allow: NameRules | None = Field(None, description="If given, names of a type not listed here are refused")
    deny: NameRules | None = Field(None, description="Refused even if allowed")
    wildcards: bool = Field(True, description="Whether DNS names may start with *.")


class UserNotice(Declared):
    text: str = Field(max_length=200)


class PolicySpec(Declared):
    oid: Literal["dv", "ov", "iv", "ev", "any"] | DottedOID
    cps: bool = Field(True, description="Add the CPS URL as a qualifier")
    notice: str | None = Field(None, max_length=200, description="User notice, explicit text")


class CustomExtension(Declared):
    oid: DottedOID
    critical: bool = False
    der: str = Field(description="The extension's value, DER in hex")


class ExtensionsSpec(Declared):
    aia: bool = Field(True, description="Where to get the issuer's certificate (AIA caIssuers)")
    aia_url: HTTPURL | None = Field(None, description="Instead of ours")
    ocsp: bool = Field(True, description="OCSP URL (AIA)")
    crl: bool = Field(True, description="CRL distribution point")
    cps: bool = Field(False, description="Certificate policy with the CPS URL (uses `policies`, or anyPolicy)")
    policies: tuple[PolicySpec, ...] = ()
    must_staple: bool = Field(False, description="TLS feature status_request (RFC 7633)")
    ocsp_nocheck: bool = False
    custom: tuple[CustomExtension, ...] = ()


class TemplateSpec(Declared):
    name: Label
    authority: Label
    state: Literal["present", "absent"] = "present"
    moved: str | None = Field(None, description="Its former name; URLs stay")
    starter: Starter = "web-server"
    description: str = ""
    enabled: bool = Field(True, description="false: nothing is issued by any path")
    validity: DurationField = Field("90d")  # type: ignore[assignment]
    max_validity: DurationField | None = Field(None, description="Nobody gets more, not even by an override")
    signature_hash: Hash | None = Field(None, description="Default: the authority's")
    allowed_keys: tuple[str, ...] | None = Field(
        None, description="Such as rsa, rsa-3072, ec-p256, ml-dsa. Default: any"
    )
    subject: TemplateSubject = Field(default_factory=TemplateSubject)
    names: NamesSpec = Field(default_factory=NamesSpec)
    key_usage: KeyUsageSpec = Field(default_factory=KeyUsageSpec)
    extended_key_usage: ExtendedKeyUsageSpec = Field(default_factory=ExtendedKeyUsageSpec)
    basic_constraints: BasicConstraintsSpec = Field(default_factory=BasicConstraintsSpec)
    name_constraints: NameConstraintsSpec | None = Field(None, description="For certificates of authorities only")
    extensions: ExtensionsSpec = Field(default_factory=ExtensionsSpec)
