"""ACME policies against everything else that is declared: their templates, their names, their bindings' names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pkiconf.spec import nodes
from pkiconf.spec.errors import Problem, did_you_mean
from pkiconf.spec.nodes import Items, Scalar
from pkiconf.spec.references import Named, named_twice

_IMPLIED = "web-server"
_BINDINGS = "external_account_bindings"


def check_policies(
    policies: Sequence[nodes.Mapping], authorities: Sequence[nodes.Mapping], templates: Sequence[nodes.Mapping]
) -> Iterator[Problem]:
    """What is right in each policy and wrong beside what others declare."""
    named = [policy for node in policies if (policy := Named(node)).name]
    yield from named_twice("ACME policy", [(policy.name or "", policy) for policy in named])
    known = _templates(authorities, templates)
    key_ids: dict[str, Scalar] = {}
    for policy in named:
        yield from _bindings(policy, key_ids)
        if not policy.absent:
            for scalar in _references(policy):
                yield from _reference(policy, scalar, known)


def _templates(authorities: Sequence[nodes.Mapping], templates: Sequence[nodes.Mapping]) -> Mapping[str, Named | None]:
    """`authority/name` → what declares it; None for one that its authority implies."""
    found: dict[str, Named | None] = {}
    cas = [Named(node) for node in authorities]
    issuers = {ca.issuer for ca in cas if not ca.absent}
    for ca in cas:
        if ca.name and not ca.absent:
            for name in _implied(ca, ca.name in issuers):
                found[f"{ca.name}/{name}"] = None
    for template in (Named(node) for node in templates):
        if template.name and template.authority:
            found[template.full_name] = template
    return found


def _implied(authority: Named, issues_authorities: bool) -> tuple[str, ...]:
    written = authority.at_path("default_templates")
    if isinstance(written, Items):
        return tuple(item.text for item in written.items if isinstance(item, Scalar))
    return () if issues_authorities else (_IMPLIED,)


def _references(policy: Named) -> Iterator[Scalar]:
    template, profiles = policy.at_path("template"), policy.at_path("profiles")
    if isinstance(template, Scalar):
        yield template
    if isinstance(profiles, nodes.Mapping):
        yield from (node for _, _, node in profiles if isinstance(node, Scalar))


def _reference(policy: Named, scalar: Scalar, known: Mapping[str, Named | None]) -> Iterator[Problem]:
    reference = scalar.value()
    if not isinstance(reference, str):
        return
    says = f"ACME policy {policy.name!r} names template {reference!r}"
    meant = [full for full in known if reference in (full, full.partition("/")[2])]
    if not meant:
        bare = dict.fromkeys(full.partition("/")[2] for full in known)
        near = did_you_mean(reference, tuple(known) if "/" in reference else tuple(bare))
        yield Problem(scalar.at, f"{says}, which is not declared", near)
    elif len(meant) > 1:
        yield Problem(scalar.at, f"{says}, of which there are {len(meant)}", f"Write {' or '.join(meant)}")
    elif (template := known[meant[0]]) is not None:
        if template.absent:
            yield Problem(scalar.at, f"{says}, which is declared absent", "Name another, or declare the policy absent")
        elif _makes_authorities(template):
            hint = "Name one for servers or clients: over ACME a client proves names, not that it may be an authority"
            yield Problem(scalar.at, f"{says}, which makes authorities", hint)


def _makes_authorities(template: Named) -> bool:
    ca = template.at_path("basic_constraints.ca")
    if isinstance(ca, Scalar) and isinstance(ca.value(), bool):
        return bool(ca.value())
    return template.text("starter") == "certificate-authority"


def _bindings(policy: Named, key_ids: dict[str, Scalar]) -> Iterator[Problem]:
    """A name stands once in its policy, a key identifier once in all of them: clients say nothing else."""
    written = policy.at_path(_BINDINGS)
    names: dict[str, Scalar] = {}
    for item in written.items if isinstance(written, Items) else ():
        if not isinstance(item, nodes.Mapping):
            continue
        name, key_id = item.get("name"), item.get("key_id")
        if isinstance(name, Scalar) and name.text in names:
            said = f"binding {name.text!r} is declared twice, first at {names[name.text].at}"
            yield Problem(name.at, f"ACME policy {policy.name!r}: {said}", "Keep one of them")
        elif isinstance(name, Scalar):
            names[name.text] = name
        if isinstance(key_id, Scalar) and isinstance(key_id.value(), str):
            if key_id.text in key_ids:
                said = f"key_id {key_id.text!r} is declared twice, first at {key_ids[key_id.text].at}"
                yield Problem(key_id.at, f"ACME policy {policy.name!r}: {said}", "Give every binding one of its own")
            key_ids.setdefault(key_id.text, key_id)
