"""What an authority cannot be, and what it had better not be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from pkiconf.errors import UnsupportedAlgorithm
from pkiconf.model.keys import get_signature_algorithm
from pkiconf.model.usages import KeyUsage
from pkiconf.reconciler.kinds.above import end_of, room_below, wanted_end
from pkiconf.reconciler.kinds.kind import View
from pkiconf.reconciler.state import Actual, Desired, Spec
from pkiconf.spec.authority import AuthoritySpec

_DAY: Final = 86400
_WARN_BEFORE_END: Final = 90 * _DAY


def unfit_signature(spec: AuthoritySpec) -> str:
    if spec.signature_hash is None and spec.signature_padding is None:
        return ""
    try:
        get_signature_algorithm(spec.key.algorithm, spec.signature_hash, spec.signature_padding)
    except UnsupportedAlgorithm as error:
        return f"signature_hash: {error.detail}"
    return ""


def generation_back(standing: Actual | None, after: Spec) -> str:
    if standing is None:
        return ""
    before, wanted = standing.spec["key"].get("generation", 1), after["key"].get("generation", 1)
    return f"key.generation cannot go back from {before} to {wanted}" if wanted < before else ""


def below_limit(spec: AuthoritySpec, view: View) -> str:
    room = room_below(spec.issuer, view)
    if room is None or room.levels > 0:
        return ""
    if room.by == spec.issuer:
        return f"issuer {room.by} has path_length 0, so it cannot certify an authority; give it path_length 1 or more"
    return (
        f"issuer {spec.issuer} cannot certify an authority, because path_length {room.path_length} of {room.by} leaves "
        f"none below it; give {room.by} path_length {room.path_length + 1 - room.levels} or more"
    )


def warnings(wish: Desired, standing: Actual | None, after: Spec, view: View) -> Iterator[str]:
    usages = set(after.get("key_usage") or ())
    if KeyUsage.CRL_SIGN not in usages:
        yield "key_usage without cRLSign: its CRLs will not be believed"
    if usages - {KeyUsage.KEY_CERT_SIGN, KeyUsage.CRL_SIGN}:
        yield "key_usage differs from keyCertSign, cRLSign: not recommended, some software refuses such an authority"
    if after.get("extended_key_usage"):
        yield "extended_key_usage on an authority limits everything below it: not recommended"
    if (after.get("name_constraints") or {}).get("critical") is False:
        yield "name_constraints must be critical (RFC 5280 §4.2.1.10)"
    if "sha1" in _timestamp_digests(after):
        yield "timestamp.digests has sha1: anybody can make two files with one such hash, and have both stamped at once"
    yield from _path_warnings(after, view)
    ends = standing.facts.get("not_after") if standing else None
    if ends is not None and ends - view.now.timestamp() < _WARN_BEFORE_END:
        yield f"its certificate ends in {max(0, int(ends - view.now.timestamp()) // _DAY)} days; renew it or roll over"


def _timestamp_digests(after: Spec) -> Sequence[str]:
    digests: Sequence[str] = (after.get("timestamp") or {}).get("digests") or ()
    return digests


def _path_warnings(after: Spec, view: View) -> Iterator[str]:
    issuer = str(after.get("issuer"))
    room, own = room_below(issuer, view), after.get("path_length")
    if room is not None and own is not None and own >= room.levels:
        yield f"path_length {own} promises more than {room.by} (path_length {room.path_length}) lets it keep"
    ends, wanted = end_of(issuer, view), wanted_end(after, view)
    if ends is not None and wanted is not None and wanted > ends:
        yield f"wants to be valid beyond the end of its issuer {issuer}; it cannot outlive it"
