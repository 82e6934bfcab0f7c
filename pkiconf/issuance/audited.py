"""How audit records name a certificate."""

from __future__ import annotations

from pkiconf.model.certificate import CertificateID
from pkiconf.policy.serials import serial_bytes


def address_of(certificate: CertificateID) -> str:
    return f"certificate/{certificate.issuer_id}/{serial_bytes(certificate.serial_number).hex()}"


def details(certificate: CertificateID) -> dict[str, object]:
    return {"issuer": certificate.issuer_id, "serial": serial_bytes(certificate.serial_number).hex()}
