"""Key usages and extended key usages (RFC 5280 §4.2.1.3, §4.2.1.12)."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class KeyUsage(StrEnum):
    """In the bit order of the RFC: `list(KeyUsage).index(…)` is the bit's number."""

    DIGITAL_SIGNATURE = "digitalSignature"
    NON_REPUDIATION = "nonRepudiation"
    KEY_ENCIPHERMENT = "keyEncipherment"
    DATA_ENCIPHERMENT = "dataEncipherment"
    KEY_AGREEMENT = "keyAgreement"
    KEY_CERT_SIGN = "keyCertSign"
    CRL_SIGN = "cRLSign"
    ENCIPHER_ONLY = "encipherOnly"
    DECIPHER_ONLY = "decipherOnly"


EXTENDED_KEY_USAGES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "serverAuth": "1.3.6.1.5.5.7.3.1",
        "clientAuth": "1.3.6.1.5.5.7.3.2",
        "codeSigning": "1.3.6.1.5.5.7.3.3",
        "emailProtection": "1.3.6.1.5.5.7.3.4",
        "ipsecEndSystem": "1.3.6.1.5.5.7.3.5",
        "ipsecTunnel": "1.3.6.1.5.5.7.3.6",
        "ipsecUser": "1.3.6.1.5.5.7.3.7",
        "timeStamping": "1.3.6.1.5.5.7.3.8",
        "OCSPSigning": "1.3.6.1.5.5.7.3.9",
        "ipsecIKE": "1.3.6.1.5.5.7.3.17",
        "documentSigning": "1.3.6.1.5.5.7.3.36",
        "msCodeInd": "1.3.6.1.4.1.311.2.1.21",
        "msCodeCom": "1.3.6.1.4.1.311.2.1.22",
        "msCTLSign": "1.3.6.1.4.1.311.10.3.1",
        "msEFS": "1.3.6.1.4.1.311.10.3.4",
        "msSmartcardLogin": "1.3.6.1.4.1.311.20.2.2",
        "anyExtendedKeyUsage": "2.5.29.37.0",
    }
)
"""Name → OID; any other usage is written as its dotted OID."""
