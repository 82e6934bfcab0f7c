"""Requests as they come, taken apart; what is refused, and in which of RFC 3161's words."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from typing import ClassVar

import pytest
from asn1crypto import algos, core, tsp
from hypothesis import given, settings
from hypothesis import strategies as st

from pkiconf.der.timestamp import (
    MAX_REQUEST_SIZE,
    Rejected,
    encode_rejection,
    parse_timestamp_request,
)
from pkiconf.der.timestamp_token import encode_gen_time, left_for_the_clock
from pkiconf.der.tlv import check_der, encode_tlv
from pkiconf.model.timestamps import Accuracy, FailureInfo, PKIStatus
from tests.vectors.construct import oid, tlv

SHA256 = oid("2.16.840.1.101.3.4.2.1")
NULL = b"\x05\x00"
NONCE = b"\x02\x08\x01\x02\x03\x04\x05\x06\x07\x08"
CERT_REQ = b"\x01\x01\xff"
POLICY = oid("1.2.3.4")
EXTENSION = tlv(0x30, oid("1.2.3.4.5"), tlv(0x04, NULL))


def imprint(algorithm: bytes = tlv(0x30, SHA256), hashed: bytes = bytes(32)) -> bytes:
    return tlv(0x30, algorithm, tlv(0x04, hashed))


def request(*fields: bytes, version: bytes = b"\x02\x01\x01", stamped: bytes | None = None) -> bytes:
    return tlv(0x30, version, imprint() if stamped is None else stamped, *fields)


class Refusal(core.Sequence):  # type: ignore[misc]
    """asn1crypto's own TimeStampResp demands a token."""

    _fields: ClassVar = [("status", tsp.PKIStatusInfo)]


def failure(der: bytes) -> FailureInfo:
    with pytest.raises(Rejected) as refused:
        parse_timestamp_request(der)
    assert refused.value.detail
    return refused.value.failure


def test_a_request_of_another_library() -> None:
    made = tsp.TimeStampReq(
        {
            "version": "v1",
            "message_imprint": {
                "hash_algorithm": algos.DigestAlgorithm({"algorithm": "sha512"}),
                "hashed_message": bytes(64),
            },
            "req_policy": "1.2.3.4",
            "nonce": 2**160 - 1,
            "cert_req": True,
        }
    )
    found = parse_timestamp_request(made.dump())
    assert (found.digest, found.hashed, found.cert_req) == ("sha512", bytes(64), True)
    assert found.imprint == made["message_imprint"].dump()
    assert found.policy == POLICY
    assert core.Integer.load(found.nonce).native == 2**160 - 1


@pytest.mark.parametrize("parameters", [b"", NULL])
@pytest.mark.parametrize(
    ("number", "name", "size"),
    [
        ("1.3.14.3.2.26", "sha1", 20),
        ("2.16.840.1.101.3.4.2.1", "sha256", 32),
        ("2.16.840.1.101.3.4.2.2", "sha384", 48),
        ("2.16.840.1.101.3.4.2.3", "sha512", 64),
        ("2.16.840.1.101.3.4.2.8", "sha3-256", 32),
        ("2.16.840.1.101.3.4.2.9", "sha3-384", 48),
        ("2.16.840.1.101.3.4.2.10", "sha3-512", 64),
    ],
)
def test_hashes_with_and_without_parameters(number: str, name: str, size: int, parameters: bytes) -> None:
    stamped = imprint(tlv(0x30, oid(number), parameters), bytes(size))
    found = parse_timestamp_request(request(stamped=stamped))
    assert (found.digest, found.imprint) == (name, stamped)
    assert not found.cert_req
    assert failure(request(stamped=imprint(tlv(0x30, oid(number), parameters), bytes(size + 1)))) is _BAD_DATA


_BAD_DATA = FailureInfo.BAD_DATA_FORMAT


