"""tls-alpn-01 (RFC 8737, RFC 8738 §6): a TLS handshake in which the certificate is the answer."""

from __future__ import annotations

import ipaddress
import ssl
from functools import lru_cache
from hashlib import sha256
from hmac import compare_digest
from typing import Final

from pkiconf.der.certificate import Certificate, parse_certificate
from pkiconf.der.extension_values import parse_subject_alternative_names
from pkiconf.der.names import general_name_text
from pkiconf.der.oids import ACME_IDENTIFIER, SUBJECT_ALTERNATIVE_NAME
from pkiconf.der.tlv import OCTET_STRING, read_element
from pkiconf.der.verify import check_issued_by
from pkiconf.egress.deadline import Deadline
from pkiconf.egress.reach import Reach, where
from pkiconf.egress.unproved import Unproved, reason, shown
from pkiconf.errors import PkiconfError
from pkiconf.model.acme import Identifier, IdentifierType, ProblemType
from pkiconf.model.names import DNSName, IPAddress

PROTOCOL: Final = "acme-tls/1"
_DRAFT_IDENTIFIER: Final = "1.3.6.1.5.5.7.1.30.1"  # of drafts before the RFC


def check_tls_alpn(identifier: Identifier, expected: str, port: int, reach: Reach, deadline: Deadline) -> None:
    """Raise Unproved unless the certificate that the server shows is the one that RFC 8737 §3 describes for the key
    authorization `expected`."""
    s, address = reach.open(identifier.value, port, deadline)
    at = f"{identifier.value} at {where(address, port)}"
    try:
        s.settimeout(deadline.left())
        s = tls = _context().wrap_socket(s, server_hostname=server_name(identifier))
        chosen, shown_certificate = tls.selected_alpn_protocol(), tls.getpeercert(binary_form=True)
    except ssl.SSLError as ex:
        raise Unproved(ProblemType.TLS, f"no TLS handshake with {at}: {reason(ex)}. {_ADVICE}") from None
    except TimeoutError:
        raise Unproved(ProblemType.CONNECTION, f"no TLS handshake with {at} in time. {_ADVICE}") from None
    except OSError as ex:
        raise Unproved(ProblemType.CONNECTION, f"no TLS handshake with {at}: {reason(ex)}. {_ADVICE}") from None
    finally:
        s.close()
    if chosen != PROTOCOL:
        raise Unproved(ProblemType.TLS, f"{at} did not choose ALPN protocol {PROTOCOL}. {_ADVICE}")
    try:
        # mod_md gives every other one of its certificates a number of 21 octets.
        _check(parse_certificate(shown_certificate or b"", any_serial=True), identifier, expected)
    except PkiconfError as ex:
        raise Unproved(ProblemType.INCORRECT_RESPONSE, f"the certificate that {at} shows: {ex.detail}") from None
    except _Unfit as ex:
        raise Unproved(ProblemType.INCORRECT_RESPONSE, f"the certificate that {at} shows {ex}") from None


_ADVICE: Final = f"Does the client answer ALPN protocol {PROTOCOL} there, with TLS 1.2 or later?"


class _Unfit(Exception):
    """Says what is wrong, in words that go behind "the certificate"."""


def server_name(identifier: Identifier) -> str:
    """What SNI says: the name, or the name that is used to look an address up (RFC 8738 §6)."""
    if identifier.type is IdentifierType.IP:
        return ipaddress.ip_address(identifier.value).reverse_pointer
    return identifier.value


def _check(certificate: Certificate, identifier: Identifier, expected: str) -> None:
    if certificate.subject != certificate.issuer:
        raise _Unfit("is not self-signed")
    check_issued_by(certificate, certificate)
    _check_name(certificate, identifier)
    extension = certificate.extension(ACME_IDENTIFIER)
    if extension is None:
        if certificate.extension(_DRAFT_IDENTIFIER) is not None:
            raise _Unfit(f"has the extension of an old draft, {_DRAFT_IDENTIFIER}, where {ACME_IDENTIFIER} belongs")
        raise _Unfit(f"has no acmeIdentifier extension ({ACME_IDENTIFIER})")
    if not extension.critical:
        raise _Unfit("has an acmeIdentifier extension that is not critical")
    value = read_element(extension.value, "its acmeIdentifier extension", OCTET_STRING).content
    digest = sha256(expected.encode("ascii")).digest()
    if not compare_digest(value, digest):
        raise _Unfit(f"holds {value[:40].hex() or 'nothing'} as its acmeIdentifier, where {digest.hex()} is expected")


def _check_name(certificate: Certificate, identifier: Identifier) -> None:
    extension = certificate.extension(SUBJECT_ALTERNATIVE_NAME)
    if extension is None:
        raise _Unfit("has no subject alternative name")
    names = parse_subject_alternative_names(extension.value)
    listed = ", ".join(shown(general_name_text(name).encode("ascii", "replace")) for name in names[:3])
    if len(names) != 1:
        raise _Unfit(f"has {len(names)} subject alternative names ({listed} …), where one belongs")
    match names[0]:
        case DNSName(value) if identifier.type is IdentifierType.DNS and value.lower() == identifier.value:
            return
        case IPAddress(value) if identifier.type is IdentifierType.IP and str(value) == identifier.value:
            return
    raise _Unfit(f"is for {listed}, not for {identifier}")


@lru_cache(maxsize=1)
def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols([PROTOCOL])
    return context
