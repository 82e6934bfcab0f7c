"""`templates: ct:` the logs of certificate transparency that see a certificate before anybody else (RFC 6962)."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from pkiconf.model.durations import Duration
from pkiconf.spec.misfits import Advised, Declared, Misfit, Said, rfc
from pkiconf.spec.values import HTTPURL, DurationField, Instant

LONGEST_TIMEOUT: Final = 30
"""Seconds: whoever asks for a certificate waits for so long."""

_ARMOUR: Final = re.compile(r"-----(BEGIN|END) PUBLIC KEY-----|\s")
_EXAMPLE: Final = "Write {url: https://log.example/2030/, key: MFkw…}"
_METHOD: Final = "/ct/v1/add-pre-chain"


def _log_url(value: str) -> str:
    if not value.startswith("https://"):
        raise Advised(f"{value!r} is not an https URL", "Logs are asked over HTTPS")
    if value.rstrip("/").endswith(_METHOD):
        raise Advised(f"{value!r} is the URL of one method of a log", f"Leave out {_METHOD}")
    return value


def _key(value: str) -> str:
    """Base64 of a SubjectPublicKeyInfo, without blanks; what is in it is judged by policy."""
    text = _ARMOUR.sub("", value)
    try:
        if not base64.b64decode(text, validate=True):
            raise ValueError
    except (binascii.Error, ValueError):
        raise Advised(
            "key is not base64", "Write the log's public key as its operator or a list of logs gives it: MFkw…"
        ) from None
    return text


def _log(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, str):
        raise Advised(f"{value[:200]!r} names a log without its key, which its timestamps are checked with", _EXAMPLE)
    return value


LogURL = Annotated[HTTPURL, AfterValidator(_log_url), Said("an absolute URL, https")]
LogKeyText = Annotated[
    str,
    AfterValidator(_key),
    WithJsonSchema({"type": "string", "minLength": 80}),
    Said("base64 of a SubjectPublicKeyInfo, or PEM"),
]


class LogInterval(Declared):
    """Which certificates a log takes, by their end."""

    from_: Instant | None = Field(None, alias="from", description="The earliest end that it takes")
    until: Instant | None = Field(None, description="The first end that it takes no more")

    def misfits(self, written: bool) -> Iterator[Misfit]:
        if self.from_ is not None and self.until is not None and self.until <= self.from_:
            yield Misfit(("until", "from"), "until is not after from", "A log takes what ends from … until …")


class LogSpec(Declared):
    """One log, RFC 6962 or static-ct."""

    url: LogURL = Field(
        description="Where it is asked: its URL, or the submission URL of a static-ct log",
        json_schema_extra=rfc("RFC 6962 §4"),
    )
    key: LogKeyText = Field(
        description="Its public key, which timestamps are checked with", json_schema_extra=rfc("RFC 6962 §3.2")
    )
    not_after: LogInterval | None = Field(
        None, description="For a log that takes only certificates that end within an interval. Default: it takes all"
    )

    @property
    def spki(self) -> bytes:
        return base64.b64decode(self.key)


class CTSpec(Declared):
    """Certificates carry the timestamps of logs, which saw their precertificates first."""

    logs: tuple[Annotated[LogSpec, BeforeValidator(_log)], ...] = Field((), description="Whom to ask, all at once")
    required_scts: int = Field(
        2,
        ge=1,
        le=16,
        description="How many logs have to promise to include it",
        json_schema_extra=rfc("RFC 6962 §3.3"),
    )
    timeout: DurationField = Field(
        Duration(10, "s"), description=f"How long to wait for them; at most {LONGEST_TIMEOUT}s"
    )
    on_failure: Literal["refuse", "pending"] = Field(
        "refuse",
        description="Where too few promise in time. refuse: there is no certificate, and its serial counts as revoked; "
        "pending: the logs are asked again, and whoever asked waits",
    )
    give_up_after: DurationField = Field(
        Duration(1, "d"), description="With on_failure: pending, when to refuse after all"
    )

    def misfits(self, written: bool) -> Iterator[Misfit]:
        if self.timeout.seconds > LONGEST_TIMEOUT:
            said = f"timeout {self.timeout} is longer than anybody waits"
            yield Misfit(("timeout",), said, f"At most {LONGEST_TIMEOUT}s; on_failure: pending asks again later")
        for field, values in (("url", [log.url.rstrip("/") for log in self.logs]), ("key", [x.key for x in self.logs])):
            if len(set(values)) != len(values):
                said = f"two logs have the same {field}"
                yield Misfit(("logs",), said, "A log counts once; keep one of them")
        if not self.logs:
            yield Misfit(("logs",), "ct names no log", "Name one, or remove ct")
        elif self.required_scts > len(self.logs):
            said = f"required_scts is {self.required_scts}, and logs names {len(self.logs)}"
            yield Misfit(("required_scts", "logs"), said, "Declare more logs, or lower required_scts")
        if written and self.wrote("give_up_after") and self.wrote("on_failure") and self.on_failure != "pending":
            said = "give_up_after goes with on_failure: pending"
            yield Misfit(("give_up_after", "on_failure"), said, "Remove one of them")
