"""The text of the reference: fields from the models, commands from click, exit codes from their enumeration."""

from __future__ import annotations

import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import click
from pydantic.fields import FieldInfo

from pkiconf.cli.app import root
from pkiconf.cli.exit_codes import ExitCode
from pkiconf.model.attributes import ATTRIBUTE_TYPES
from pkiconf.model.keys import KEY_ALGORITHMS, get_key_algorithm, signature_algorithms_for
from pkiconf.model.usages import EXTENDED_KEY_USAGES, KeyUsage
from pkiconf.policy.starters import STARTERS, starter_defaults
from pkiconf.settings import ProcessSettings
from pkiconf.spec.explain import Explanation, every_path, explain

FOLDER: Final = Path(__file__).parent

_NOTE: Final = "<!-- Made by `python -m docs.reference`. Change the program, then run that again. -->\n"

_EXIT_CODES: Final = {
    ExitCode.DONE: "Done, or there was nothing to do.",
    ExitCode.ERROR: "An error. Standard error says what it is and what to do about it.",
    ExitCode.CHANGES: "There is something to do: `plan`, `apply --check`, `db status`.",
    ExitCode.WAITING: "Waits for something outside: a certificate that others sign, a key that does not answer.",
    ExitCode.REFUSED: "Refused: consent is missing, the plan is out of date, or policy forbids it.",
    ExitCode.USAGE: "The command line itself is wrong.",
}


def pages() -> Mapping[str, str]:
    """File name → contents, of every page."""
    made = {
        "settings.md": _fields_page("settings", "Settings", _SETTINGS),
        "authorities.md": _fields_page("authorities", "Authorities", _AUTHORITIES),
        "templates.md": _fields_page("templates", "Templates", _TEMPLATES),
        "acme-policies.md": _fields_page("acme_policies", "ACME policies", _ACME_POLICIES),
        "values.md": _values_page(),
        "process.md": _process_page(),
        "commands.md": _commands_page(),
        "exit-codes.md": _exit_codes_page(),
    }
    return {name: text.rstrip("\n") + "\n" for name, text in made.items()}


_SETTINGS: Final = """\
What is wished of the whole PKI, under the top-level key `settings:`. Facts of a process, such as its database,
are [process settings](process.md)."""
_AUTHORITIES: Final = "The fields of each item of the top-level list `authorities:`. Only `name` is required."
_TEMPLATES: Final = "The fields of each item of the top-level list `templates:`. `name` and `authority` are required."
_ACME_POLICIES: Final = """\
The fields of each item of the top-level list `acme_policies:`. `name` is required, and `template` or `profiles`."""
_EXPLAIN: Final = """\
`pkiconf explain {key}.FIELD` prints the same. A default holds when the object is created; a field that is left out
keeps what stands."""


def _fields_page(key: str, title: str, introduction: str) -> str:
    lines = [_NOTE, f"# {title}", "", introduction, "", _EXPLAIN.format(key=key), ""]
    for path in every_path():
        steps = path.split(".")
        if steps[0] == key and len(steps) > 1 and not _is_attribute(path):
            lines += [*_field(explain(path)), ""]
    return "\n".join(lines)


def _is_attribute(path: str) -> bool:
    """Subject attributes: the same in three places, so they have a table of their own."""
    return ".subject." in path and path.rsplit(".", 1)[1] in {row.name for row in ATTRIBUTE_TYPES}


def _field(found: Explanation) -> Iterator[str]:
    level = "##" if found.path.count(".") == 1 else "###"
    yield f"{level} `{found.path.partition('.')[2]}` {{ #{found.path.replace('.', '-')} }}"
    yield ""
    yield f"{_escape(found.meaning)}."
    yield ""
    yield f"- Type: {_escape(found.type)}"
    yield "- Required" if found.required else f"- Default: {_escape(found.default)}"
    if found.allowed and not found.type.startswith("one of"):
        yield f"- Allowed: {', '.join(f'`{value}`' for value in found.allowed)}"
    if found.rfc:
        yield f"- Defined in: {found.rfc}"
    if found.path.endswith(".subject") or found.path.endswith("subject.values"):
        yield "- Fields: [attributes of a subject](values.md#subject-attributes), or `rdn`"


def _values_page() -> str:
    lines = [_NOTE, "# Values", "", "Names that several fields take.", "", "## Keys", ""]
    keys = ((f"`{name}`", str(key.security_bits), _signs(name)) for name, key in KEY_ALGORITHMS.items())
    lines += _table(("Name", "Strength in bits", "Signs with, its default first"), keys)
    lines += ["", "## Starters", ""]
    lines += _table(("Starter", "Key usage", "Extended key usage", "Authority", "Validity"), map(_starter, STARTERS))
    lines += ["", "## Key usages", "", ", ".join(f"`{usage}`" for usage in KeyUsage) + "."]
    lines += ["", "## Extended key usages", "", "Any other goes by its dotted OID, in quotes.", ""]
    lines += _table(("Name", "OID"), ((f"`{name}`", oid) for name, oid in EXTENDED_KEY_USAGES.items()))
    lines += ["", "## Subject attributes", ""]
    lines += ["A list gives several values. They are encoded in this order, widest first.", ""]
    lines += _table(("Key", "Short name", "OID"), ((f"`{row.name}`", row.short, row.oid) for row in ATTRIBUTE_TYPES))
    return "\n".join(lines)


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(columns)} |"
    yield "|---" * len(columns) + "|"
    yield from (f"| {' | '.join(row)} |" for row in rows)


def _signs(name: str) -> str:
    return ", ".join(row.name for row in signature_algorithms_for(get_key_algorithm(name)))


