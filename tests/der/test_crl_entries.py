"""Lines of a CRL by the thousand are, octet for octet, what one at a time are."""

from __future__ import annotations

import random
from datetime import UTC, datetime

import pytest

from pkiconf.der.crl_entries import (
    encode_crl_entries,
    encode_crl_entry,
    encode_removal,
    parse_crl_entry,
    serial_of_entry,
)
from pkiconf.errors import Malformed
from pkiconf.model.revocation import RevocationReason

BY_CODE = {reason.code: reason for reason in RevocationReason} | {None: RevocationReason.UNSPECIFIED}
MOMENTS = (0, 1, 86399, 86400, 1_893_456_000, 2_524_607_999, 2_524_608_000, 4_000_000_000)  # 2050 is GeneralizedTime


def test_the_same_as_one_by_one() -> None:
    drawn = random.Random(5)
    lines = [
        (
            drawn.randbytes(drawn.choice([1, 5, 19, 19, 20])).lstrip(b"\0") or b"\1",
            drawn.choice([*MOMENTS, drawn.randrange(2_000_000_000)]),
            drawn.choice(list(BY_CODE)),
            drawn.choice([None, None, 5, 3_000_000_000]),
        )
        for _ in range(3000)
    ]
    expected = [
        encode_crl_entry(serial, at, BY_CODE[code], None if since is None else datetime.fromtimestamp(since, UTC))
        for serial, at, code, since in lines
    ]
    assert encode_crl_entries(lines) == expected
    assert [serial_of_entry(entry) for entry in expected] == [line[0] for line in lines]


@pytest.mark.parametrize("code", [7, 8, 11, -1, 255])
def test_a_reason_there_is_not(code: int) -> None:
    with pytest.raises(ValueError, match="no revocation reason"):
        encode_crl_entries([(b"\x40" * 19, 0, code, None)])


def test_a_removal_stands_on_deltas_only() -> None:
    entry = encode_removal(b"\x40" * 19, 1_893_456_000)
    assert parse_crl_entry(entry, in_delta=True).removed
    with pytest.raises(Malformed, match="removeFromCRL"):
        parse_crl_entry(entry)
