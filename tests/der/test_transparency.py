"""Precertificates and signed certificate timestamps, octet for octet (RFC 6962 §3)."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from pkiconf.der.certificate import assemble_certificate, encode_tbs_certificate
from pkiconf.der.extensions import basic_constraints, ocsp_nocheck
from pkiconf.der.names import encode_name
from pkiconf.der.transparency import (
    POISON,
    SCT,
    check_same_but_for_timestamps,
    check_sct,
    encode_final_tbs,
    encode_sct,
    parse_log_key,
    parse_sct,
    parse_timestamp_list,
    timestamp_list,
    without_extension,
)
from pkiconf.errors import Malformed, PkiconfError, UnsupportedAlgorithm, Unverified
from pkiconf.model.attributes import COMMON_NAME
from pkiconf.model.certificate import Extension, TBSCertificate
from pkiconf.model.keys import SIGNATURE_ALGORITHMS
from pkiconf.model.names import Attribute, Name
from tests.ct_log import POISON as POISON_OID
from tests.ct_log import TIMESTAMPS, Log, LogPrivateKey, Refusal, sign_as_log, to_be_signed, without

ED25519 = SIGNATURE_ALGORITHMS["Ed25519"]
NAME = encode_name(Name((((Attribute(COMMON_NAME, "web.corp.example"),)),)))  # fmt: skip
SPKI = ed25519.Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def tbs(*extensions: Extension) -> bytes:
    start, end = datetime(2030, 1, 1, tzinfo=UTC), datetime(2030, 4, 1, tzinfo=UTC)
    return encode_tbs_certificate(TBSCertificate(77, ED25519, NAME, start, end, NAME, SPKI, extensions))


def certificate(content: bytes) -> x509.Certificate:
    return x509.load_der_x509_certificate(assemble_certificate(content, ED25519, bytes(64)))


SHOWN = tbs(basic_constraints(False), POISON, ocsp_nocheck())
PROMISE = SCT(bytes(range(32)), 1893499200123, b"\0\0\5\0\0\0\0\7", b"\4\3\0\2ab")
OTHER = replace(PROMISE, log_id=bytes(32), extensions=b"")


def test_poison_is_critical_and_null() -> None:
    found = certificate(SHOWN).extensions.get_extension_for_class(x509.PrecertPoison)
    assert found.critical
    assert POISON.value == b"\x05\x00"


@pytest.mark.parametrize(
    "extensions",
    [
        (POISON,),
        (POISON, basic_constraints(False)),
        (basic_constraints(False), POISON),
        (basic_constraints(False), POISON, ocsp_nocheck()),
    ],
)
def test_timestamps_take_the_place_of_the_poison_and_nothing_else_moves(extensions: tuple[Extension, ...]) -> None:
    shown = tbs(*extensions)
    final = encode_final_tbs(shown, [PROMISE, OTHER])
    check_same_but_for_timestamps(shown, final)
    made = certificate(final)
    assert [one.oid.dotted_string for one in made.extensions] == [
        TIMESTAMPS if one is POISON else one.oid for one in extensions
    ]
    if len(extensions) > 1:  # strangers' libraries write an empty list where there would be none
        assert made.tbs_precertificate_bytes == without_extension(shown, POISON_OID)
        assert without_extension(shown, POISON_OID) == without(assemble_certificate(shown, ED25519, b""), POISON_OID)


def test_a_stranger_reads_the_timestamps() -> None:
    listed = (
        certificate(encode_final_tbs(SHOWN, [PROMISE, OTHER]))
        .extensions.get_extension_for_class(x509.PrecertificateSignedCertificateTimestamps)
        .value
    )
    first, second = listed
    assert (first.log_id, second.log_id) == (PROMISE.log_id, OTHER.log_id)
    assert first.timestamp == datetime(2030, 1, 1, 12, 0, 0, 123000)  # noqa: DTZ001 - the library's is naive
    assert (first.extension_bytes, second.extension_bytes) == (PROMISE.extensions, b"")
    assert first.signature == b"ab"


@given(
    st.builds(
        SCT,
        st.binary(min_size=32, max_size=32),
        st.integers(0, 2**64 - 1),
        st.binary(max_size=300),
        st.binary(max_size=300).map(lambda octets: b"\4\3" + len(octets).to_bytes(2) + octets),
    )
)
def test_what_is_written_is_read(sct: SCT) -> None:
    assert parse_sct(encode_sct(sct)) == sct
    assert parse_timestamp_list(timestamp_list([sct, PROMISE]).value) == (sct, PROMISE)


@given(st.binary(max_size=120))
def test_any_octets_are_refused_in_one_way(octets: bytes) -> None:
    for parse in (parse_sct, parse_timestamp_list, parse_log_key):
        try:
            parse(octets)
        except PkiconfError:
            continue
        assert parse is parse_sct
        assert encode_sct(parse_sct(octets)) == octets


@pytest.mark.parametrize(
    "spoil",
    [
        lambda octets: b"",
        lambda octets: b"\1" + octets[1:],
        lambda octets: octets[:-1],
        lambda octets: octets + b"\0",
        lambda octets: octets[:40],
        lambda octets: octets[:41] + b"\xff\xff" + octets[43:],
    ],
)
def test_what_is_no_timestamp(spoil: object) -> None:
    with pytest.raises(Malformed):
        parse_sct(spoil(encode_sct(PROMISE)))  # type: ignore[operator]


@pytest.mark.parametrize(
    "value", ["", "0400", "04020000", "0403000000", "04050003000100", "0404000200ff", "300400020000", "0405000200ff00"]
)
def test_what_is_no_list_of_timestamps(value: str) -> None:
    with pytest.raises(Malformed):
        parse_timestamp_list(bytes.fromhex(value))


@pytest.mark.parametrize(
    ("shown", "final", "said"),
    [
        (SHOWN, SHOWN, "timestamps once, and no poison"),
        (tbs(basic_constraints(False)), encode_final_tbs(SHOWN, [PROMISE]), "poison once"),
        (encode_final_tbs(SHOWN, [PROMISE]), encode_final_tbs(SHOWN, [PROMISE]), "poison once"),
        (tbs(POISON, timestamp_list([PROMISE])), encode_final_tbs(SHOWN, [PROMISE]), "no timestamps"),
        (SHOWN, tbs(basic_constraints(False), POISON, timestamp_list([PROMISE]), ocsp_nocheck()), "no poison"),
        (SHOWN, tbs(timestamp_list([PROMISE]), ocsp_nocheck(), basic_constraints(False)), "differ"),
        (SHOWN, tbs(timestamp_list([PROMISE]), basic_constraints(False)), "differ"),
        (SHOWN, encode_final_tbs(tbs(basic_constraints(True), POISON, ocsp_nocheck()), [PROMISE]), "differ"),
    ],
)
def test_a_certificate_that_is_another_one_than_logs_saw(shown: bytes, final: bytes, said: str) -> None:
    with pytest.raises(Unverified, match=said):
        check_same_but_for_timestamps(shown, final)


def test_one_bit_more_or_less_is_noticed() -> None:
    """Everywhere but in the timestamps, which have signatures of their own."""
    final = encode_final_tbs(SHOWN, [PROMISE])
    value = timestamp_list([PROMISE]).value
    start = final.index(value)
    for at in (*range(start), *range(start + len(value), len(final))):
        with pytest.raises((Unverified, Malformed)):
            check_same_but_for_timestamps(SHOWN, final[:at] + bytes((final[at] ^ 1,)) + final[at + 1 :])


KEYS: dict[str, LogPrivateKey] = {
    "p256": ec.generate_private_key(ec.SECP256R1()),
    "rsa": rsa.generate_private_key(65537, 2048),
}


@pytest.mark.parametrize("kind", KEYS)
def test_a_promise_holds_for_what_it_was_made_for_and_for_nothing_else(kind: str) -> None:
    log = Log(key=KEYS[kind])
    key = parse_log_key(log.spki)
    assert key.id == hashlib.sha256(log.spki).digest()
    entry = without(assemble_certificate(SHOWN, ED25519, b""), POISON_OID)
    message = to_be_signed(1893499200123, hashlib.sha256(SPKI).digest(), entry, b"\0\0\5\0\0\0\0\7")
    sct = replace(PROMISE, log_id=log.id, signature=sign_as_log(log.key, message))
    check_sct(sct, key, SPKI, SHOWN)
    for wrong in (
        replace(sct, timestamp=sct.timestamp + 1),
        replace(sct, extensions=b""),
        replace(sct, log_id=bytes(32)),
        replace(sct, signature=b"\5" + sct.signature[1:]),
    ):
        with pytest.raises(Unverified):
            check_sct(wrong, key, SPKI, SHOWN)
    for signature in (b"", sct.signature[:3], sct.signature[:-1], sct.signature + b"\0"):
        with pytest.raises((Malformed, Unverified)):
            check_sct(replace(sct, signature=signature), key, SPKI, SHOWN)
    with pytest.raises(Unverified):
        check_sct(sct, key, SPKI[:-1] + b"\0", SHOWN)
    with pytest.raises(Unverified):
        check_sct(sct, key, SPKI, tbs(basic_constraints(True), POISON, ocsp_nocheck()))
    with pytest.raises(Unverified):
        check_sct(sct, parse_log_key(Log().spki), SPKI, SHOWN)


@pytest.mark.parametrize(
    "private",
    [
        ec.generate_private_key(ec.SECP384R1()),
        ec.generate_private_key(ec.SECP521R1()),
        ed25519.Ed25519PrivateKey.generate(),
        rsa.generate_private_key(65537, 1024),
    ],
    ids=["p384", "p521", "ed25519", "rsa-1024"],
)
def test_a_key_that_no_log_may_have(private: object) -> None:
    public = private.public_key()  # type: ignore[attr-defined]
    with pytest.raises(UnsupportedAlgorithm, match="a log's key is an EC key on P-256 or an RSA key"):
        parse_log_key(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def test_the_test_log_refuses_what_is_no_precertificate() -> None:
    """What judges us is not blind."""
    plain = assemble_certificate(tbs(basic_constraints(False)), ED25519, bytes(64))
    for chain in ([plain], [plain, plain]):
        body = json.dumps({"chain": [base64.b64encode(der).decode() for der in chain]}).encode()
        with pytest.raises(Refusal):
            Log().add_pre_chain(body, "")
