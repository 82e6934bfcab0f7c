"""The top-level mappings of all files into one Document."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from pkiconf.spec.declare import ACME_POLICIES, AUTHORITIES, SETTINGS, TEMPLATES, Declarer, Kind
from pkiconf.spec.document import Declaration, Document
from pkiconf.spec.errors import Problem, did_you_mean
from pkiconf.spec.misfits import Declared
from pkiconf.spec.nodes import Items, Mapping, Scalar
from pkiconf.spec.policy_references import check_policies
from pkiconf.spec.references import check_references
from pkiconf.spec.secrets import SecretSources

D = TypeVar("D", bound=Declared)

TOP_LEVEL = (SETTINGS.key, AUTHORITIES.key, TEMPLATES.key, ACME_POLICIES.key)


def build_document(roots: Sequence[Mapping], secrets: SecretSources | None, problems: list[Problem]) -> Document:
    """Merge, check each thing alone and then all against each other. What is wrong goes to `problems`; what is
    returned lacks the things that are wrong."""
    for root in roots:
        for key, key_node, _ in root:
            if key not in TOP_LEVEL:
                problems.append(Problem(key_node.at, f"{key!r} is not a top-level key", did_you_mean(key, TOP_LEVEL)))
    declarer = Declarer(secrets, problems)
    settings_node = _merged_settings(roots, problems)
    settings = declarer.declare(SETTINGS, settings_node) if settings_node else None
    authorities = _items(roots, AUTHORITIES, problems)
    templates = _items(roots, TEMPLATES, problems)
    policies = _items(roots, ACME_POLICIES, problems)
    document = Document(
        settings=settings.spec if settings else None,
        settings_explicit=settings.explicit if settings else {},
        settings_at=settings.at if settings else None,
        settings_secrets=settings.secrets if settings else {},
        authorities=_declared(AUTHORITIES, authorities, declarer),
        templates=_declared(TEMPLATES, templates, declarer),
        acme_policies=_declared(ACME_POLICIES, policies, declarer),
        findings=tuple(declarer.findings),
    )
    problems += check_references(authorities, templates)
    problems += check_policies(policies, authorities, templates)
    return document


def _declared(kind: Kind[D], nodes: Sequence[Mapping], declarer: Declarer) -> tuple[Declaration[D], ...]:
    return tuple(found for node in nodes if (found := declarer.declare(kind, node)))


def _items(roots: Sequence[Mapping], kind: Kind[D], problems: list[Problem]) -> list[Mapping]:
    found: list[Mapping] = []
    for root in roots:
        node = root.get(kind.key)
        if node is None or (isinstance(node, Scalar) and node.value() is None and node.tag is None):
            continue
        if not isinstance(node, Items):
            problems.append(Problem(node.at, f"{kind.key} wants a list", "Begin each one with - name:"))
            continue
        for item in node.items:
            if isinstance(item, Mapping):
                found.append(item)
            else:
                problems.append(Problem(item.at, f"each of {kind.key} wants a mapping", "Begin each one with - name:"))
    return found


def _merged_settings(roots: Sequence[Mapping], problems: list[Problem]) -> Mapping | None:
    """Settings of several files add up; a key that two of them set is a problem."""
    merged: Mapping | None = None
    for root in roots:
        node = root.get(SETTINGS.key)
        if node is None or (isinstance(node, Scalar) and node.value() is None and node.tag is None):
            continue
        if not isinstance(node, Mapping):
            problems.append(Problem(node.at, "settings wants a mapping", "Begin with base_url:"))
        elif merged is None:
            merged = node
        else:
            merged = _added(merged, node, problems)
    return merged


def _added(one: Mapping, other: Mapping, problems: list[Problem]) -> Mapping:
    both = Mapping(one.file, one.line, one.column)
    both.entries = dict(one.entries)
    for key, key_node, node in other:
        before = one.entries.get(key)
        if before is None:
            both.entries[key] = (key_node, node)
        elif isinstance(before[1], Mapping) and isinstance(node, Mapping):
            both.entries[key] = (before[0], _added(before[1], node, problems))
        else:
            first = before[0].at
            problems.append(
                Problem(key_node.at, f"the setting {key!r} is declared twice, first at {first}", "Keep one of them")
            )
    return both
