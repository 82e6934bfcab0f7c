"""`authorities:` certificate authorities we run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Final, Literal

from pydantic import Field

from pkiconf.model.keys import Hash, Padding
from pkiconf.model.usages import KeyUsage
from pkiconf.spec.misfits import Declared, Misfit, rfc
from pkiconf.spec.patterns import DirectorySubtree, DNSSubtree, EmailSubtree, Network, URISubtree
from pkiconf.spec.status import CRLSpec, OCSPSpec
from pkiconf.spec.subject import SubjectSpec
from pkiconf.spec.timestamp import TimestampSpec
from pkiconf.spec.values import (
    HTTPURL,
    DottedOID,
    DurationField,
    ExtendedKeyUsageName,
    Instant,
    KeySpec,
    Label,
    Starter,
    key_usage_misfits,
    repeated_misfits,
    signature_misfits,
)

_CONSTRAINTS: Final = rfc("RFC 5280 §4.2.1.10")


_LONGEST: Final = 7900 * 31_557_600
"""Seconds of validity that still end before the year 10000, whenever they begin this century."""


class AuthorityKeySpec(KeySpec):
    """The authority's own key."""

    source: Literal["generate", "import"] = Field("generate", description="Make the key here, or import one")
    generation: int = Field(1, ge=1, description="Raise it to roll over to a new key under the same identity")
    file: str | None = Field(None, description="PEM or DER private key to import, relative to the YAML file")
    passphrase: str | None = Field(None, description="Of the imported key: a reference (!env, !file, !vault)")

    def misfits(self, written: bool) -> Iterator[Misfit]:
        yield from super().misfits(written)
        if not written:
            return
        if self.source == "import" and self.file is None:
            yield Misfit(("source", "file"), "source: import needs the file of the key", "Add file: path/to/key.pem")
        if self.source == "generate" and self.file is not None:
            yield Misfit(("file", "source"), "file goes with source: import", "Write source: import, or remove file")
        if self.passphrase is not None and self.file is None:
            yield Misfit(("passphrase", "file"), "passphrase goes with the file of an imported key", "Remove it")


class NameConstraintSet(Declared):
    """Subtrees of names."""

    dns: tuple[DNSSubtree, ...] = Field(
        (), description="Domains, each with everything below: corp.example", json_schema_extra=_CONSTRAINTS
    )
    ip: tuple[Network, ...] = Field((), description="Networks in CIDR form", json_schema_extra=_CONSTRAINTS)
    email: tuple[EmailSubtree, ...] = Field(
        (), description="A mailbox, a host, or .domain for everything below it", json_schema_extra=_CONSTRAINTS
    )
    uri: tuple[URISubtree, ...] = Field(
        (), description="A host, or .domain for everything below it", json_schema_extra=_CONSTRAINTS
    )
    dirname: tuple[DirectorySubtree, ...] = Field(
        (), description="RFC 4514 text: O=Example Corp,C=NL", json_schema_extra=_CONSTRAINTS
    )

    @property
    def is_empty(self) -> bool:
        return not (self.dns or self.ip or self.email or self.uri or self.dirname)


class NameConstraintsSpec(Declared):
    """Which names the certificates below may carry (RFC 5280 §4.2.1.10)."""

    critical: bool = Field(True, description="RFC 5280 demands true", json_schema_extra=_CONSTRAINTS)
    permitted: NameConstraintSet = Field(
        default_factory=NameConstraintSet, description="If any name of a type is listed, only those of that type"
    )
    excluded: NameConstraintSet = Field(
        default_factory=NameConstraintSet, description="Refused even if permitted", json_schema_extra=_CONSTRAINTS
    )

    def misfits(self, written: bool) -> Iterator[Misfit]:
        if written and self.permitted.is_empty and self.excluded.is_empty:
            said = "name constraints that constrain nothing may not be encoded (RFC 5280 §4.2.1.10)"
            yield Misfit(("permitted", "excluded"), said, "Add permitted or excluded names, or leave them out")


