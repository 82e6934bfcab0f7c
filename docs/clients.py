"""Writes docs/acme/: a page for each ACME client, from the texts that `pkiconf acme client` prints.

Run `python -m docs.clients`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pkiconf.cli.client_pages import CLIENTS, client_page

FOLDER: Final = Path(__file__).parent / "acme"
DIRECTORY: Final = "http://127.0.0.1:8000/acme/directory"

_NOTE: Final = "<!-- Made by `python -m docs.clients`. Change pkiconf/cli/clients/, then run that again. -->\n"
_REAL: Final = "\n`pkiconf acme client {name}` prints this page with the URL of your own directory.\n"


def pages() -> Mapping[str, str]:
    """File name → contents, of every page."""
    return {f"{name}.md": _page(name) for name in CLIENTS}


def _page(name: str) -> str:
    title, _, rest = client_page(name, DIRECTORY, walkthrough=True).partition("\n")
    return f"{_NOTE}\n{title}\n{_REAL.format(name=name)}{rest}"


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for file, text in pages().items():
        (FOLDER / file).write_text(text)
