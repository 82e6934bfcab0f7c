"""`settings:` what is wished of the whole PKI (facts of a process are flags and PKICONF_* variables)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import AfterValidator, Field

from pkiconf.model.durations import Duration
from pkiconf.spec.mail import MailSettings
from pkiconf.spec.misfits import Advised, Declared, Misfit, Said, rfc
from pkiconf.spec.patterns import Network, parse_resolver
from pkiconf.spec.timestamp import ClockSettings
from pkiconf.spec.values import HTTPURL, DurationField, repeated_misfits


def _resolver(text: str) -> str:
    try:
        parse_resolver(text)
    except ValueError:
        raise Advised(
            f"{text!r} is no address of a resolver", "Write 10.0.0.53, 10.0.0.53:5353 or [2001:db8::53]:53"
        ) from None
    return text


Resolver = Annotated[str, AfterValidator(_resolver), Said("an IP address, with a port if it is not 53")]


class URLSettings(Declared):
    """Different bases for different services."""

    status: HTTPURL | None = Field(
        None,
        description="Base of OCSP, CRL and CA certificate URLs, baked into certificates; plain http. Default: base_url",
    )
    enrolment: HTTPURL | None = Field(None, description="Base of ACME and SCEP URLs. Default: base_url")
    console: HTTPURL | None = Field(None, description="Base of pages for people. Default: base_url")


class ValidationSettings(Declared):
    """How the world outside is asked whether a name belongs to who orders it (ACME challenges, CAA)."""

    resolvers: tuple[Resolver, ...] = Field((), description="DNS servers to ask. Default: those of the system")
    allowed_networks: tuple[Network, ...] = Field(
        (),
        description="Networks to connect to although they are refused by default: loopback, link-local, multicast, "
        "reserved and cloud metadata addresses",
    )
    forbidden_networks: tuple[Network, ...] = Field((), description="Networks never to connect to; they win")
    http_port: int = Field(80, ge=1, le=65535, description="Port of http-01", json_schema_extra=rfc("RFC 8555 §8.3"))
    tls_port: int = Field(443, ge=1, le=65535, description="Port of tls-alpn-01", json_schema_extra=rfc("RFC 8737 §3"))
    timeout: DurationField = Field(Duration(10, "s"), description="How long one attempt may take")
    attempts: int = Field(4, ge=1, le=10, description="How often a challenge is tried before it has failed")

    def misfits(self, written: bool) -> Iterator[Misfit]:
        for field in ("resolvers", "allowed_networks", "forbidden_networks"):
            yield from repeated_misfits(field, getattr(self, field))


class ACMESettings(Declared):
    """What every ACME directory says of this PKI (RFC 8555 §7.1.1)."""

    terms_of_service: HTTPURL | None = Field(
        None, description="Terms that a client has to agree to", json_schema_extra=rfc("RFC 8555 §7.1.1")
    )
    website: HTTPURL | None = Field(None, description="For people", json_schema_extra=rfc("RFC 8555 §7.1.1"))
    caa_identities: tuple[str, ...] = Field(
        (), description="Domains that CAA records name this PKI by", json_schema_extra=rfc("RFC 8659 §4.2")
    )


class Settings(Declared):
    """What is wished of the whole PKI."""

    base_url: HTTPURL = Field(
        "http://127.0.0.1:8000", description="Where this PKI is reached; part of every certificate"
    )
    urls: URLSettings = Field(default_factory=URLSettings, description="Different bases for different services")

    validation: ValidationSettings = Field(default_factory=ValidationSettings, description="How names are validated")
    clock: ClockSettings = Field(
        default_factory=ClockSettings, description="What the clock is compared with for timestamps"
    )
    acme: ACMESettings = Field(default_factory=ACMESettings, description="What ACME directories say")
    mail: MailSettings | None = Field(None, description="The server that takes mail. Default: no mail is sent")

    @property
    def enrolment_url(self) -> str:
        """Base of ACME and SCEP URLs, without a slash at its end."""
        return (self.urls.enrolment or self.base_url).rstrip("/")

    @property
    def status_url(self) -> str:
        return (self.urls.status or self.base_url).rstrip("/")