class CPSSpec(Declared):
    """The certification practice statement (RFC 3647)."""

    text: str | None = Field(None, description="The practice statement, shown at /cps/<authority>")
    file: str | None = Field(None, description="… or a text file, relative to the YAML file")
    policy: DottedOID | None = Field(
        None,
        description="Policy identifier put into the authority's own certificate",
        json_schema_extra=rfc("RFC 5280 §4.2.1.4"),
    )

    def misfits(self, written: bool) -> Iterator[Misfit]:
        if self.text is not None and self.file is not None:
            yield Misfit(("file", "text"), "text and file both give the practice statement", "Keep one of them")


class ServiceKeySpec(KeySpec):
    """What key to make for a service: quick rather than strong for decades."""

    default_curve: ClassVar[str] = "p256"

    curve: Literal["p256", "p384", "p521"] | None = Field(None, description="EC curve. Default: p256")


class ServiceCertificatesSpec(Declared):
    """Certificates that the authority issues to its own services."""

    key: ServiceKeySpec = Field(
        default_factory=lambda: ServiceKeySpec(type="ec", curve="p256"),
        description="Key of OCSP and timestamp certificates",
    )
    signature_hash: Hash | None = Field(None, description="Hash of OCSP answers and timestamps. Default: fits the key")
    validity: DurationField = Field("90d", description="Renewed at two thirds")  # type: ignore[assignment]

    def misfits(self, written: bool) -> Iterator[Misfit]:
        yield from signature_misfits(self.key.type, self.signature_hash, None)


class PublicURLs(Declared):
    """Different URLs inside certificates, for a CDN or an older host name."""

    aia: HTTPURL | None = Field(
        None, description="Of the authority's certificate", json_schema_extra=rfc("RFC 5280 §4.2.2.1")
    )
    ocsp: HTTPURL | None = Field(None, description="Of OCSP", json_schema_extra=rfc("RFC 5280 §4.2.2.1"))
    crl: HTTPURL | None = Field(None, description="Of the CRL", json_schema_extra=rfc("RFC 5280 §4.2.1.13"))
    cps: HTTPURL | None = Field(
        None, description="Of the practice statement", json_schema_extra=rfc("RFC 5280 §4.2.1.4")
    )


class InstalledCertificate(Declared):
    """A certificate that was signed elsewhere."""

    file: str = Field(description="The signed certificate, PEM or DER, relative to the YAML file")
    chain: str | None = Field(None, description="Every issuer above it, root last, as one PEM file")


class ImportSpec(Declared):
    """The past of an authority that lived elsewhere."""

    issued: str | None = Field(None, description="Serials already used: one hex serial a line, or a PEM bundle")
    crl: str | None = Field(None, description="Its last CRL: revocations and number are taken over")
    next_crl_number: int | None = Field(
        None, ge=1, description="The first CRL number to use here", json_schema_extra=rfc("RFC 5280 §5.2.3")
    )


class RolloverSpec(Declared):
    """How a new key follows the old one."""

    cross_certificates: bool = Field(False, description="Old key signs new and new signs old, for a soft transition")


