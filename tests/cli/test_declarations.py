"""`init`, `validate`, `plan`, `apply`, `schema` and `explain` from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
from ruamel.yaml import YAML

from tests.cli.conftest import QUICKSTART, CommandLine


def declare(pki: CommandLine, text: str, name: str = "pki.yaml") -> Path:
    path = pki.folder / name
    path.write_text(text)
    return path


@pytest.mark.row("F3")
def test_a_first_declaration_to_start_from(bare: CommandLine) -> None:
    folder = bare.folder / "new"
    said = bare.ok("init", folder, "--name", "acme", "--organization", 'Acme "Quoted" Ltd.').out
    assert "pkiconf up" in said
    declaration = folder / "pki.yaml"
    schema = json.loads((folder / "pkiconf.schema.json").read_text())
    jsonschema.validate(YAML(typ="safe").load(declaration), schema)
    assert bare.ok("validate", folder).out == "Valid: 2 authorities, 1 templates.\n"
    assert bare("plan", folder).code == 2
    assert "changed=4" in bare.ok("apply", folder, "--yes").out
    shown = bare.ok("authority", "show", "acme-issuing", "--json").json
    assert 'Acme "Quoted" Ltd.' in shown["subject"].replace("\\", "")
    before = declaration.read_text()
    assert "exists already" in bare.refuses(4, "init", folder)
    assert declaration.read_text() == before


def test_all_problems_at_once_each_with_its_place(bare: CommandLine) -> None:
    first = declare(bare, "authorities:\n  - name: root\n    isuer: self\n  - name: root\n", "a.yaml")
    second = declare(bare, "templates:\n  - name: web\n    authority: rooot\n    validity: 90 days\n", "b.yaml")
    said = bare.refuses(1, "validate", first, second)
    assert f"{first}:3:5" in said
    assert "Did you mean 'issuer'?" in said
    assert f"{second}:4:15" in said
    assert bare.refuses(1, "plan", first, second) == said
    assert bare.refuses(1, "apply", first, second, "--yes") == said
    assert not bare.state.exists()


def test_a_plan_tells_by_its_status_whether_there_is_something_to_do(pki: CommandLine) -> None:
    assert pki("plan", QUICKSTART).code == 0
    path = declare(pki, QUICKSTART.read_text().replace("validity: 90d", "validity: 30d"))
    result = pki("plan", path, "--diff")
    assert result.code == 2
    assert "90d" in result.out
    assert "30d" in result.out
    changes = {change["address"]: change for change in pki("plan", path, "--json").json["changes"]}
    assert changes["template/corp-issuing/web-server"]["action"] == "update"
    assert pki("apply", path, "--check").code == 2
    assert "validity: 30d" not in pki.ok("template", "show", "web-server").out
    assert "changed=1" in pki.ok("apply", path, "--yes").out
    assert "Nothing to do" in pki.ok("apply", path, "--yes").out
    assert pki("apply", path, "--check").code == 0


def test_a_saved_plan_is_carried_out_once(pki: CommandLine) -> None:
    path = declare(pki, QUICKSTART.read_text().replace("validity: 90d", "validity: 30d"))
    saved = pki.folder / "plan.json"
    assert pki("plan", path, "--out", saved).code == 2
    assert "changed=1" in pki.ok("apply", saved).out
    assert pki("apply", saved).code == 4, "the world has moved"


def test_a_limit_leaves_the_rest_alone(pki: CommandLine) -> None:
    text = QUICKSTART.read_text().replace("validity: 90d", "validity: 30d").replace("validity: 7d", "validity: 5d")
    path = declare(pki, text)
    pki.ok("apply", path, "--yes", "--limit", "authority/corp-issuing")
    changes = pki("plan", path, "--json").json["changes"]
    left = {change["address"] for change in changes if change["action"] != "unchanged"}
    assert left == {"template/corp-issuing/web-server"}


def test_consent_is_asked_for(pki: CommandLine) -> None:
    path = declare(pki, QUICKSTART.read_text().replace("curve: p384", "curve: p256"))
    result = pki("apply", path, "--yes")
    assert result.code == 4
    assert "--allow" in result.out + result.err
    assert pki.ok("authority", "show", "corp-issuing", "--json").json["generation"] == 1
    assert pki("apply", path, "--yes", "--allow", "rollover").code == 0
    assert pki.ok("authority", "show", "corp-issuing", "--json").json["generation"] == 2


def test_a_field_is_explained(bare: CommandLine) -> None:
    text = bare.ok("explain", "templates.key_usage").out
    assert "RFC 5280" in text
    assert bare.ok("explain", "authorities.key.curve", "--json").json["allowed"] == ["p256", "p384", "p521"]
    assert "authorities:" in bare.ok("explain").out
    assert {row["path"] for row in bare.ok("explain", "--json").json} >= {"settings", "authorities", "templates"}


def test_the_schema_is_printed(bare: CommandLine) -> None:
    schema = bare.ok("schema").json
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(YAML(typ="safe").load(QUICKSTART), schema)


@pytest.mark.parametrize(
    ("code", "words", "hint"),
    [
        (64, ("validate",), "PATHS"),
        (1, ("validate", "nothing.yaml"), "nothing.yaml"),
        (1, ("plan", "nothing.yaml"), "nothing.yaml"),
        (1, ("plan", "YAML", "--limit", "corp-root"), "authority/corp-root"),
        (1, ("plan", "YAML", "--limit", "authority/corp-rot"), "authority/corp-root"),
        (1, ("apply", "nothing.json"), "nothing.json cannot be read"),
        (1, ("apply", "JSON"), "pkiconf plan --out"),
        (64, ("apply", "YAML", "--allow", "anything"), "rollover, replace and retire"),
        (64, ("apply", "JSON", "--limit", "authority/corp-root"), "leave out --limit"),
        (1, ("explain", "authority.kye"), "pkiconf explain authorities"),
        (1, ("explain", "issuer"), "authorities.issuer"),
        (64, ("schema", "yaml"), "extra argument"),
        (1, ("init", "/proc/nothing"), "/proc/nothing"),
        (64, ("up",), "PATHS"),
        (1, ("up", "nothing.yaml"), "nothing.yaml"),
        (64, ("worker", "now"), "extra argument"),
        (64, ("watch",), "PATHS"),
    ],
)
def test_mistakes(
    pki: CommandLine, code: int, words: tuple[str, ...], hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(pki.folder)
    files = {"YAML": QUICKSTART, "JSON": declare(pki, "{}", "plan.json")}
    before = pki.ok("audit", "list", "--json").json
    assert hint in pki.refuses(code, *(files.get(word, word) for word in words))
    assert pki.ok("audit", "list", "--json").json == before
