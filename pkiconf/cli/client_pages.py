"""How strangers' ACME clients are set up: one text for each, for `pkiconf acme client` and for the documentation.

The texts are Markdown, in the folder `clients`. `{{directory}}` stands for the URL that a client begins at; what lies
between `<!-- walkthrough -->` and `<!-- /walkthrough -->` is for readers of the documentation, who try it out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pkiconf.errors import NotFound

CLIENTS: Final[Mapping[str, str]] = {
    "certbot": "certbot",
    "lego": "lego",
    "traefik": "Traefik",
    "caddy": "Caddy",
    "acme.sh": "acme.sh",
    "certify-the-web": "Certify The Web",
    "cert-manager": "cert-manager",
    "win-acme": "win-acme and simple-acme",
    "mod_md": "Apache's mod_md",
    "dehydrated": "dehydrated",
}
"""Name → how it writes itself."""

_FOLDER: Final = Path(__file__).parent / "clients"
_WALKTHROUGH: Final = re.compile(r"<!-- walkthrough -->\n(.*?)<!-- /walkthrough -->\n", re.S)
_CREDENTIALS: Final = """\
It registers with the credentials of an external account binding{of}. `apply` told them once, on the terminal or in the
file that the binding's `write_to` names. Here that file is called `eab.env`; it sets `ACME_EAB_KID` and
`ACME_EAB_HMAC_KEY`."""


def client_page(name: str, directory: str, *, policy: str | None = None, walkthrough: bool = False) -> str:
    """Raises NotFound, with the known names."""
    if name not in CLIENTS:
        raise NotFound(f"there is no page for a client {name!r}", f"Known: {', '.join(CLIENTS)}")
    text = (_FOLDER / f"{name}.md").read_text(encoding="utf-8")
    text = _WALKTHROUGH.sub(r"\1" if walkthrough else "", text)
    of = f" of policy `{policy}`" if policy else ""
    values = {
        "directory": directory,
        "credentials": _CREDENTIALS.format(of=of),
        "config": "$CERTBOT_CONFIG " if walkthrough else "",
    }
    for key, value in values.items():
        text = text.replace(f"{{{{{key}}}}}", value)
    return re.sub(r"\n{3,}", "\n\n", text).rstrip("\n") + "\n"
