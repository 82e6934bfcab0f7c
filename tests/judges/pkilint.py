"""pkilint as a judge of what we make: certificates, CRLs and OCSP responses, inside this process.

Its validators are built once a run; a certificate then costs some ten milliseconds, where a process of its own costs
a second.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Literal

from pkilint import loader, pkix
from pkilint.pkix import certificate, crl, extension, name, ocsp
from pkilint.validation import ValidationFindingSeverity

Kind = Literal["certificate", "crl", "ocsp"]


def pkilint_findings(der: bytes, kind: Kind, least: str = "ERROR") -> list[str]:
    """What pkilint has against `der`, as `code: message (path)`: nothing, if it finds nothing of severity `least`
    (`FATAL`, `ERROR`, `WARNING`, `NOTICE`, `INFO`) or above. What it cannot read at all is a finding too."""
    load, validator = _judge(kind)
    try:
        document = load(der)
    except ValueError as ex:
        return [f"unreadable: {ex}"]
    threshold = ValidationFindingSeverity[least]
    return [
        f"{described.finding.code}: {described.message or ''} ({result.node.path})"
        for result in validator.validate(document.root)
        for described in result.finding_descriptions
        if described.finding.severity <= threshold and not _is_wildcard(described)
    ]


def _is_wildcard(described: Any) -> bool:
    """RFC 5280 leaves wildcards open (§4.2.1.6), RFC 9525 §6.3 defines them, and pkilint's profile for RFC 5280
    takes them for host names."""
    return described.finding.code == "pkix.invalid_domain_name_syntax" and '"*.' in (described.message or "")


@cache
def _judge(kind: Kind) -> tuple[Callable[[bytes], Any], Any]:
    match kind:
        case "certificate":
            return loader.RFC5280CertificateDocumentLoader().load_der_document, _certificate_validator()
        case "crl":
            return loader.RFC5280CertificateListDocumentLoader().load_der_document, _crl_validator()
        case "ocsp":
            return loader.RFC6960OCSPResponseDocumentLoader().load_der_document, _ocsp_validator()


def _certificate_validator() -> Any:
    return certificate.create_pkix_certificate_validator_container(
        certificate.create_decoding_validators(name.ATTRIBUTE_TYPE_MAPPINGS, extension.EXTENSION_MAPPINGS),
        [
            certificate.create_issuer_validator_container([]),
            certificate.create_validity_validator_container(),
            certificate.create_subject_validator_container([]),
            certificate.create_extensions_validator_container([]),
            certificate.create_spki_validator_container([]),
        ],
    )


def _crl_validator() -> Any:
    return crl.create_pkix_crl_validator_container(
        [
            pkix.create_attribute_decoder(name.ATTRIBUTE_TYPE_MAPPINGS),
            pkix.create_extension_decoder(extension.EXTENSION_MAPPINGS),
        ],
        [
            crl.create_issuer_validator_container([]),
            crl.create_validity_validator_container([]),
            crl.create_extensions_validator_container([]),
        ],
    )


def _ocsp_validator() -> Any:
    return ocsp.create_pkix_ocsp_response_validator_container(
        [
            ocsp.create_response_decoder(),
            pkix.create_attribute_decoder(name.ATTRIBUTE_TYPE_MAPPINGS),
            pkix.create_extension_decoder(extension.EXTENSION_MAPPINGS),
        ],
        [],
    )
