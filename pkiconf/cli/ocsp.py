"""`pkiconf ocsp …`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pkiconf.cli.context import services, services_if_any
from pkiconf.cli.lazy import SuggestingGroup
from pkiconf.cli.output import as_json, print_fields, print_json, read_in, write_out

if TYPE_CHECKING:
    from pkiconf.der.certificate import Certificate
    from pkiconf.revocation.inquiry import Answer, Question
    from pkiconf.revocation.whereabouts import Whereabouts


@click.group(cls=SuggestingGroup)
def group() -> None:
    """Certificate status, asked for as a relying party does."""


@group.command()
@click.argument("certificate", metavar="CERT|SERIAL")
@click.option("--authority", help="With a serial: needed only when two authorities share it.")
@click.option("--issuer", "issuer_file", type=click.Path(path_type=Path), help="Issuer's certificate, PEM or DER.")
@click.option("--url", help="Responder. Default: the one that the certificate names.")
@click.option("--local", is_flag=True, help="Ask this installation's responder directly, without a network.")
@click.option("--method", type=click.Choice(["post", "get"]), default="post", show_default=True)
@click.option("--hash", "hash_name", type=click.Choice(["sha1", "sha256"]), default="sha1", show_default=True)
@click.option("--nonce/--no-nonce", default=True, show_default=True, help="Without one, an answer may be from a cache.")
@click.option("--out", type=click.Path(path_type=Path), help="Also keep the response, DER.")
@as_json
def query(
    certificate: str,
    authority: str | None,
    issuer_file: Path | None,
    url: str | None,
    local: bool,
    method: str,
    hash_name: str,
    nonce: bool,
    out: Path | None,
    as_json: bool,
) -> None:
    """Ask whether a certificate is good; the answer is verified before it is shown.

    CERT is a PEM or DER file; its issuer is the next certificate in the file, --issuer, or one of this installation's
    authorities. SERIAL is that of a certificate issued here. Exit status 0: there is an answer, whatever it says.
    """
    from pkiconf.clock import SystemClock
    from pkiconf.egress.http import exchange
    from pkiconf.entropy import SystemEntropy
    from pkiconf.revocation.inquiry import NONCE_SIZE, Method, Question, ask

    if local and url:
        raise click.UsageError("give --local or --url, not both")
    asked = _subject(certificate, authority, issuer_file)
    question = Question(
        asked.issuer, asked.serial_number, SystemEntropy().token(NONCE_SIZE) if nonce else None, hash_name
    )
    where = "this installation" if local else url or asked.url
    if where is None:
        raise click.UsageError("the certificate names no OCSP responder: use --url")
    now = SystemClock().now()
    answer = _ask_here(question) if local else ask(question, where, exchange, now, Method(method))
    if out is not None:
        write_out(answer.der, out)
    (print_json if as_json else print_fields)(_describe(answer, asked.serial_number, where))


class _Asked:
    """Whom the question is about."""

    def __init__(self, serial_number: int, issuer: Certificate, url: str | None) -> None:
        self.serial_number = serial_number
        self.issuer = issuer
        self.url = url


def _subject(text: str, authority: str | None, issuer_file: Path | None) -> _Asked:
    if text == "-" or Path(text).is_file():
        return _from_file(Path(text), issuer_file)
    if "/" in text or "." in text:
        from pkiconf.errors import NotFound

        raise NotFound(
            f"there is no file {text}", "Give a certificate file, or the serial of a certificate issued here"
        )
    if issuer_file:
        raise click.UsageError("--issuer goes with a certificate file")
    with services() as s:
        found = s.certificates.get(text, authority)
        place = s.whereabouts.of_issuer(found.row.issuer_id)
    return _Asked(found.id.serial_number, place.issuer, place.ocsp_url)


def _from_file(file: Path, issuer_file: Path | None) -> _Asked:
    from pkiconf.errors import NotFound
    from pkiconf.revocation.whereabouts import ocsp_url_of

    certificate, *more = _certificates(file)
    candidates = _certificates(issuer_file) if issuer_file else more
    issuer = next((one for one in candidates if one.subject == certificate.issuer), None)
    url = ocsp_url_of(certificate)
    if issuer is None and issuer_file is None and (place := _known_here(certificate)):
        issuer, url = place.issuer, url or place.ocsp_url
    if issuer is None:
        where = issuer_file or f"{file}, nor among this installation's authorities"
        raise NotFound(f"the certificate's issuer is not in {where}", "Give its certificate with --issuer")
    return _Asked(certificate.serial_number, issuer, url)


def _certificates(file: Path) -> list[Certificate]:
    from pkiconf.der.certificate import parse_certificate
    from pkiconf.der.pem import pem_decode_all
    from pkiconf.errors import Malformed

    data = read_in(file)
    ders = [data] if data[:1] == b"\x30" else pem_decode_all(data, "CERTIFICATE")
    if not ders:
        raise Malformed(f"{file} holds no certificate", "Give a PEM or DER certificate")
    return [parse_certificate(der) for der in ders]


def _known_here(certificate: Certificate) -> Whereabouts | None:
    with services_if_any() as s:
        return s.whereabouts.of_certificate(certificate) if s else None


def _ask_here(question: Question) -> Answer:
    from pkiconf.errors import NotFound
    from pkiconf.revocation.inquiry import check_answer

    with services() as s:
        place = s.whereabouts.of_issuer_certificate(question.issuer)
        if place is None:
            raise NotFound(
                "the certificate's issuer is not one of this installation's authorities", "Leave out --local"
            )
        now = s.parts.now()
        return check_answer(s.ocsp.answer(place.slug, question.encode(), now).der, question, now)


def _describe(answer: Answer, serial_number: int, where: str) -> dict[str, Any]:
    from pkiconf.der.ocsp import Revoked
    from pkiconf.policy.serials import serial_text

    revoked = answer.status if isinstance(answer.status, Revoked) else None
    return {
        "serial": serial_text(serial_number),
        "status": type(answer.status).__name__.lower(),
        **({"revoked_at": revoked.at.isoformat(), "reason": revoked.reason.text} if revoked else {}),
        "this_update": answer.this_update.isoformat(),
        "next_update": answer.next_update.isoformat() if answer.next_update else None,
        "produced_at": answer.produced_at.isoformat(),
        "responder": answer.responder,
        "asked": where,
    }
