"""`pkiconf template …`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from pkiconf.cli.context import operator, services
from pkiconf.cli.lazy import SuggestingGroup
from pkiconf.cli.output import as_json, print_fields, print_json, print_table

if TYPE_CHECKING:
    from pkiconf.authority.template_lookup import TemplateView
    from pkiconf.scep.terms import SCEPTerms


@click.group(cls=SuggestingGroup)
def group() -> None:
    """Templates: declared in YAML; looked at here. TEMPLATE is authority/name, or a name that only one has."""


@group.command("list")
@click.option("--system", is_flag=True, help="Also those of authorities' own and their services' certificates.")
@as_json
def list_(system: bool, as_json: bool) -> None:
    """List templates."""
    with services() as s:
        summaries = [_summary(view) for view in s.template_lookup.list(include_system=system)]
    if as_json:
        print_json(summaries)
        return
    columns = ("template", "state", "starter", "validity", "live_certificates", "versions")
    rows = [
        [*(summary[column] for column in columns), "yes" if summary["issues_unattended"] else "no"]
        for summary in summaries
    ]
    heads = (*(column.replace("_", " ") for column in columns), "issues unattended")
    print_table(heads, rows, "No templates yet.")


@group.command()
@click.argument("template")
@as_json
def show(template: str, as_json: bool) -> None:
    """Show a template with every value, defaults included, and its versions: a certificate names the one it is of."""
    with services() as s:
        view = s.template_lookup.get(template, include_system=True)
    history = [{"digest": digest, "made": made.isoformat()} for digest, made in view.versions]
    if as_json:
        print_json({**_summary(view), "history": history, "spec": json.loads(view.row.spec)})
        return
    print_fields(_summary(view))
    click.echo("")
    print_table(("version", "made"), [[one["digest"], one["made"]] for one in history])
    click.echo("")
    print_fields(dict(_flat("", json.loads(view.row.spec))))


@group.command()
@click.argument("template")
@as_json
def urls(template: str, as_json: bool) -> None:
    """Print the URLs of the services that a template's certificates and clients use."""
    from pkiconf.model.acme_urls import URLs

    with services() as s:
        view = s.template_lookup.get(template)
        found = s.lookup.get(view.authority).urls
        base = s.settings.read().enrolment_url
        terms = s.scep.terms.get(view.row.id)
    acme_urls = URLs(base)
    fields = {"ocsp": found.ocsp, "crl": found.crl, "certificate": found.aia, "chain": found.chain, "cps": found.cps}
    acme = {"acme": [acme_urls.directory(slug) for slug in view.acme_policies]} if view.acme_policies else {}
    scep = _scep_urls(terms, base)
    if as_json:
        print_json({**fields, **acme, **scep})
    else:
        print_fields({**fields, **{name: ", ".join(found) for name, found in acme.items()}, **scep})


def _scep_urls(terms: SCEPTerms, base: str) -> dict[str, str]:
    """What devices, and whoever sets them up, are to be told."""
    from pkiconf.model.scep_urls import SCEPURLs

    if not terms.enabled:
        return {}
    place = SCEPURLs(base, terms.place.authority_slug, terms.place.slug)
    found = {"scep": place.enrolment}
    return {**found, "ndes": place.mscep, "ndes_admin": place.admin_page} if terms.spec.ndes.enabled else found


@group.command()
@as_json
def starters(as_json: bool) -> None:
    """List the starters that templates begin from."""
    from pkiconf.policy.starters import STARTERS, starter_defaults

    rows = []
    for name in STARTERS:
        fields = starter_defaults(name)
        usages = ", ".join(fields["key_usage"]["values"])
        extended = ", ".join(fields["extended_key_usage"]["values"]) or "none"
        rows.append((name, usages, extended, "yes" if fields["basic_constraints"]["ca"] else "no", fields["validity"]))
    columns = ("starter", "key usage", "extended key usage", "CA", "validity")
    if as_json:
        print_json([dict(zip(columns, row, strict=True)) for row in rows])
    else:
        print_table(columns, rows)


@group.command()
@click.argument("template")
def delete(template: str) -> None:
    """Retire a template that is no longer declared: one that still is comes back with the next apply.

    Refused, with the list, while a certificate of it lives.
    """
    with services() as s:
        view = s.template_lookup.get(template)
        s.templates.retire(view.authority, view.row.name, view.row.generation, operator())
        implied = view.row.name in (s.lookup.get(view.authority).spec.default_templates or ())
    click.echo(f"Template {view.address} is retired: it issues no more; its history stays.")
    if implied:
        click.echo(f"The next apply brings it back, as default_templates of authority {view.authority} names it.")
    elif view.row.owner.startswith("yaml:"):
        workspace = view.row.owner.removeprefix("yaml:")
        click.echo(
            f"The next apply of workspace {workspace} brings it back if it is still declared there: remove it, or "
            "write state: absent."
        )


def _summary(view: TemplateView) -> dict[str, Any]:
    spec = json.loads(view.row.spec)
    state = view.row.lifecycle if spec.get("enabled", True) else "disabled"
    return {
        "template": view.address,
        "state": state,
        "starter": spec.get("starter"),
        "validity": spec.get("validity"),
        "live_certificates": view.live_certificates,
        "versions": len(view.versions),
        "issues_unattended": bool(view.unattended),
        "unattended": list(view.unattended),
        "owner": view.row.owner,
    }


def _flat(prefix: str, value: Any) -> list[tuple[str, object]]:  # noqa: ANN401
    if isinstance(value, dict):
        return [pair for key, inner in value.items() for pair in _flat(f"{prefix}.{key}" if prefix else key, inner)]
    return [(prefix, value)] if value is not None and value != "" else []
