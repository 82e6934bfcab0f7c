"""`pkiconf request preapprove`, `approve`, `resend`, `profile`: certificates approved before there is a key."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from pkiconf.cli.context import operator, services
from pkiconf.cli.moments import moment
from pkiconf.cli.naming import parse_sans, parse_subject
from pkiconf.cli.output import write_pieces
from pkiconf.cli.overrides import changes, read_overrides

if TYPE_CHECKING:
    from pkiconf.enrolment.profiles import Profile
    from pkiconf.model.durations import Duration
    from pkiconf.model.enrolment import GrantWish, Offer

F = TypeVar("F", bound=Callable[..., Any])


def _duration(context: click.Context, parameter: click.Parameter, text: str) -> Duration:
    from pkiconf.model.durations import Duration

    try:
        return Duration.parse(text)
    except ValueError as ex:
        raise click.BadParameter(str(ex)) from None


lifetime = click.option(
    "--expires", "lifetime", default="7d", show_default=True, callback=_duration, metavar="DURATION",
    help="How long the link is good for; at most 90d.",
)  # fmt: skip

_WISH: Final = (
    click.option("--subject", metavar="NAME", help="RFC 4514: 'CN=Jane Doe,O=Example Corp'."),
    click.option("--san", "sans", multiple=True, metavar="TYPE:VALUE", help="email:jane@corp.example, dns:…, …"),
    click.option("--days", type=click.IntRange(1, 36600), help="Validity. Default: the template's."),
    click.option("--not-before", metavar="TIME", help="Start of the validity, such as 2027-01-31T08:00 (UTC)."),
    click.option("--not-after", metavar="TIME", help="Its end."),
    click.option("--email", metavar="ADDRESS", help="Whom to send the link; needs settings.mail."),
    click.option("--apple", is_flag=True, help="For an iPhone, iPad or Mac: the link leads to a profile."),
)


def wish(command: F) -> F:
    """The options that say what is approved, and for whom."""
    for option in reversed(_WISH):
        command = option(command)
    return command


def read_wish(
    template: str,
    subject: str | None,
    sans: Sequence[str],
    days: int | None,
    not_before: str | None,
    not_after: str | None,
    email: str | None,
    apple: bool,
) -> GrantWish:
    from pkiconf.model.enrolment import Deliver, GrantWish
    from pkiconf.model.request import Overrides

    if subject is None and not sans:
        raise click.UsageError("say what the certificate names: --subject, --san, or both")
    if days is not None and not_after is not None:
        raise click.UsageError("give --days or --not-after, not both")
    return GrantWish(
        template=template,
        subject=parse_subject(subject),
        sans=parse_sans(sans),
        validity=Overrides(
            days=days,
            not_before=moment(not_before, "--not-before"),
            not_after=moment(not_after, "--not-after"),
        ),
        email=email,
        deliver=Deliver.APPLE if apple else Deliver.CLAIM,
    )


@click.command()
@click.option("--template", "-t", required=True, help="authority/name, or the bare name where only one has it.")
@wish
@lifetime
@click.option("--out", type=click.Path(path_type=Path), help="With --apple: the profile itself, for you to hand over.")
def preapprove(template: str, lifetime: Duration, out: Path | None, **options: Any) -> None:  # noqa: ANN401
    """Approve a certificate for somebody who has no key yet: exactly these names, once, by a link.

    With --email the link is mailed; without, it is printed. Whoever has it gets the certificate.
    """
    wanted = read_wish(template, **options)
    if out is not None and (not options["apple"] or options["email"]):
        raise click.UsageError("--out goes with --apple and without --email")
    with services() as s:
        if out is None:
            _tell(s.enrolment.grants.preapprove(wanted, operator(), lifetime))
            return
        made = s.enrolment.handover.preapprove(
            wanted, operator(), lambda make: write_pieces(lambda write: write(make()), out, private=True), lifetime
        )
    click.echo(
        f"Request {made.number} is approved. Its profile is in {out}, good {_until(made)}, and for one device.",
        err=str(out) == "-",
    )


@click.command()
@click.argument("number", type=int)
@changes
@lifetime
def approve(number: int, lifetime: Duration, **wishes: Any) -> None:  # noqa: ANN401
    """Approve a request that was submitted without a CSR: whoever it is for gets a link, as with preapprove."""
    overrides = read_overrides(**wishes)
    with services() as s:
        _tell(s.enrolment.grants.approve(number, overrides, operator(), lifetime))


@click.command()
@click.argument("number", type=int)
@click.option("--email", metavar="ADDRESS", help="Another recipient than before.")
@lifetime
def resend(number: int, email: str | None, lifetime: Duration) -> None:
    """Send another link, for a request that nobody has claimed. The one before leads nowhere from then on."""
    with services() as s:
        _tell(s.enrolment.grants.resend(number, operator(), lifetime, email))


@click.command()
@click.argument("number", type=int)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Where the profile goes; - prints it.")
def profile(number: int, out: Path) -> None:
    """Write the profile of a request approved with --apple, for you to hand over. Its challenge is good once."""
    with services() as s:
        made = s.enrolment.handover.make(
            number, operator(), lambda make: write_pieces(lambda write: write(make()), out, private=True)
        )
    click.echo(f"The profile of request {number} is in {out}, good {_until(made)}.", err=True)


def _tell(offer: Offer) -> None:
    url = offer.url.reveal().decode()
    if url.startswith("http://"):
        click.echo(
            "warning: the link begins with http://, so everybody in between can use it. "
            "Set settings.urls.enrolment to an https address.",
            err=True,
        )
    if offer.email is not None:
        click.echo(f"Request {offer.number} is approved. {offer.email} is sent a link, good {_until(offer)}.")
        return
    click.echo(
        f"Request {offer.number} is approved. Whoever has this link gets the certificate, {_until(offer)}:", err=True
    )
    click.echo(url)


def _until(made: Offer | Profile) -> str:
    return f"until {made.expires_at:%Y-%m-%d %H:%M} UTC"