@pytest.mark.parametrize(
    ("der", "expected"),
    [
        (b"", _BAD_DATA),
        (b"\x30\x00", _BAD_DATA),
        (b"MIIB", _BAD_DATA),
        (tlv(0x31, b"\x02\x01\x01", imprint()), _BAD_DATA),
        (request() + b"\0", _BAD_DATA),
        (request()[:-1], _BAD_DATA),
        (tlv(0x30, b"\x02\x01\x01", imprint()[:-1]), _BAD_DATA),
        (b"\x30\x80" + request()[2:] + b"\0\0", _BAD_DATA),
        (request(version=b"\x02\x01\x02"), FailureInfo.BAD_REQUEST),
        (request(version=b"\x02\x02\x00\x01"), FailureInfo.BAD_REQUEST),
        (request(version=b"\x04\x01\x01"), _BAD_DATA),
        (request(stamped=b""), _BAD_DATA),
        (request(stamped=tlv(0x30)), _BAD_DATA),
        (request(stamped=tlv(0x30, SHA256, tlv(0x04, bytes(32)))), _BAD_DATA),
        (request(stamped=tlv(0x30, tlv(0x30, SHA256), tlv(0x04, bytes(32)), NULL)), _BAD_DATA),
        (request(stamped=imprint(tlv(0x30))), FailureInfo.BAD_ALG),
        (request(stamped=imprint(tlv(0x30, oid("1.2.840.113549.2.5")), bytes(16))), FailureInfo.BAD_ALG),
        (request(stamped=imprint(tlv(0x30, SHA256, b"\x02\x01\x00"))), FailureInfo.BAD_ALG),
        (request(stamped=imprint(tlv(0x30, SHA256, NULL, NULL))), FailureInfo.BAD_ALG),
        (request(stamped=imprint(b"\x30\x03\x06\x09\x01")), _BAD_DATA),
        (request(stamped=imprint(hashed=bytes(31))), _BAD_DATA),
        (request(stamped=imprint(hashed=b"")), _BAD_DATA),
        (request(NONCE, POLICY), _BAD_DATA),
        (request(NONCE, NONCE), _BAD_DATA),
        (request(CERT_REQ, NONCE), _BAD_DATA),
        (request(POLICY, POLICY), _BAD_DATA),
        (request(b"\x06\x00"), _BAD_DATA),
        (request(NULL), _BAD_DATA),
        (request(b"\x02\x00"), _BAD_DATA),
        (request(b"\x02\x02\x00\x01"), _BAD_DATA),
        (request(b"\x02\x02\xff\x80"), _BAD_DATA),
        (request(tlv(0x02, b"\x01" * 65)), _BAD_DATA),
        (request(b"\x01\x01\x01"), _BAD_DATA),
        (request(b"\x01\x00"), _BAD_DATA),
        (request(tlv(0xA0)), _BAD_DATA),
        (request(tlv(0xA0, NULL)), _BAD_DATA),
        (request(tlv(0xA0, tlv(0x30))), _BAD_DATA),
        (request(tlv(0xA0, tlv(0x30, NULL, NULL))), _BAD_DATA),
        (request(tlv(0xA0, EXTENSION)), FailureInfo.UNACCEPTED_EXTENSION),
        (request(POLICY, NONCE, CERT_REQ, tlv(0xA0, EXTENSION)), FailureInfo.UNACCEPTED_EXTENSION),
        (
            request(tlv(0xA0, tlv(0x30, oid("1.2.3.4.5"), CERT_REQ, tlv(0x04, NULL)))),
            FailureInfo.UNACCEPTED_EXTENSION,
        ),
        (request(tlv(0x02, bytes(MAX_REQUEST_SIZE))), _BAD_DATA),
    ],
)  # fmt: skip
def test_what_is_refused(der: bytes, expected: FailureInfo) -> None:
    assert failure(der) is expected


@given(
    st.sampled_from(["1.3.14.3.2.26", "2.16.840.1.101.3.4.2.1", "2.16.840.1.101.3.4.2.3", "2.16.840.1.101.3.4.2.10"]),
    st.sampled_from([b"", NULL, b"\x04\x00", NULL + NULL]),
    st.sampled_from([20, 28, 32, 48, 64]),
    st.lists(st.sampled_from([POLICY, NONCE, CERT_REQ, tlv(0xA0, EXTENSION), tlv(0x02, b"\x01" * 40)]), max_size=4),
    st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=2),
)
def test_what_begins_as_usual_is_read_as_everything_else_is(
    number: str, parameters: bytes, size: int, fields: list[bytes], changes: list[tuple[int, int]]
) -> None:
    """The short way that most requests take says what the long one does, whatever octets are changed."""
    der = bytearray(request(*fields, stamped=imprint(tlv(0x30, oid(number), parameters), bytes(size))))
    for at, octet in changes:
        der[at % len(der)] = octet
    with pytest.MonkeyPatch.context() as patched:
        read = _outcome(bytes(der))
        patched.setattr("pkiconf.der.timestamp._USUAL", {})
        assert read == _outcome(bytes(der))


