"""Renewal by the presented certificate (RFC 8894 §2.5, §3.3.1.2): the very one that was issued, still good.

The successor carries the names of the certificate that it follows. A request may leave some out; one that asks for
more has to be proved like a first one.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from pkiconf.clock import from_epoch
from pkiconf.der.certificate import Certificate, assemble_certificate, parse_certificate
from pkiconf.der.certificate_head import CertificateHead
from pkiconf.der.keys import is_same_key
from pkiconf.der.names import general_name_text, parse_general_names, parse_name
from pkiconf.der.oids import SUBJECT_ALTERNATIVE_NAME
from pkiconf.errors import Conflict
from pkiconf.issuance.parts import Parts
from pkiconf.model.certificate import CertificateStatus
from pkiconf.model.keys import SIGNATURE_ALGORITHMS
from pkiconf.model.names import Attribute, GeneralName, Name
from pkiconf.model.request import CertificateRequest, Wanted
from pkiconf.model.scep import FailInfo, NotProved, Proof, ProofMethod, SCEPFailure
from pkiconf.policy.overrides import apply_overrides, comparable
from pkiconf.policy.serials import serial_bytes
from pkiconf.scep.places import Place
from pkiconf.store import certificates, intune, templates
from pkiconf.store.certificates import CertificateRow
from pkiconf.store.database import Connection


@dataclass(frozen=True, slots=True)
class Presented:
    """A certificate that was issued here, octet by octet; whether it is still good for anything is not known."""

    row: CertificateRow
    template_id: int | None
    certificate: Certificate


class Renewals:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def find_presented(self, place: Place, signer: CertificateHead) -> Presented | None:
        """What was issued here under the signer's issuer and serial number, if it is this very certificate."""
        issuer_ids = place.issuers.get(signer.issuer, ())
        number = signer.issuer_and_serial.serial_number
        if not issuer_ids or number <= 0:
            return None
        return self._parts.db.read(lambda c: _find(c, issuer_ids, serial_bytes(number), signer.der))

    def is_intunes(self, place: Place, presented: Presented) -> bool:
        """Whether Intune let it in, and still decides: a device that is no longer managed does not renew by itself."""
        if place.spec.intune is None:
            return False
        return self._parts.db.look(lambda c: intune.find(c, presented.row.id)) is not None

    def check(self, place: Place, presented: Presented, wanted: CertificateRequest) -> Proof:
        """Raises NotProved; SCEPFailure badRequest with what the holder of a good certificate may know: that it is
        too early or too late, or that other names are asked for, if the request is the holder's own beyond doubt."""
        renewal, row = place.spec.renewal, presented.row
        if not renewal.enabled:
            raise NotProved("renewal is not enabled")
        _check_good(place, presented)
        end = from_epoch(row.not_after)
        if self._has_ended(place, presented):
            raise _refused(f"the certificate ended on {_text(end)}, too long ago to be renewed", "Enrol anew")
        opens = end - timedelta(seconds=renewal.window.seconds) if renewal.window is not None else None
        if opens is not None and self._parts.now() < opens:
            raise _refused(f"the certificate can be renewed from {_text(opens)} on", "Come back then")
        _check_names(place, presented.certificate, wanted)
        return Proof(ProofMethod.RENEWAL, _what(presented), consume=lambda c: _check_still_good(c, presented))

    def check_vouches(self, place: Place, presented: Presented, wanted: CertificateRequest) -> None:
        """Raise NotProved unless the message is signed by the key it asks for, or by a certificate that is good for
        these names: whoever sends on another's request, which he cannot read, has none."""
        if is_same_key(wanted.spki, presented.certificate.spki):
            return
        _check_good(place, presented)
        if self._has_ended(place, presented):
            raise NotProved(f"{_what(presented)} has ended")
        _check_names(place, presented.certificate, wanted)

    def _has_ended(self, place: Place, presented: Presented) -> bool:
        """Longer ago than the template forgives."""
        grace = place.spec.renewal.grace
        return self._parts.now() > from_epoch(presented.row.not_after) + _length(grace.seconds if grace else None)


def _what(presented: Presented) -> str:
    return f"certificate {presented.row.serial.hex()}"


def _check_still_good(c: Connection, presented: Presented) -> None:
    """In the transaction that reserves the successor. Raises Conflict."""
    row = presented.row
    status = certificates.hold_still(c, row.issuer_id, row.serial)
    if status != CertificateStatus.GOOD:
        raise Conflict(f"{_what(presented)} has become {status}")


def _check_good(place: Place, presented: Presented) -> None:
    """Raises NotProved."""
    if presented.template_id != place.template_id:
        raise NotProved(f"{_what(presented)} was issued by another template")
    if presented.row.status != CertificateStatus.GOOD:
        raise NotProved(f"{_what(presented)} is {presented.row.status}")


def _find(c: Connection, issuer_ids: tuple[int, ...], serial: bytes, der: bytes) -> Presented | None:
    for issuer_id in issuer_ids:
        row, stored = certificates.find(c, issuer_id, serial), certificates.find_stored(c, issuer_id, serial)
        if row is None or stored is None or stored.signature is None:
            continue
        if assemble_certificate(stored.tbs, SIGNATURE_ALGORITHMS[stored.algorithm], stored.signature) != der:
            continue  # one that only looks like it
        version = row.template_version_id
        template_id = templates.get_template_version(c, version).template_id if version is not None else None
        return Presented(row, template_id, parse_certificate(der))
    return None


def renewed(presented: Presented, wanted: CertificateRequest) -> Wanted:
    """The request, with the names of the certificate that it follows. Raises Refused."""
    subject, sans = _names_of(presented.certificate)
    asked = apply_overrides(wanted)
    return Wanted(subject, asked.spki, asked.key, sans, asked.extensions, asked.overrides)


def _names_of(certificate: Certificate) -> tuple[Name, tuple[GeneralName, ...]]:
    extension = certificate.extension(SUBJECT_ALTERNATIVE_NAME)
    return parse_name(certificate.subject), parse_general_names(extension.value) if extension else ()


def _check_names(place: Place, certificate: Certificate, wanted: CertificateRequest) -> None:
    """Raises SCEPFailure with the names that are too many; NotProved where another key asks for them: who signed the
    message may have found the request in another's, and cannot read it."""
    subject, sans = _names_of(certificate)
    known = {comparable(name) for name in sans}
    beyond = [general_name_text(name) for name in wanted.sans if comparable(name) not in known]
    # Where the template writes the subject, what a request says there is never looked at.
    if place.template.subject.from_ != "template":
        fixed = place.template.subject.values
        decided = {attribute.oid for attribute in fixed.name().attributes} if fixed else set()
        mine = {_comparable(attribute) for attribute in subject.attributes}
        beyond += [
            attribute.value
            for attribute in wanted.subject.attributes
            if attribute.oid not in decided and _comparable(attribute) not in mine
        ]
    if beyond:
        why = f"the certificate that is renewed does not name {', '.join(beyond)}"
        if not is_same_key(wanted.spki, certificate.spki):
            raise NotProved(why)
        raise _refused(why, "For other names, enrol anew")


def _comparable(attribute: Attribute) -> tuple[str, str]:
    return attribute.oid, attribute.value.strip().casefold()


def _length(seconds: int | None) -> timedelta:
    return timedelta(seconds=seconds or 0)


def _refused(detail: str, hint: str) -> SCEPFailure:
    return SCEPFailure(FailInfo.BAD_REQUEST, detail, hint)


def _text(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