class AuthoritySpec(Declared):
    """A certificate authority we run."""

    name: Label = Field(description="Names it everywhere; part of its URLs")
    state: Literal["present", "absent"] = Field("present", description="absent retires it (needs --allow retire)")
    moved: Label | None = Field(None, description="Its former name; URLs stay")
    subject: SubjectSpec | None = Field(
        None,
        description="Whom its certificate names. Default: common_name is the name",
        json_schema_extra=rfc("RFC 5280 §4.1.2.6"),
    )
    issuer: Label = Field("self", description="self, external (CSR only), or another declared authority")
    key: AuthorityKeySpec = Field(default_factory=AuthorityKeySpec, description="The authority's own key")
    signature_hash: Hash | None = Field(
        None,
        description="Hash of signatures by its RSA or EC key, unless a template has another. Default: fits the key",
    )
    signature_padding: Padding | None = Field(
        None, description="Padding of signatures by its RSA key. Default: pkcs1v15", json_schema_extra=rfc("RFC 8017")
    )
    validity: DurationField | None = Field(
        None, description="How long its certificate is valid. Default: 10y for a root, 5y below one"
    )
    not_before: Instant | None = Field(
        None,
        description="When its certificate begins. Default: when it is made",
        json_schema_extra=rfc("RFC 5280 §4.1.2.5"),
    )
    not_after: Instant | None = Field(
        None, description="When its certificate ends, instead of validity", json_schema_extra=rfc("RFC 5280 §4.1.2.5")
    )
    path_length: int | None = Field(
        None,
        ge=0,
        le=32,
        description="How many authorities may follow below. Default: unlimited for a root, 0 below one",
        json_schema_extra=rfc("RFC 5280 §4.2.1.9"),
    )
    name_constraints: NameConstraintsSpec | None = Field(
        None, description="Which names certificates below may carry", json_schema_extra=_CONSTRAINTS
    )
    key_usage: tuple[KeyUsage, ...] = Field(
        (KeyUsage.KEY_CERT_SIGN, KeyUsage.CRL_SIGN),
        description="Other than the default is not recommended",
        json_schema_extra=rfc("RFC 5280 §4.2.1.3"),
    )
    extended_key_usage: tuple[ExtendedKeyUsageName, ...] = Field(
        (),
        description="Limits everything below to these; not recommended",
        json_schema_extra=rfc("RFC 5280 §4.2.1.12"),
    )
    cps: CPSSpec | None = Field(None, description="Certification practice statement")
    crl: CRLSpec = Field(default_factory=CRLSpec, description="Certificate revocation lists")
    ocsp: OCSPSpec = Field(default_factory=OCSPSpec, description="Online status answers")
    service_certificates: ServiceCertificatesSpec = Field(
        default_factory=ServiceCertificatesSpec, description="Keys and certificates of its OCSP and timestamp services"
    )
    timestamp: TimestampSpec = Field(default_factory=TimestampSpec, description="Timestamps")
    urls: PublicURLs = Field(default_factory=PublicURLs, description="Other URLs inside certificates than ours")
    certificate: InstalledCertificate | None = Field(None, description="Install this (issuer: external, or an import)")
    imported: ImportSpec | None = Field(None, alias="import", description="Its past, if it lived elsewhere before")
    rollover: RolloverSpec = Field(default_factory=RolloverSpec, description="How a new key follows the old one")
    default_templates: tuple[Starter, ...] | None = Field(
        None, description="Starters that exist without being declared. Default: [web-server] if it issues no authority"
    )

    def misfits(self, written: bool) -> Iterator[Misfit]:
        # The type of an imported key stands in its file.
        if self.key.source == "generate" or self.key.wrote("type"):
            yield from signature_misfits(self.key.type, self.signature_hash, self.signature_padding)
        yield from self._validity_misfits()
        yield from key_usage_misfits("key_usage", self.key_usage)
        yield from repeated_misfits("extended_key_usage", self.extended_key_usage)
        yield from repeated_misfits("default_templates", self.default_templates or ())
        yield from self._usage_misfits(written)
        if written:
            yield from self._origin_misfits()

    def _validity_misfits(self) -> Iterator[Misfit]:
        if self.validity is not None and self.not_after is not None:
            yield Misfit(("validity", "not_after"), "validity and not_after both give the end", "Keep one of them")
        if self.validity is not None and self.validity.seconds > _LONGEST:
            said = f"validity {self.validity} ends beyond the year 9999"
            yield Misfit(("validity",), said, "Write less, such as 20y")
        if self.not_before and self.not_after and self.not_after <= self.not_before:
            yield Misfit(("not_after", "not_before"), "not_after does not lie after not_before")

    def _usage_misfits(self, written: bool) -> Iterator[Misfit]:
        if KeyUsage.KEY_CERT_SIGN not in self.key_usage:
            yield Misfit(("key_usage",), "an authority cannot issue without keyCertSign (RFC 5280 §4.2.1.3)", "Add it")
        if written and KeyUsage.CRL_SIGN not in self.key_usage:
            yield Misfit(("key_usage",), "the CRLs of an authority without cRLSign are not believed", "Add cRLSign")

    def _origin_misfits(self) -> Iterator[Misfit]:
        imports = self.key.source == "import"
        if self.certificate is not None and self.issuer != "external" and not imports:
            said = "certificate goes with issuer: external or with key.source: import"
            yield Misfit(("certificate", "issuer", "key.source"), said, "Remove it, or say where the authority is from")
        if self.imported is not None and not imports:
            said = "import goes with an imported key"
            yield Misfit(("import", "key.source"), said, "Add key: {source: import, file: …}, or remove import")