def _outcome(der: bytes) -> object:
    try:
        return parse_timestamp_request(der)
    except Rejected as refused:
        return refused.failure, str(refused)


def test_an_unknown_extension_is_named() -> None:
    with pytest.raises(Rejected, match=r"extension 1\.2\.3\.4\.5 is not understood"):
        parse_timestamp_request(request(tlv(0xA0, EXTENSION)))


def test_a_negative_nonce_is_a_nonce() -> None:
    assert parse_timestamp_request(request(b"\x02\x01\xff")).nonce == b"\x02\x01\xff"


@given(st.binary(max_size=200))
@settings(max_examples=300, deadline=None)
def test_any_octets_are_read_or_refused(der: bytes) -> None:
    with suppress(Rejected):
        parse_timestamp_request(der)


@given(st.integers(0, len(request(POLICY, NONCE, CERT_REQ)) - 1), st.integers(0, 255))
@settings(max_examples=300, deadline=None)
def test_a_request_with_one_octet_changed_is_read_or_refused(at: int, octet: int) -> None:
    der = bytearray(request(POLICY, NONCE, CERT_REQ))
    der[at] = octet
    with suppress(Rejected):
        check_der(parse_timestamp_request(bytes(der)).imprint, "the imprint")


@pytest.mark.parametrize(
    ("moment", "fraction", "expected"),
    [
        (1_893_456_000_000_000, 0, b"20300101000000Z"),
        (1_893_456_000_999_999, 0, b"20300101000000Z"),
        (1_893_456_000_999_999, 3, b"20300101000000.999Z"),
        (1_893_456_000_120_000, 3, b"20300101000000.12Z"),
        (1_893_456_000_000_999, 3, b"20300101000000Z"),
        (1_893_456_000_000_001, 6, b"20300101000000.000001Z"),
        (1_893_456_000_500_000, 6, b"20300101000000.5Z"),
        (2_524_608_000_000_000, 0, b"20500101000000Z"),
    ],
)
def test_times_have_no_more_digits_than_they_need(moment: int, fraction: int, expected: bytes) -> None:
    der = encode_gen_time(moment, fraction)
    assert der == encode_tlv(0x18, expected)
    read = core.GeneralizedTime.load(der, strict=True).native
    assert abs(read - datetime.fromtimestamp(moment / 1e6, UTC)).total_seconds() <= 10 ** -max(fraction, 0) + 1e-5


@pytest.mark.parametrize(
    ("accuracy", "ordering", "left"),
    [
        (1_000_000, False, 999_000),
        (60_000_000, False, 59_999_000),
        (1_000_000, True, 999_999),
        (1_500_000, False, 1_499_999),
        (20, False, 19),
        (1, False, 1),
    ],
)
def test_what_is_cut_off_a_time_is_taken_from_the_clock(accuracy: int, ordering: bool, left: int) -> None:
    assert left_for_the_clock(Accuracy(accuracy), ordering) == left


@pytest.mark.parametrize("failed", list(FailureInfo))
@pytest.mark.parametrize("status", [status for status in PKIStatus if status >= 2])
def test_a_refusal_is_der_and_another_library_reads_it(failed: FailureInfo, status: PKIStatus) -> None:
    der = encode_rejection(failed, "so nicht – nein", status)
    check_der(der, "a refusal")
    read = Refusal.load(der, strict=True)["status"]
    assert int(read["status"]) == status
    assert read["status_string"].native == ["so nicht – nein"]
    contents = read["fail_info"].contents
    unused, last = contents[0], contents[-1]
    assert last != 0
    assert last & -last == 1 << unused
    assert len(contents) == failed // 8 + 2
    assert last == 0x80 >> failed % 8


@pytest.mark.parametrize("status", [PKIStatus.GRANTED, PKIStatus.GRANTED_WITH_MODS])
def test_no_refusal_says_that_a_token_is_granted(status: PKIStatus) -> None:
    with pytest.raises(ValueError, match="granted"):
        encode_rejection(FailureInfo.BAD_REQUEST, "no", status)
