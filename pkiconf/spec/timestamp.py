"""`authorities: timestamp:` the timestamping service of an authority (RFC 3161), and the clock it is believed for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, WithJsonSchema

from pkiconf.model.durations import Duration
from pkiconf.model.timestamps import Accuracy
from pkiconf.spec.misfits import Advised, Declared, Misfit, Said, rfc
from pkiconf.spec.values import DottedOID, DurationField, repeated_misfits

_TST_INFO: Final = rfc("RFC 3161 §2.4.2")
NTP_PORT: Final = 123
_SERVER: Final = re.compile(
    r"(?:(?P<bare>[0-9a-fA-F]*:[0-9a-fA-F:.]*:[0-9a-fA-F:.]*)"
    r"|(?:\[(?P<bracketed>[0-9a-fA-F:.]+)\]|(?P<host>[A-Za-z0-9._-]{1,253}))(?::(?P<port>\d{1,5}))?)"
)
_ACCURACY: Final = re.compile(r"(\d{1,7})(s|ms|us)")
_MICROSECONDS: Final = {"s": 1_000_000, "ms": 1_000, "us": 1}


def _accuracy(value: object) -> Accuracy:
    if isinstance(value, Accuracy):
        return value
    found = _ACCURACY.fullmatch(value) if isinstance(value, str) else None
    if found is None or int(found[1]) == 0:
        advice = "Write a whole number and s, ms or us, such as 1s or 500ms"
        raise Advised(f"{value!r} is no length of time that can be", advice)
    return Accuracy(int(found[1]) * _MICROSECONDS[found[2]])


AccuracyField = Annotated[
    Accuracy,
    BeforeValidator(_accuracy),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "pattern": rf"^{_ACCURACY.pattern}$", "examples": ["1s", "500ms"]}),
    Said("a whole number and s, ms or us, such as 1s or 500ms"),
]

DigestName = Literal["sha1", "sha256", "sha384", "sha512", "sha3-256", "sha3-384", "sha3-512"]


class TimestampSpec(Declared):
    """Timestamps at /tsa/<authority>."""

    enabled: bool = Field(False, description="Serve timestamps", json_schema_extra=rfc("RFC 3161"))
    policy: DottedOID | None = Field(
        None,
        description="Under which policy tokens are made. Default: an identifier of this authority alone, below 2.25",
        json_schema_extra=_TST_INFO,
    )
    other_policies: tuple[DottedOID, ...] = Field(
        (), description="Policies that a client may ask for instead", json_schema_extra=rfc("RFC 3161 §2.4.1")
    )
    accuracy: AccuracyField | None = Field(
        None, description="How far its time may be from the true one. Default: not said", json_schema_extra=_TST_INFO
    )
    ordering: bool = Field(
        False,
        description="The times of all tokens can be ordered, whoever made them: times with microseconds, none twice",
        json_schema_extra=_TST_INFO,
    )
    digests: tuple[DigestName, ...] = Field(
        ("sha256", "sha384", "sha512"), description="Hashes that clients may send; sha1 is broken"
    )
    authenticode: bool = Field(True, description="Answer the older protocol of signtool /t too, at the same URL")
    record: Literal["all", "count"] = Field(
        "all", description="all: hash, serial number and time of each token; count: how many there were each day"
    )
    validity: DurationField = Field(  # type: ignore[assignment]
        "5y",
        description="Of the timestamp certificate, renewed at two thirds: many check tokens only as long as it lasts",
        json_schema_extra=rfc("RFC 3161 §4"),
    )

    def misfits(self, written: bool) -> Iterator[Misfit]:
        yield from repeated_misfits("digests", self.digests)
        yield from repeated_misfits("other_policies", self.other_policies)
        if not self.digests:
            yield Misfit(("digests",), "no digest is accepted, so no token can be made", "Add sha256")
        if self.policy is not None and self.policy in self.other_policies:
            yield Misfit(("other_policies", "policy"), f"{self.policy} is the policy already", "Remove it")


def parse_time_server(text: str) -> tuple[str, int]:
    """Host and port of an NTP server: `ntp.corp.example`, `192.0.2.1:123`, `[2001:db8::1]:123`. Raises ValueError."""
    found = _SERVER.fullmatch(text)
    if found is None or not 0 < int(found["port"] or NTP_PORT) < 65536:
        raise ValueError(f"{text!r} is no host, and no port that can be")
    return found["bracketed"] or found["host"] or found["bare"], int(found["port"] or NTP_PORT)


def _time_server(text: str) -> str:
    try:
        parse_time_server(text)
    except ValueError as error:
        raise Advised(str(error), "Write ntp.corp.example, 192.0.2.1:123 or [2001:db8::1]:123") from None
    return text


TimeServer = Annotated[str, AfterValidator(_time_server), Said("a host or an address, with a port if it is not 123")]


class ClockSettings(Declared):
    """What the clock is compared with before a timestamp is signed."""

    ntp: tuple[TimeServer, ...] = Field(
        (),
        description="NTP servers: most of them have to agree with this clock, else no timestamp is made",
        json_schema_extra=rfc("RFC 5905"),
    )
    tolerance: AccuracyField = Field(
        Accuracy(1_000_000), description="How far the clock may be from a server's. An accuracy that is finer wins"
    )
    every: DurationField = Field(Duration(60, "s"), description="How often they are asked, while timestamps are made")

    def misfits(self, written: bool) -> Iterator[Misfit]:
        yield from repeated_misfits("ntp", self.ntp)
