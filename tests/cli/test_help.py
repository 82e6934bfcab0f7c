"""Every command explains itself, and every mistake in typing is answered with what would have been right."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest

from pkiconf.cli.app import COMMANDS, root
from tests.cli.conftest import CommandLine, run


def _walk(command: click.Command, words: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield words, command
    if isinstance(command, click.Group):
        context = click.Context(command, info_name=command.name)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from _walk(found, (*words, name))


ALL = dict(_walk(root, ()))
LEAVES = {words: command for words, command in ALL.items() if not isinstance(command, click.Group)}


def _name(words: tuple[str, ...]) -> str:
    return " ".join(words) or "pkiconf"


@pytest.mark.parametrize("words", ALL, ids=_name)
def test_help_of_every_command(words: tuple[str, ...]) -> None:
    result = run(*words, "--help")
    assert result.code == 0
    assert result.err == ""
    assert result.out.startswith(f"Usage: {' '.join(('pkiconf', *words))}")
    assert "...\n" not in result.out.partition("Commands:")[2], "a sentence is cut short"
    assert run(*words, "-h").out == result.out


@pytest.mark.parametrize("words", LEAVES, ids=_name)
def test_every_command_and_option_says_what_it_is_for(words: tuple[str, ...]) -> None:
    command = LEAVES[words]
    assert command.help
    assert command.help.strip().split(".")[0]
    for parameter in command.params:
        if isinstance(parameter, click.Option) and not parameter.hidden:
            choices = isinstance(parameter.type, click.Choice)
            assert parameter.help or choices or parameter.show_default, f"{words}: {parameter.opts}"


@pytest.mark.parametrize("words", LEAVES, ids=_name)
def test_lists_and_shows_speak_json(words: tuple[str, ...]) -> None:
    if words[-1] in ("list", "show", "status", "urls", "search", "starters", "query", "verify", "doctor", "plan"):
        assert any("--json" in parameter.opts for parameter in LEAVES[words].params)


@pytest.mark.parametrize("words", ALL, ids=_name)
def test_unknown_options_are_wrong_usage(words: tuple[str, ...]) -> None:
    result = run(*words, "--no-such-option")
    assert result.code == 64
    assert result.out == ""
    assert result.err.startswith("error: No such option '--no-such-option'")
    assert f"See `{' '.join(('pkiconf', *words))} --help`." in result.err


def test_one_line_of_help_for_every_command_of_the_table() -> None:
    shown = run("--help").out
    for name, entry in COMMANDS.items():
        assert f"  {name} " in shown
        assert entry.help.split()[0] in shown


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("autority", "list"), "Did you mean 'authority'?"),
        (("cert", "revok"), "Did you mean 'revoke'?"),
        (("frobnicate",), "See `pkiconf --help`."),
        (("request", "frobnicate"), "See `pkiconf request --help`."),
        (("authority", "list", "--jsn"), "Did you mean '--json'?"),
        (("authority", "show"), "Missing argument 'NAME'"),
        (("authority", "show", "a", "b"), "unexpected extra argument (b)"),
        (("key", "new", "--type", "rsa", "--out", "x"), "'rsa-3072'"),
        (("serve", "--bind", "8000"), "HOST:PORT"),
        (("serve", "--bind", "localhost:http"), "HOST:PORT"),
        (("serve", "--bind", "localhost:70000"), "HOST:PORT"),
        (("serve", "--workers", "0"), "--workers: "),
        (("serve", "--workers", "many"), "'many' is not a valid integer"),
        (("up", "pki.yaml", "--tls-bind", "127.0.0.1:1"), "--tls-template and --tls-names"),
        (("cert", "list", "--expires-before", "soon"), "2027-01-31"),
        (("audit", "list", "--limit", "0"), "1<=x<=100000"),
        (("apply", "x.yaml", "--allow", "everything"), "rollover, replace and retire"),
        (("apply", "plan.json", "--prune"), "leave out --limit and --prune"),
        (("request", "list", "--filter", "colour=blue"), "template=…, subject=…, name=… or by=…"),
        (("request", "list", "--state", "open"), "'pending', 'awaiting_claim'"),
    ],
)
def test_wrong_usage_says_what_would_be_right(bare: CommandLine, words: tuple[str, ...], hint: str) -> None:
    said = bare.refuses(64, *words)
    assert hint in said
    assert not bare.state.exists(), "wrong usage made state"


@pytest.mark.parametrize("words", [(), ("authority",), ("cert",)])
def test_a_group_alone_shows_its_commands(words: tuple[str, ...]) -> None:
    result = run(*words)
    assert result.code == 64
    assert result.out == ""
    assert "Commands:" in result.err


def test_version() -> None:
    from pkiconf import __version__

    assert run("--version").out == f"pkiconf {__version__}\n"


def test_a_variable_that_cannot_be_is_named(bare: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PKICONF_WORKERS", "several")
    assert "PKICONF_WORKERS" in bare.refuses(1, "authority", "list")


def test_a_secret_in_a_database_url_is_never_repeated(bare: CommandLine) -> None:
    said = bare.refuses(1, "--database-url", "postgresql://u:hunter2@127.0.0.1:1/x", "db", "status")
    assert "hunter2" not in said
    said = bare.refuses(1, "--database-url", "mysql://u:hunter2@127.0.0.1:1/x", "db", "status")
    assert "hunter2" not in said
    assert "postgresql://" in said


def test_faults_of_our_own_are_one_paragraph(bare: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("unexpected")

    monkeypatch.setattr("pkiconf.diagnosis.diagnose.diagnose", broken)
    said = bare.refuses(1, "doctor")
    assert "RuntimeError: unexpected" in said
    assert "PKICONF_DEBUG=1" in said
    monkeypatch.setenv("PKICONF_DEBUG", "1")
    with pytest.raises(RuntimeError, match="unexpected"):
        bare("doctor")


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, click.Abort])
def test_an_interrupted_command(
    bare: CommandLine, monkeypatch: pytest.MonkeyPatch, interrupt: type[BaseException]
) -> None:
    """One word, and the status that shells give to Ctrl-C."""

    def interrupted(*_: object) -> None:
        raise interrupt

    monkeypatch.setattr("pkiconf.diagnosis.diagnose.diagnose", interrupted)
    assert bare.refuses(130, "doctor").strip() == "interrupted"
