"""What `up` prints when everything answers: authorities, where clients begin, and commands to try, ready to paste."""

from __future__ import annotations

import json
import os
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

from pkiconf.diagnosis.base_url import unserved
from pkiconf.issuance.issuer import AuthorityURLs, authority_spec, authority_urls, load_settings
from pkiconf.model.acme_urls import URLs as ACMEURLs
from pkiconf.model.scep_urls import SCEPURLs
from pkiconf.services import Services
from pkiconf.settings import ProcessSettings, find_state_folder
from pkiconf.spec.template import TemplateSpec
from pkiconf.store import authorities, requests, templates
from pkiconf.store.acme_policies import list_policies
from pkiconf.store.database import Connection


@dataclass(frozen=True, slots=True)
class _Shown:
    name: str
    lifecycle: str
    issuer: str
    urls: AuthorityURLs


def welcome(services: Services, listeners: ProcessSettings, program: str) -> str:
    """`program` is how pkiconf was called; `listeners` say where the server answers."""
    return services.parts.db.read(lambda c: _text(c, listeners, program))


def _text(c: Connection, listeners: ProcessSettings, program: str) -> str:
    shown, pki = _authorities(c), load_settings(c)
    lines = ["", f"pkiconf answers at http://{listeners.bind}  (Ctrl-C ends it)", ""]
    if (elsewhere := unserved(pki, listeners)) is not None:
        lines += [f"warning: {elsewhere.text}. {elsewhere.remedy}.", ""]
    for one in shown:
        lines.append(f"  {one.name}  ({one.lifecycle.replace('_', ' ')})")
        lines += [f"    OCSP         {one.urls.ocsp}", f"    CRL          {one.urls.crl}"]
        lines += [f"    certificate  {one.urls.aia}", ""]
    lines += _enrolment(c, pki.enrolment_url)
    example = _example(c, shown, program)
    if example:
        lines += ["Try it in a second terminal, in this folder:", "", *(f"  {line}" for line in example), ""]
    return "\n".join(lines)


def _authorities(c: Connection) -> list[_Shown]:
    pki = load_settings(c)
    found = []
    for row in authorities.list_authorities(c):
        issuers = authorities.list_issuers(c, row.id)
        generation = max((issuer.generation for issuer in issuers), default=1)
        spec = authority_spec(row)
        found.append(_Shown(row.name, row.lifecycle, spec.issuer, authority_urls(pki, spec, row.slug, generation)))
    return found


def _enrolment(c: Connection, base: str) -> list[str]:
    """Where clients of ACME and of SCEP begin, if there is anything for them."""
    lines = []
    policies = [row for row in list_policies(c) if row.lifecycle == "active"]
    if policies:
        urls = ACMEURLs(base)
        lines += ["  ACME", f"    directory    {urls.directory()}"]
        lines += [f"    {row.name:<12} {urls.directory(row.slug)}" for row in policies] + [""]
    for template in templates.list_templates(c):
        spec = TemplateSpec.model_validate(json.loads(template.spec))
        if template.lifecycle == "active" and spec.enabled and spec.scep is not None and spec.scep.enabled:
            authority = authorities.get_authority(c, template.authority_id)
            place = SCEPURLs(base, authority.slug, template.slug)
            ndes = [f"    NDES         {place.admin_page}"] if spec.scep.ndes.enabled else []
            lines += [f"  {authority.name}/{template.name}", f"    SCEP         {place.enrolment}", *ndes, ""]
    return lines


def _example(c: Connection, shown: list[_Shown], program: str) -> list[str]:
    """Issue, verify, revoke, and ask whether it is revoked; for the first web-server template below an active root."""
    known = {one.name: one for one in shown if one.lifecycle == "active"}
    for template in templates.list_templates(c):
        issuing = known.get(authorities.get_authority(c, template.authority_id).name)
        root = known.get(issuing.issuer) if issuing else None
        if (
            issuing
            and root
            and root.issuer == "self"
            and template.name == "web-server"
            and template.lifecycle == "active"
        ):
            return _commands(program, issuing, root, 1 + requests.last_number(c))
    return []


def _commands(program: str, issuing: _Shown, root: _Shown, number: int) -> list[str]:
    return [
        "openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout web.key "
        '-subj "/CN=web.corp.example" -addext "subjectAltName=DNS:web.corp.example" -out web.csr',
        f"{program} request submit --template {issuing.name}/web-server web.csr",
        f"{program} request sign {number} --out web.pem",
        f"{program} authority export {root.name} --out root.pem",
        "openssl verify -CAfile root.pem -untrusted web.pem web.pem",
        "",
        "SERIAL=$(openssl x509 -in web.pem -noout -serial | cut -d= -f2)",
        f"{program} cert revoke $SERIAL --reason keyCompromise",
        f"{program} authority export {issuing.name} --out issuing.pem",
        f"openssl ocsp -issuer issuing.pem -cert web.pem -url {issuing.urls.ocsp} -CAfile root.pem "
        "-verify_other issuing.pem",
        f"curl -s {issuing.urls.crl} | openssl crl -inform DER -noout -text | grep -A 4 $SERIAL",
    ]


def own_name(state: Path) -> str:
    """How to call this program on this installation, so that printed commands can be pasted."""
    called = sys.argv[0]
    if called.endswith("__main__.py"):
        name = f"{shlex.quote(_short(sys.executable))} -m pkiconf"
    else:
        name = shlex.quote(_short(called)) if os.sep in called else "pkiconf"
    if find_state_folder(Path.cwd()).absolute() == state:
        return name
    return f"{name} --state {shlex.quote(_short(state))}"


def _short(path: str | Path) -> str:
    """From here if it is below, else from the root."""
    here = os.path.relpath(path)
    return str(path) if here.startswith("..") else here
