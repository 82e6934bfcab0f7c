"""Every example loads without a word of complaint."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from pkiconf.spec.loader import load_files

EXAMPLES = Path(__file__).parents[2] / "examples"
ENVIRONMENT = {"NDES_PASSWORD": "known to everybody"}


def test_no_example_is_forgotten() -> None:
    kept = {path.name for path in EXAMPLES.iterdir()}
    assert kept == {
        "quickstart.yaml", "corporate", "external-intermediate.yaml", "ml-dsa.yaml", "import", "acme.yaml",
        "transparency.yaml", "scep.yaml", "timestamps.yaml", "apple.yaml",
        "pkiconf.schema.json",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "authorities"),
    [
        ("quickstart.yaml", ["corp-root", "corp-issuing"]),
        ("corporate", ["corp-root", "corp-policy", "corp-servers", "corp-people", "corp-code"]),
        ("external-intermediate.yaml", ["department-ca"]),
        ("ml-dsa.yaml", ["pq-root", "pq-issuing"]),
        ("import", ["old-corp-ca"]),
        ("acme.yaml", ["corp-root", "corp-issuing"]),
        ("transparency.yaml", ["corp-root", "corp-issuing"]),
        ("scep.yaml", ["corp-root", "corp-devices"]),
        ("timestamps.yaml", ["corp-root", "corp-timestamps", "corp-code"]),
        ("apple.yaml", ["corp-root", "corp-people"]),
    ],
)
def test_examples_load(name: str, authorities: list[str]) -> None:
    document = load_files([EXAMPLES / name], environment=ENVIRONMENT)
    assert [declaration.spec.name for declaration in document.authorities] == authorities
    assert document.templates
    assert document.settings is not None
    assert not document.findings


@pytest.mark.parametrize("path", sorted(EXAMPLES.rglob("*.yaml")), ids=lambda path: str(path.relative_to(EXAMPLES)))
def test_editors_find_the_schema(path: Path) -> None:
    first = path.read_text().partition("\n")[0]
    assert first.startswith("# yaml-language-server: $schema=")
    assert (path.parent / first.partition("=")[2]).resolve() == EXAMPLES / "pkiconf.schema.json"


@pytest.mark.row("F35")
def test_the_import_can_be_made_anew(tmp_path: Path) -> None:
    shutil.copytree(EXAMPLES / "import", tmp_path / "import")
    subprocess.run([tmp_path / "import" / "make.sh"], check=True, capture_output=True)
    (made,) = load_files([tmp_path / "import"]).authorities
    (kept,) = load_files([EXAMPLES / "import"]).authorities
    assert made.explicit == kept.explicit
    assert made.files["key.file"] != kept.files["key.file"]
    assert made.files["import.issued"] == kept.files["import.issued"]
    assert made.secrets["key.passphrase"].reveal() == b"known to everybody"
