"""YAML 1.2 files into a Document: the one place that knows the YAML library.

Files are read as events and put together here, because that alone gives every value its place, and because the
limits (depth, size, what aliases unfold to) must hold while reading and not after it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from collections.abc import Mapping as Environment
from pathlib import Path
from typing import Final

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from pkiconf.spec.assemble import build_document
from pkiconf.spec.document import Document
from pkiconf.spec.errors import Location, Problem, SpecErrors, did_you_mean
from pkiconf.spec.nodes import Items, Mapping, Node, Scalar
from pkiconf.spec.secrets import TAGS, SecretSources
from pkiconf.spec.sources import find_sources, read_source
from pkiconf.spec.syntax import syntax_problem
from pkiconf.spec.vault import HEADER

DEEPEST: Final = 24
SLOWLY_READ: Final = 512 << 10  # characters, several seconds
MOST_NODES: Final = 1_000_000
_STANDARD: Final = "tag:yaml.org,2002:"
# Not printable, or a line break in YAML 1.1 and none in 1.2 (§5.4).
_UNPRINTABLE: Final = re.compile("[^\t\n\r\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def load_files(
    paths: Sequence[Path],
    *,
    environment: Environment[str, str] | None = None,
    vault_password_file: Path | None = None,
    resolve_secrets: bool = True,
) -> Document:
    """Read and merge files and folders (*.yaml, *.yml, sorted) and check them against each other.

    `environment` answers `!env` (default: the process's own) and holds PKICONF_VAULT_PASSWORD_FILE, which
    `vault_password_file` overrides. Without `resolve_secrets` no secret and no private key file is read.
    Raises SpecErrors with every problem of all files.
    """
    problems: list[Problem] = []
    roots: list[Mapping] = []
    for source in find_sources(paths, problems):
        text = read_source(source, problems)
        if text is not None:
            roots += parse_yaml(text, str(source), problems)
    secrets = SecretSources(environment, vault_password_file) if resolve_secrets else None
    document = build_document(roots, secrets, problems)
    kinds = (document.settings, document.authorities, document.templates, document.acme_policies)
    if not problems and not any(kinds):
        problems.append(Problem(Location(", ".join(map(str, paths))), "nothing is declared here"))
    if problems:
        raise SpecErrors(sorted(set(problems)))
    return document


def parse_yaml(text: str, file: str, problems: list[Problem]) -> list[Mapping]:
    """The top-level mapping of every document in `text` that has one; what is wrong goes to `problems`."""
    if found := _UNPRINTABLE.search(text):
        line, column = text.count("\n", 0, found.start()), found.start() - text.rfind("\n", 0, found.start()) - 1
        what = f"character U+{ord(found[0]):04X} may not stand in a YAML file"
        problems.append(
            Problem(Location(file, line + 1, column + 1), what, "Remove it, or write it as an escape in quotes")
        )
        return []
    if text.startswith(HEADER.decode()):
        hint = "Decrypt the file, and write the secrets in it as !vault values"
        problems.append(Problem(Location(file, 1, 1), "the whole file is ansible-vault text", hint))
        return []
    nodes, wrong = _composed(text, file)
    problems += wrong
    for node in nodes:
        if not isinstance(node, Mapping) and not (isinstance(node, Scalar) and node.value() is None):
            hint = "Begin with a key such as authorities:"
            problems.append(Problem(node.at, "the top level is not a mapping of keys to values", hint))
    return [node for node in nodes if isinstance(node, Mapping)]


def _composed(text: str, file: str) -> tuple[list[Node], list[Problem]]:
    """The compiled parser is twelve times faster, but knows YAML 1.1 only and refuses some of 1.2, such as
    `{url: http://…}`: then the other one has the last word."""
    for pure in (False, True) if len(text) <= SLOWLY_READ else (False,):
        problems: list[Problem] = []
        try:
            return list(_Composer(file, problems).documents(YAML(typ="safe", pure=pure).parse(text))), problems
        except _Beyond as ex:
            return [], [*problems, ex.problem]
        except YAMLError as ex:
            problems.append(syntax_problem(ex, text, file))
    return [], problems


class _Beyond(Exception):
    """A limit was passed; reading this file stops."""

    def __init__(self, at: Location, problem: str, hint: str = "") -> None:
        self.problem = Problem(at, problem, hint)


class _Composer:
    """Events of one file into nodes."""

    def __init__(self, file: str, problems: list[Problem]) -> None:
        self.file = file
        self.problems = problems
        self.anchors: dict[str, Node] = {}
        self.weight = 0

    def documents(self, events: Iterator[Event]) -> Iterator[Node]:
        for event in events:
            if isinstance(event, DocumentStartEvent):
                self.anchors = {}
            elif isinstance(event, NodeEvent):
                yield self.node(event, events, 0)

    def node(self, event: Event, events: Iterator[Event], depth: int) -> Node:
        node: Node
        if isinstance(event, ScalarEvent):
            node = self.scalar(event)
        elif isinstance(event, AliasEvent):
            return self.alias(event)
        elif depth >= DEEPEST:
            raise _Beyond(self.place(event), f"nested deeper than {DEEPEST} levels")
        elif isinstance(event, MappingStartEvent):
            node = self.mapping(event, events, depth)
        else:
            assert isinstance(event, SequenceStartEvent)
            node = self.items(event, events, depth)
        if event.anchor is not None:
            self.anchors[event.anchor] = node
        return node

    def scalar(self, event: ScalarEvent) -> Scalar:
        mark = event.start_mark
        node = Scalar(self.file, mark.line, mark.column, event.value, event.implicit[0])
        if event.tag is None:
            return node
        if event.tag in TAGS:
            node.tag, node.plain = event.tag, False
        elif event.tag in ("!", f"{_STANDARD}str"):
            node.plain = False
        elif not event.tag.startswith(_STANDARD):
            self.complain(node, f"the tag {event.tag} is not known", did_you_mean(event.tag, TAGS))
        return node

    def alias(self, event: AliasEvent) -> Node:
        node = self.anchors.get(event.anchor)
        if node is None:
            hint = did_you_mean(event.anchor, tuple(self.anchors))
            raise _Beyond(self.place(event), f"*{event.anchor} points to no anchor before it", hint)
        self.count(node.weight, event)
        return node

    def items(self, event: SequenceStartEvent, events: Iterator[Event], depth: int) -> Items:
        self.judge_tag(event)
        mark = event.start_mark
        node = Items(self.file, mark.line, mark.column)
        for inner in events:
            if type(inner) is SequenceEndEvent:
                break
            item = self.node(inner, events, depth + 1)
            node.items.append(item)
            node.weight += item.weight
        self.count(1, event)
        return node

    def mapping(self, event: MappingStartEvent, events: Iterator[Event], depth: int) -> Mapping:
        self.judge_tag(event)
        mark = event.start_mark
        node = Mapping(self.file, mark.line, mark.column)
        merged: list[Node] = []
        for inner in events:
            if type(inner) is MappingEndEvent:
                break
            key = self.node(inner, events, depth + 1)
            value = self.node(next(events), events, depth + 1)
            node.weight += 1 + value.weight
            if not isinstance(key, Scalar):
                self.complain(key, "a key must be a word, not a list or a mapping")
            elif key.text == "<<" and key.plain:
                merged += value.items if isinstance(value, Items) else [value]
            elif key.text in node.entries:
                first = node.entries[key.text][0].at
                self.complain(
                    key,
                    f"the key {key.text!r} stands twice in one mapping, first at line {first.line}",
                    "Keep one of them",
                )
            else:
                node.entries[key.text] = (key, value)
        self.merge(node, merged)
        self.count(1, event)
        return node

    def merge(self, node: Mapping, merged: list[Node]) -> None:
        """`<<: *defaults`: what stands in the mapping itself wins, then the first that is merged."""
        for other in merged:
            if not isinstance(other, Mapping):
                self.complain(other, "<< merges mappings only", "Write <<: *anchor")
                continue
            for key, (key_node, value) in other.entries.items():
                node.entries.setdefault(key, (key_node, value))

    def judge_tag(self, event: SequenceStartEvent | MappingStartEvent) -> None:
        if event.tag not in (None, "!", f"{_STANDARD}map", f"{_STANDARD}seq"):
            problem = f"the tag {event.tag} may not stand before a list or a mapping"
            self.problems.append(Problem(self.place(event), problem, "Remove it"))

    def count(self, more: int, event: Event) -> None:
        self.weight += more
        if self.weight > MOST_NODES:
            raise _Beyond(
                self.place(event), f"the file unfolds to more than {MOST_NODES:,} values", "Use fewer aliases"
            )

    def place(self, event: Event) -> Location:
        return Location(self.file, event.start_mark.line + 1, event.start_mark.column + 1)

    def complain(self, node: Node, problem: str, hint: str = "") -> None:
        self.problems.append(Problem(node.at, problem, hint))
