"""Authorities as they stand, and the acts that change them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from hashlib import sha256

from pkiconf.authority.declared import DeclaredAuthority
from pkiconf.authority.establish import JOB
from pkiconf.der.pem import der_or_pem
from pkiconf.reconciler.kinds.kind import Act
from pkiconf.reconciler.state import Action, Actual, authority_address, canonical, name_of
from pkiconf.store import authorities, jobs, standing
from pkiconf.store.database import Connection


def observe_authorities(c: Connection) -> Iterator[Actual]:
    unfinished = {int(job.dedupe) for job in jobs.list_jobs_of_kind(c, JOB)}
    known = standing.authority_standings(c)
    for row in authorities.list_authorities(c):
        facts = asdict(known.get(row.id, standing.AuthorityStanding()))
        if row.id in unfinished and row.lifecycle == "active":
            facts["interrupted"] = "its last change"
        yield Actual(authority_address(row.name), json.loads(row.spec), row.owner, row.lifecycle, row.generation, facts)


def perform_authority(act: Act) -> None:
    name, change = name_of(act.change.address), act.change
    service = act.services.authorities
    if change.action is Action.RETIRE:
        service.retire(name, act.precondition, act.actor, act.guard)
        return
    if change.generation is None:
        service.create(_declared(act, name), act.actor, act.guard)
    else:
        _change(act, name)
    _install(act, name)


def _change(act: Act, name: str) -> None:
    change, service, generation = act.change, act.services.authorities, act.precondition
    if change.moved_from:
        service.rename(name_of(change.moved_from), name, generation, act.actor, act.guard)
        generation += 1
    declared = _declared(act, name)
    if change.action in (Action.ROLLOVER, Action.REPLACE):
        service.roll_over(declared, generation, act.actor, act.guard)
    elif change.action is Action.RENEW and declared.spec.issuer != "external":
        service.update(declared, generation, act.actor, act.guard, renew=True)
    elif _says_the_same(act):
        service.finish(name, act.actor)
    else:
        service.update(declared, generation, act.actor, act.guard)


def _says_the_same(act: Act) -> bool:
    """Nothing to write: only what an earlier attempt left undone."""
    row = act.services.parts.db.read(lambda c: authorities.get_authority_by_name(c, name_of(act.change.address)))
    return row.lifecycle != "retired" and row.owner == act.change.owner and row.spec == canonical(act.after)


def _declared(act: Act, name: str) -> DeclaredAuthority:
    files = act.wish.files if act.wish else {}
    return DeclaredAuthority(name, act.after, act.change.owner, files, act.wish.secrets if act.wish else {})


def _install(act: Act, name: str) -> None:
    """Install the certificate that an external issuer gave, unless it is installed already."""
    if act.wish is None or "certificate.file" not in act.change.files or act.after.get("issuer") != "external":
        return
    certificate = act.wish.files["certificate.file"]
    fingerprint = sha256(der_or_pem(certificate, ("CERTIFICATE",))).hexdigest()
    if act.services.parts.db.read(lambda c: _is_installed(c, name, fingerprint)):
        return
    chain = act.wish.files.get("certificate.chain", b"")
    act.services.external.install(name, certificate, chain, act.actor, act.guard)
    act.services.authorities.finish(name, act.actor)


def _is_installed(c: Connection, name: str, fingerprint: str) -> bool:
    row = authorities.get_authority_by_name(c, name)
    known = standing.authority_standings(c).get(row.id)
    return known is not None and fingerprint in known.certificates
