"""What is written is true: pages run, examples apply, links resolve, commands exist, the reference is fresh."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from docs import clients as client_pages
from docs.reference.pages import FOLDER, commands, pages
from pkiconf.authority.telling import CredentialFile
from pkiconf.model.usages import EXTENDED_KEY_USAGES
from pkiconf.reconciler.apply import apply_plan
from pkiconf.reconciler.observe import load_plan
from pkiconf.reconciler.recap import Status
from pkiconf.spec.explain import every_path
from pkiconf.spec.loader import load_files
from pkiconf.spec.schema import json_schema
from tests.ports import free_port
from tests.sessions import Session, blocks, run_page, unlike
from tests.tools import find_tool
from tests.world import OPERATOR, World

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
WRITTEN = [page for page in PAGES if page.parent != FOLDER]
_FIELD_PAGES = ("settings", "authorities", "templates", "acme-policies")
EXAMPLES = {
    "quickstart": "quickstart.yaml",
    "three tiers": "corporate",
    "external": "external-intermediate.yaml",
    "ML-DSA": "ml-dsa.yaml",
    "import": "import",
    "ACME": "acme.yaml",
    "certificate transparency": "transparency.yaml",
    "SCEP": "scep.yaml",
    "Apple": "apple.yaml",
    "timestamps": "timestamps.yaml",
}


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


# --- pages that run ----------------------------------------------------------------------------------------------


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    """A folder like a clone: `.venv/bin/pkiconf` is this one, and it is on the path too."""
    for tool in ("bash", "openssl", "curl"):
        find_tool(tool)
    binaries = tmp_path / ".venv" / "bin"
    binaries.mkdir(parents=True)
    program = binaries / "pkiconf"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m pkiconf "$@"\n')
    program.chmod(0o755)
    port = free_port()
    kept = {name: os.environ[name] for name in ("LANG", "TMPDIR") if name in os.environ}
    environment = {
        **kept, "PATH": f"{binaries}:{os.environ['PATH']}", "HOME": str(tmp_path), "PYTHONPATH": str(ROOT),
        "PKICONF_BIND": f"127.0.0.1:{port}", "COLUMNS": "200",
    }  # fmt: skip
    opened = Session(tmp_path, environment, port)
    yield opened
    opened.close()


@pytest.mark.timeout(600)
def test_the_tutorial_is_true(session: Session) -> None:
    text = (ROOT / "docs" / "tutorial.md").read_text()
    # `init` writes the address that the page shows, as it does for a reader.
    text = text.replace("pkiconf init\n", "pkiconf init --base-url http://127.0.0.1:8000\n", 1)
    assert run_page(text, session) >= 15


@pytest.mark.timeout(600)
def test_the_readme_is_true(session: Session) -> None:
    (session.folder / "examples").mkdir()
    declaration = (ROOT / "examples" / "quickstart.yaml").read_text()
    (session.folder / "examples" / "quickstart.yaml").write_text(session.here(declaration))
    assert run_page((ROOT / "README.md").read_text(), session) >= 2


@pytest.mark.timeout(600)
@pytest.mark.row("F105")
def test_the_certbot_page_is_true(session: Session) -> None:
    certbot = session.folder / ".venv" / "bin" / "certbot"
    certbot.symlink_to(find_tool("certbot"))
    assert run_page((ROOT / "docs" / "acme" / "certbot.md").read_text(), session) >= 6


def test_the_pages_of_acme_clients_are_fresh() -> None:
    made = client_pages.pages()
    assert sorted(made) == sorted(page.name for page in client_pages.FOLDER.glob("*.md"))
    for name, text in made.items():
        assert (client_pages.FOLDER / name).read_text() == text, f"{name}: run `python -m docs.clients`"


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("one", ""),
        ("one", "two"),
        ("one", "one\ntwo"),
        ("one\ntwo", "one"),
        ("one …", "one"),
        ("…\ntwo", "one\nthree"),
        ("one\n…\ntwo", "one\ntwo\nthree"),
        ("", "one"),
    ],
)
def test_a_page_that_shows_something_else_is_noticed(shown: str, printed: str) -> None:
    assert unlike(shown, printed)


@pytest.mark.parametrize(
    ("shown", "printed"), [("one …", "one two"), ("…\ntwo", "two"), ("one\n…", "one\ntwo\nthree"), ("", "")]
)
def test_what_differs_from_time_to_time_is_passed_over(shown: str, printed: str) -> None:
    assert not unlike(shown, printed)


# --- examples ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EXAMPLES.values(), ids=EXAMPLES)
def test_an_example_applies_and_then_there_is_nothing_to_do(sqlite_world: World, name: str, tmp_path: Path) -> None:
    document = load_files([ROOT / "examples" / name], environment={"NDES_PASSWORD": "known to everybody"})
    services, waits = sqlite_world.services, name.startswith("external")
    plan = load_plan(services, document, now=sqlite_world.clock.now())
    assert not plan.refused
    assert {change.action.value for change in plan.pending} == {"create"}
    recap = apply_plan(services, plan, document, (), OPERATOR, telling=CredentialFile(tmp_path / "all.env", add=True))
    assert recap.exit_code == (3 if waits else 0), str(recap)
    again = load_plan(services, document, now=sqlite_world.clock.now())
    assert not again.pending
    assert again.exit_code == (3 if waits else 0)
    recap = apply_plan(services, again, document, (), OPERATOR)
    assert not [result for result in recap.results if result.status is Status.CHANGED]


def test_the_examples_of_the_pages_load(tmp_path: Path) -> None:
    """Every YAML block that is a whole declaration."""
    number = 0
    for page in WRITTEN:
        for block in blocks(page.read_text()):
            if block.language == "yaml" and re.search(r"^(settings|authorities|templates):", block.body, re.M):
                folder = tmp_path / str(number)
                folder.mkdir()
                for file in ("department.pem", "chain.pem", "old-ca.key", "old-ca.pem", "old-ca.crl", "issued.txt"):
                    example = ROOT / "examples" / "import" / file
                    (folder / file).write_bytes(example.read_bytes() if example.exists() else b"")
                (folder / "practice-statement.txt").write_text("We are careful.")
                (folder / "pki.yaml").write_text(block.body)
                load_files([folder / "pki.yaml"], environment={}, resolve_secrets=False)
                number += 1
    assert number >= 8


# --- links and names ---------------------------------------------------------------------------------------------


def anchors(page: Path) -> set[str]:
    """Where a link into a page can lead: its headings, as Markdown makes identifiers of them."""
    found = set()
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.S)
    for heading in re.findall(r"^#+ (.*)$", text, flags=re.M):
        if own := re.search(r"\{ #(\S+) \}", heading):
            found.add(own[1])
        else:
            plain = re.sub(r"[^\w\s-]", "", heading.replace("`", "")).strip().lower()
            found.add(re.sub(r"[-\s]+", "-", plain))
    return found


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        leads = (page.parent / file).resolve() if file else page
        assert leads.exists(), f"{name_of(page)} links to {target}"
        if anchor and leads.suffix == ".md":
            assert anchor in anchors(leads), f"{name_of(page)} links to {target}; there are {sorted(anchors(leads))}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_was_merged_to_the_end(page: Path) -> None:
    assert not re.search(r"^(<<<<<<<|>>>>>>>|=======$)", page.read_text(), re.M)


def test_every_page_is_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text()
    for page in (ROOT / "docs").rglob("*.md"):
        assert page.relative_to(ROOT / "docs").as_posix() in navigation, f"{page} is not in mkdocs.yml"


COMMANDS = dict(commands())


def spoken(text: str) -> Iterator[str]:
    """Every `pkiconf …` of a page, in blocks and in the middle of sentences, one a piece."""
    code = [block.body for block in blocks(text) if block.language in ("sh", "bash")]
    prose = re.sub(r"```.*?```", "", text, flags=re.S)
    for piece in [*code, *re.findall(r"`([^`\n]+)`", prose)]:
        for line in re.split(r"\n|&&|\|\|?|;", piece.replace("\\\n", " ")):
            words = re.search(r"(?:^|\s|/)pkiconf( .*)", line.strip())
            if words:
                yield f"pkiconf{words[1]}"


def command_of(line: str) -> tuple[str, list[str]]:
    """The longest command that a line begins with, and the words after it."""
    words = line.split()
    path = words.pop(0)
    while words and words[0].startswith("--"):
        words = words[2:] if "=" not in words[0] else words[1:]
    while words and f"{path} {words[0]}" in COMMANDS:
        path = f"{path} {words.pop(0)}"
    return path, words


@pytest.mark.parametrize("page", WRITTEN, ids=name_of)
def test_every_command_and_option_exists(page: Path) -> None:
    for line in spoken(page.read_text()):
        path, words = command_of(line)
        command = COMMANDS[path]
        if hasattr(command, "commands") or path == "pkiconf":
            allowed = {"…", "COMMAND"}
            assert not words or words[0] in allowed or words[0].startswith(("-", "#")), f"{name_of(page)}: {line}"
        options = {name for option in command.params for name in (*option.opts, *option.secondary_opts)}
        for word in words:
            if word == "#":
                break
            if re.fullmatch(r"--?[a-z][a-z-]*(=.*)?", word):
                assert word.partition("=")[0] in options | {"--help", "-h"}, f"{name_of(page)}: {line}"


@pytest.mark.parametrize("page", WRITTEN, ids=name_of)
def test_every_field_that_a_page_names_exists(page: Path) -> None:
    paths = set(every_path())
    prose = re.sub(r"```.*?```", "", page.read_text(), flags=re.S)
    for code in re.findall(r"`((?:settings|authorities|templates)\.[a-z_.]+)`", prose):
        assert code in paths, f"{name_of(page)}: {code}"


@pytest.mark.parametrize("page", WRITTEN, ids=name_of)
def test_every_file_of_the_code_that_a_page_names_exists(page: Path) -> None:
    for path in re.findall(r"`((?:pkiconf|tests|examples|docs|benchmarks|scripts)/[\w./-]+)`", page.read_text()):
        assert (ROOT / path.partition("::")[0]).exists(), f"{name_of(page)}: {path}"


@pytest.mark.parametrize("page", WRITTEN, ids=name_of)
def test_code_that_a_page_quotes_stands_in_its_file(page: Path) -> None:
    for block in blocks(page.read_text()):
        if block.language == "python" and block.title:
            lines = {line.strip() for line in (ROOT / block.title).read_text().splitlines()}
            missing = [line for line in block.body.splitlines() if line.strip() and line.strip() not in lines]
            assert not missing, f"{name_of(page)}, line {block.line}: {block.title} has no {missing}"


def test_every_metric_that_a_page_names_exists() -> None:
    program = "".join(path.read_text() for path in (ROOT / "pkiconf" / "endpoints").glob("*.py"))
    told = set(re.findall(r"`(pkiconf_\w+)`", (ROOT / "docs" / "operate.md").read_text()))
    assert len(told) >= 8
    assert not {name for name in told if f'"{name}"' not in program}


@pytest.mark.parametrize("page", WRITTEN, ids=name_of)
def test_every_variable_that_a_page_names_exists(page: Path) -> None:
    known = set(re.findall(r"PKICONF_[A-Z_]+", (FOLDER / "process.md").read_text())) | {"PKICONF_KILL_AT"}
    assert set(re.findall(r"PKICONF_[A-Z_]+[A-Z]", page.read_text())) <= known


# --- the reference -----------------------------------------------------------------------------------------------


def test_the_reference_is_what_the_program_says() -> None:
    made = pages()
    assert {path.name for path in FOLDER.glob("*.md")} == set(made)
    stale = [name for name, text in made.items() if (FOLDER / name).read_text() != text]
    assert not stale, "run `python -m docs.reference`"


def test_every_field_and_every_command_is_in_the_reference() -> None:
    fields = "".join((FOLDER / f"{key}.md").read_text() for key in _FIELD_PAGES)
    for path in every_path():
        if path.count(".") and ".subject." not in path:
            assert f"{{ #{path.replace('.', '-')} }}" in fields, path
    text = (FOLDER / "commands.md").read_text()
    for path in COMMANDS:
        assert f"`{path}`" in text, path
    values = (FOLDER / "values.md").read_text()
    assert all(f"`{name}`" in values for name in EXTENDED_KEY_USAGES)


def test_the_schema_beside_the_examples_is_fresh() -> None:
    assert json.loads((ROOT / "examples" / "pkiconf.schema.json").read_text()) == json_schema()
