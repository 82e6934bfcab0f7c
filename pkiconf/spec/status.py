"""How an authority says which of its certificates are still good: `crl:` and `ocsp:`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from pkiconf.spec.misfits import Declared, Misfit, rfc
from pkiconf.spec.values import DurationField, repeated_misfits

CertIDHash = Literal["sha1", "sha256"]


class CRLSpec(Declared):
    """Certificate revocation lists."""

    validity: DurationField = Field(  # type: ignore[assignment]
        "7d",
        description="nextUpdate after thisUpdate; remade at half life",
        json_schema_extra=rfc("RFC 5280 §5.1.2.5"),
    )
    partitions: int = Field(
        0,
        ge=0,
        le=4096,
        description="Into how many lists new certificates are divided; each names its own. 0: all on the full list",
        json_schema_extra=rfc("RFC 5280 §5.2.5"),
    )
    delta: DurationField | None = Field(
        None,
        description="nextUpdate of delta CRLs: made after each revocation, the complete list only at half its life. "
        "Default: no delta CRLs",
        json_schema_extra=rfc("RFC 5280 §5.2.4"),
    )

    def misfits(self, written: bool) -> Iterator[Misfit]:
        if self.delta is not None and self.delta.seconds >= self.validity.seconds:
            said = f"a delta CRL of {self.delta} does not end before the complete list of {self.validity}"
            yield Misfit(("delta", "validity"), said, "Write a shorter time, such as 6h")


class OCSPSpec(Declared):
    """Online status answers."""

    validity: DurationField = Field(  # type: ignore[assignment]
        "24h", description="How long an answer may be used", json_schema_extra=rfc("RFC 6960 §4.2.2.1")
    )
    presign: tuple[CertIDHash, ...] = Field(
        (),
        description="Sign answers ahead of time, to questions with these hashes. Default: sign when asked",
        json_schema_extra=rfc("RFC 9919 §3.1"),
    )

    def misfits(self, written: bool) -> Iterator[Misfit]:
        yield from repeated_misfits("presign", self.presign)
