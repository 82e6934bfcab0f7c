"""The declaration that `pkiconf init` writes: a two-tier PKI to start from."""

from __future__ import annotations

import json
from string import Template
from typing import Final

_TEXT: Final = Template("""\
# yaml-language-server: $$schema=./pkiconf.schema.json
#
# A two-tier PKI. `pkiconf plan FILE` shows what it means, defaults included; `pkiconf apply FILE` makes it so.
# `pkiconf explain authorities.key` explains a field.

settings:
  base_url: $base_url     # baked into certificates: where OCSP, CRLs and CA certificates are found

authorities:
  - name: $name-root
    subject: { common_name: $organization_root, organization: $organization }
    validity: 20y

  - name: $name-issuing
    issuer: $name-root
    subject: { common_name: $organization_issuing, organization: $organization }
    validity: 10y

templates:
  - name: web-server
    authority: $name-issuing
    starter: web-server
    validity: 90d
""")


def initial_declaration(name: str, organization: str, base_url: str) -> str:
    """YAML text; the values are quoted, so that none of them can change its structure."""
    return _TEXT.substitute(
        name=name,
        base_url=json.dumps(base_url),
        organization=json.dumps(organization, ensure_ascii=False),
        organization_root=json.dumps(f"{organization} Root CA", ensure_ascii=False),
        organization_issuing=json.dumps(f"{organization} Issuing CA 1", ensure_ascii=False),
    )
