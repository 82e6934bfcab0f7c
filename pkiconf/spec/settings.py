"""`settings:` what is wished of the whole PKI (facts of a process are flags and PKICONF_* variables)."""

from __future__ import annotations

from pydantic import Field

from pkiconf.spec.misfits import Declared
from pkiconf.spec.values import HTTPURL


class URLSettings(Declared):
    """Different bases for different services."""

    status: HTTPURL | None = Field(
        None,
        description="Base of OCSP, CRL and CA certificate URLs, baked into certificates; plain http. Default: base_url",
    )
    enrolment: HTTPURL | None = Field(None, description="Base of ACME and SCEP URLs. Default: base_url")
    console: HTTPURL | None = Field(None, description="Base of pages for people. Default: base_url")


class Settings(Declared):
    """What is wished of the whole PKI."""

    base_url: HTTPURL = Field(
        "http://127.0.0.1:8000", description="Where this PKI is reached; part of every certificate"
    )
    urls: URLSettings = Field(default_factory=URLSettings, description="Different bases for different services")

    @property
    def status_url(self) -> str:
        return (self.urls.status or self.base_url).rstrip("/")
