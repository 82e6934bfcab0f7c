"""What `up` prints when everything answers: the authorities, their URLs, and commands to try, ready to paste."""

from __future__ import annotations

import os
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

from pkiconf.issuance.issuer import AuthorityURLs, authority_spec, authority_urls, load_settings
from pkiconf.services import Services
from pkiconf.settings import find_state_folder
from pkiconf.store import authorities, requests, templates
from pkiconf.store.database import Connection


@dataclass(frozen=True, slots=True)
class _Shown:
    name: str
    lifecycle: str
    issuer: str
    urls: AuthorityURLs


def welcome(services: Services, url: str, program: str) -> str:
    """`program` is how pkiconf was called; `url` is where the server answers."""
    return services.parts.db.read(lambda c: _text(c, url, program))


def _text(c: Connection, url: str, program: str) -> str:
    shown = _authorities(c)
    lines = ["", f"pkiconf answers at {url}  (Ctrl-C ends it)", ""]
    for one in shown:
        lines.append(f"  {one.name}  ({one.lifecycle.replace('_', ' ')})")
        lines += [f"    OCSP         {one.urls.ocsp}", f"    CRL          {one.urls.crl}"]
        lines += [f"    certificate  {one.urls.aia}", ""]
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
