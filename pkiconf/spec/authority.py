"""`authorities:` certificate authorities we run."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from pkiconf.model.keys import Hash, Padding
from pkiconf.model.usages import KeyUsage
from pkiconf.spec.subject import SubjectSpec
from pkiconf.spec.values import HTTPURL, Declared, DottedOID, DurationField, ExtendedKeyUsageName, KeySpec, Label


class AuthorityKeySpec(KeySpec):
    source: Literal["generate", "import"] = Field("generate", description="Make the key here, or import one")
    generation: int = Field(1, ge=1, description="Raise it to roll over to a new key under the same identity")
    file: str | None = Field(None, description="PEM or DER private key to import, relative to the YAML file")
    passphrase: str | None = Field(None, description="Of the imported key: a reference (!env, !file, !vault)")


class NameConstraintSet(Declared):
    """RFC 5280 §4.2.1.10."""

    dns: tuple[str, ...] = Field((), description="Domains, each with everything below: corp.example")
    ip: tuple[str, ...] = Field((), description="Networks in CIDR form")
    email: tuple[str, ...] = Field((), description="A mailbox, a host, or .domain for everything below it")
    uri: tuple[str, ...] = Field((), description="A host, or .domain for everything below it")
    dirname: tuple[str, ...] = Field((), description="RFC 4514 text: O=Example Corp,C=NL")


class NameConstraintsSpec(Declared):
    critical: bool = Field(True, description="RFC 5280 demands true")
    permitted: NameConstraintSet = Field(default_factory=NameConstraintSet)
    excluded: NameConstraintSet = Field(default_factory=NameConstraintSet)


class CPSSpec(Declared):
    text: str | None = Field(None, description="The practice statement, shown at /cps/<authority>")
    file: str | None = Field(None, description="… or a text file, relative to the YAML file")
    policy: DottedOID | None = Field(None, description="Policy identifier put into the authority's own certificate")


class CRLSpec(Declared):
    validity: DurationField = Field("7d", description="nextUpdate after thisUpdate; remade at half life")  # type: ignore[assignment]


class OCSPSpec(Declared):
    validity: DurationField = Field("24h", description="How long an answer may be used")  # type: ignore[assignment]


class ServiceCertificatesSpec(Declared):
    key: KeySpec = Field(KeySpec(type="ec", curve="p256"), description="Key of OCSP and timestamp certificates")
    signature_hash: Hash | None = Field(None, description="Hash of OCSP answers. Default: fits the key")
    validity: DurationField = Field("90d", description="Renewed at two thirds")  # type: ignore[assignment]


class PublicURLs(Declared):
    """Different URLs inside certificates, for a CDN or an older host name."""

    aia: HTTPURL | None = None
    ocsp: HTTPURL | None = None
    crl: HTTPURL | None = None
    cps: HTTPURL | None = None


class InstalledCertificate(Declared):
    file: str = Field(description="The signed certificate, PEM or DER, relative to the YAML file")
    chain: str | None = Field(None, description="Every issuer above it, root last, as one PEM file")


class ImportSpec(Declared):
    """The past of an authority that lived elsewhere."""

    issued: str | None = Field(None, description="Serials already used: one hex serial a line, or a PEM bundle")
    crl: str | None = Field(None, description="Its last CRL: revocations and number are taken over")
    next_crl_number: int | None = Field(None, ge=1, description="The first CRL number to use here")


class RolloverSpec(Declared):
    cross_certificates: bool = Field(False, description="Old key signs new and new signs old, for a soft transition")


class AuthoritySpec(Declared):
    name: Label
    state: Literal["present", "absent"] = Field("present", description="absent retires it (needs --allow retire)")
    moved: Label | None = Field(None, description="Its former name; URLs stay")
    subject: SubjectSpec | None = Field(None, description="Default: common_name is the name")
    issuer: str = Field("self", description="self, external (CSR only), or another declared authority")
    key: AuthorityKeySpec = Field(default_factory=AuthorityKeySpec)
    signature_hash: Hash | None = Field(None, description="Default: fits the key; not for Ed25519, Ed448, ML-DSA")
    signature_padding: Padding | None = Field(None, description="RSA only; default pkcs1v15")
    validity: DurationField | None = Field(None, description="Default: 10y for a root, 5y below one")
    not_before: datetime | None = None
    not_after: datetime | None = Field(None, description="Instead of validity")
    path_length: int | None = Field(None, ge=0, le=32, description="Default: unlimited for a root, 0 below one")
    name_constraints: NameConstraintsSpec | None = None
    key_usage: tuple[KeyUsage, ...] = Field((KeyUsage.KEY_CERT_SIGN, KeyUsage.CRL_SIGN))
    extended_key_usage: tuple[ExtendedKeyUsageName, ...] = Field(())
    cps: CPSSpec | None = None
    crl: CRLSpec = Field(default_factory=CRLSpec)
    ocsp: OCSPSpec = Field(default_factory=OCSPSpec)
    service_certificates: ServiceCertificatesSpec = Field(default_factory=ServiceCertificatesSpec)
    urls: PublicURLs = Field(default_factory=PublicURLs)
    certificate: InstalledCertificate | None = Field(None, description="Install this (issuer: external, or an import)")
    imported: ImportSpec | None = Field(None, alias="import")
    rollover: RolloverSpec = Field(default_factory=RolloverSpec)
    default_templates: tuple[str, ...] | None = Field(
        None, description="Starters that exist without being declared. Default: [web-server] if it issues no authority"
    )