def _starter(name: str) -> tuple[str, ...]:
    fields = starter_defaults(name)
    extended = ", ".join(fields["extended_key_usage"]["values"]) or "none"
    critical = " (critical)" if fields["extended_key_usage"]["critical"] else ""
    more = "; OCSP nocheck, no AIA, OCSP or CRL URL" if fields.get("extensions", {}).get("ocsp_nocheck") else ""
    ca = "yes, path length 0" if fields["basic_constraints"]["ca"] else "no"
    usages = ", ".join(fields["key_usage"]["values"])
    return f"`{name}`", usages, f"{extended}{critical}{more}", ca, fields["validity"]


_PROCESS: Final = """\
Where this process finds its state, and where it listens. Each is a variable; many are flags too, and a flag wins.
"""


def _process_page() -> str:
    flags = _flags()

    def row(name: str, info: FieldInfo) -> tuple[str, ...]:
        default = "none" if info.default in (None, ()) else str(info.default)
        flag = f"`{flags[name]}`" if name in flags else ""
        return f"`PKICONF_{name.upper()}`", flag, _escape(info.description or ""), _type(info.annotation), default

    settings = (row(name, info) for name, info in ProcessSettings.model_fields.items())
    lines = [
        _NOTE,
        "# Process settings",
        "",
        _PROCESS,
        *_table(("Variable", "Flag", "Meaning", "Type", "Default"), settings),
    ]
    lines += ["", "`PKICONF_DEBUG`, set to anything, lets errors end in a traceback instead of one sentence."]
    return "\n".join(lines)


def _flags() -> dict[str, str]:
    context = click.Context(root, info_name="pkiconf")
    found = {}
    for command in (root, root.get_command(context, "serve")):
        assert command is not None
        for option in command.params:
            if isinstance(option, click.Option) and option.name in ProcessSettings.model_fields:
                found[str(option.name)] = option.opts[0]
    return found


def _type(annotation: object) -> str:
    inner = [one for one in typing.get_args(annotation) if one is not type(None)]
    if inner and typing.get_origin(annotation) is not tuple:
        return _type(inner[0])
    words = {"str": "text", "int": "number", "Path": "path", "SecretStr": "secret text", "tuple": "list with commas"}
    name = getattr(typing.get_origin(annotation) or annotation, "__name__", str(annotation))
    return words.get(name, name)


def _commands_page() -> str:
    lines = [_NOTE, "# Commands", "", "`pkiconf COMMAND --help` prints the same.", ""]
    for path, command in commands():
        lines += [*_command(path, command), ""]
    return "\n".join(lines)


def commands() -> Iterator[tuple[str, click.Command]]:
    """Every command by its whole name, groups before their members."""

    def below(path: str, group: click.Group) -> Iterator[tuple[str, click.Command]]:
        context = click.Context(group, info_name=path)
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            if command is None or command.hidden:
                continue
            yield f"{path} {name}", command
            if isinstance(command, click.Group):
                yield from below(f"{path} {name}", command)

    yield "pkiconf", root
    yield from below("pkiconf", root)


def _command(path: str, command: click.Command) -> Iterator[str]:
    yield f"{'##' if path.count(' ') < 2 else '###'} `{path}` {{ #{path.replace(' ', '-')} }}"
    yield ""
    yield _escape((command.help or "").replace("\b\n", ""))
    shown = [option for option in command.params if not getattr(option, "hidden", False)]
    if not isinstance(command, click.Group) or path == "pkiconf":
        context = click.Context(command, info_name=path, help_option_names=root.context_settings["help_option_names"])
        yield ""
        yield f"```text\n{command.get_usage(context).removeprefix('Usage: ')}\n```"
    options = [option for option in shown if isinstance(option, click.Option)]
    if options:
        yield ""
        yield "| Option | Meaning |"
        yield "|---|---|"
        for option in options:
            yield f"| `{_spelled(option)}` | {_escape(_meaning(option))} |"


def _spelled(option: click.Option) -> str:
    names = ", ".join((*option.opts, *option.secondary_opts))
    if option.is_flag or option.count:
        return names
    context = click.Context(click.Command("x"))
    return f"{names} {option.make_metavar(context)}".replace("|", " or ")


def _meaning(option: click.Option) -> str:
    parts = [option.help or ""]
    if option.required:
        parts.append("Required.")
    if option.multiple:
        parts.append("May be given several times.")
    if option.show_default and option.default not in (None, "", ()):
        parts.append(f"Default: {_default(option)}.")
    return " ".join(filter(None, parts))


def _default(option: click.Option) -> object:
    if option.is_flag and option.secondary_opts:
        return (option.opts if option.default else option.secondary_opts)[0]
    return option.default


def _exit_codes_page() -> str:
    lines = [_NOTE, "# Exit codes", "", "Scripts and CI may rely on these; they do not change.", ""]
    lines += _table(
        ("Status", "Name", "Meaning"), ((str(code.value), code.name, _EXIT_CODES[code]) for code in ExitCode)
    )
    lines += ["", "Interrupted by Ctrl-C, a command ends with 130."]
    return "\n".join(lines)


def _escape(text: str) -> str:
    """Nothing in a description is meant as HTML or as the end of a table's cell."""
    return text.replace("<", "&lt;").replace("|", "\\|").replace("*", "\\*").strip()


def write(folder: Path = FOLDER) -> Iterable[Path]:
    """Write every page; those that there were before and are no more go."""
    folder.mkdir(exist_ok=True)
    made = pages()
    for old in folder.glob("*.md"):
        if old.name not in made:
            old.unlink()
    for name, text in made.items():
        (folder / name).write_text(text)
    return [folder / name for name in made]
