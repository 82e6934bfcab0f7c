"""A certificate that somebody else issued to an authority of ours, and its chain: judged as a relying party would."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pkiconf.der.certificate import Certificate, parse_certificate
from pkiconf.der.extensions import parse_basic_constraints, parse_key_usage, parse_subject_key_identifier
from pkiconf.der.names import name_text, parse_name
from pkiconf.der.oids import BASIC_CONSTRAINTS, KEY_USAGE, SUBJECT_KEY_IDENTIFIER
from pkiconf.der.pem import pem_decode_all, pem_encode
from pkiconf.der.verify import check_issued_by
from pkiconf.errors import Malformed, Refused, Unverified
from pkiconf.model.usages import KeyUsage

LONGEST_CHAIN: Final = 32
"""More certificates than that in one file are no chain."""


@dataclass(frozen=True, slots=True)
class CheckedChain:
    """An authority's certificate and everything above it, nearest first, ending in a self-signed root."""

    certificate: Certificate
    above: tuple[Certificate, ...]

    @property
    def above_pem(self) -> bytes:
        return "".join(pem_encode("CERTIFICATE", certificate.der) for certificate in self.above).encode()

    @property
    def key_identifier(self) -> bytes | None:
        """What leaves must point to (RFC 5280 §4.2.1.1): as the certificate has it, however it was made."""
        extension = self.certificate.extension(SUBJECT_KEY_IDENTIFIER)
        return parse_subject_key_identifier(extension.value) if extension else None


def read_certificates(data: bytes) -> list[Certificate]:
    """Every certificate of a PEM file, or the one of a DER file. Raises Malformed."""
    ders = pem_decode_all(data, "CERTIFICATE") if b"-----BEGIN" in data else [data]
    if not any(ders):
        raise Malformed("the file holds no certificate", "Give a PEM or DER certificate")
    return [parse_certificate(der) for der in ders]


def check_chain(
    certificate: bytes, chain: bytes, spki: bytes, subject: bytes, path_length: int | None, now: datetime
) -> CheckedChain:
    """Everything a relying party will check of an authority's certificate, before it is installed.

    `certificate` may hold the chain too, its own certificate first. `subject` is the DER name we asked for: it may
    come back in other string types, but must read the same.

    Raises Malformed, UnsupportedAlgorithm, Refused, Unverified.
    """
    own, *more = read_certificates(certificate)
    _check_own(own, spki, subject)
    candidates = more + (read_certificates(chain) if chain else [])
    if len(candidates) > LONGEST_CHAIN:
        raise Refused(f"the chain has {len(candidates)} certificates", "Give only those between this one and its root")
    path = tuple(_path(own, candidates))
    for one in path:
        _check_authority(one, now)
    _check_signs_lists(own)
    _check_path_length(path, path_length)
    return CheckedChain(own, path[1:])


def _check_own(own: Certificate, spki: bytes, subject: bytes) -> None:
    if own.spki != spki:
        raise Refused(
            "the certificate is for another key than the authority's", "Have the CSR of `pkiconf authority csr` signed"
        )
    wished, got = name_text(parse_name(subject)), name_text(parse_name(own.subject))
    if wished != got:
        raise Refused(f"the certificate's subject is {got!r}, not {wished!r}", "Have it issued with the CSR's subject")


def _path(own: Certificate, candidates: Sequence[Certificate]) -> Iterator[Certificate]:
    """From an authority's certificate up to a self-signed one, every signature checked."""
    seen, current = [own], own
    yield own
    while not _is_self_signed(current):
        current = _find_above(current, candidates, seen)
        seen.append(current)
        yield current


def _is_self_signed(certificate: Certificate) -> bool:
    """A certificate that an authority issued to its own name may still be signed with another key of its."""
    try:
        check_issued_by(certificate, certificate)
    except Unverified:
        return False
    return True


def _find_above(lower: Certificate, candidates: Sequence[Certificate], seen: Sequence[Certificate]) -> Certificate:
    name = name_text(parse_name(lower.issuer))
    named = [candidate for candidate in candidates if candidate.subject == lower.issuer]
    if not named and lower.issuer not in [certificate.subject for certificate in seen]:
        raise Refused(
            f"the chain is incomplete: the certificate of {name!r} is missing",
            "Give every issuer up to the root with --chain (or certificate.chain)",
        )
    fresh = [candidate for candidate in named if candidate not in seen]
    # A root before a cross-certificate of the same key: the path ends sooner.
    signers = [candidate for candidate in fresh if _has_signed(candidate, lower)]
    if signers:
        return next(filter(_is_self_signed, signers), signers[0])
    if any(_has_signed(certificate, lower) for certificate in seen):
        raise Refused("the chain goes in a circle and ends in no self-signed root", "Give the root, too")
    subject = name_text(parse_name(lower.subject))
    raise Unverified(
        f"the certificate of {subject!r} is not signed by the {name!r} of the chain", "Give the issuer's certificate"
    )


def _is_not_self_issued(certificate: Certificate) -> bool:
    return certificate.issuer != certificate.subject


def _has_signed(upper: Certificate, lower: Certificate) -> bool:
    try:
        check_issued_by(lower, upper)
    except Unverified:
        return False
    return True


def _check_authority(certificate: Certificate, now: datetime) -> None:
    name = name_text(parse_name(certificate.subject))
    if not certificate.not_before <= now <= certificate.not_after:
        ends = f"{certificate.not_before:%Y-%m-%d %H:%M} to {certificate.not_after:%Y-%m-%d %H:%M} UTC"
        raise Refused(f"the certificate of {name!r} is valid from {ends}, not now", "Have it issued again")
    extension = certificate.extension(BASIC_CONSTRAINTS)
    if extension is None or not parse_basic_constraints(extension.value).ca:
        raise Refused(f"the certificate of {name!r} is no authority's: basicConstraints does not say CA:TRUE")
    usage = certificate.extension(KEY_USAGE)
    if usage is not None and KeyUsage.KEY_CERT_SIGN not in parse_key_usage(usage.value):
        raise Refused(f"the certificate of {name!r} may not sign certificates: keyUsage lacks keyCertSign")


def _check_signs_lists(own: Certificate) -> None:
    usage = own.extension(KEY_USAGE)
    if usage is not None and KeyUsage.CRL_SIGN not in parse_key_usage(usage.value):
        raise Refused("nobody would believe the authority's CRLs: its certificate's keyUsage lacks cRLSign")


def _check_path_length(path: Sequence[Certificate], wished: int | None) -> None:
    """RFC 5280 §6.1.4: each certificate limits how many others follow it, but for those issued to their own name."""
    room: int | None = None
    for certificate in reversed(path):
        name = name_text(parse_name(certificate.subject))
        if room is not None and _is_not_self_issued(certificate):
            if room == 0:
                raise Refused(f"the path lengths of the chain leave no room for {name!r}", "Have it issued by another")
            room -= 1
        extension = certificate.extension(BASIC_CONSTRAINTS)
        limit = parse_basic_constraints(extension.value).path_length if extension else None
        room = limit if room is None else room if limit is None else min(room, limit)
    if room is not None and (wished is None or room < wished):
        asked = "unlimited" if wished is None else str(wished)
        raise Refused(
            f"the certificate and its chain allow a path length of {room}, the declaration asks for {asked}",
            f"Set path_length: {room}, or have the certificate issued again",
        )
