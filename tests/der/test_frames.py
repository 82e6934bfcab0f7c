"""What is encoded once has the octets that encoding it each time gives."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pkiconf.der import oids
from pkiconf.der.frames import Part, pieces, wrap
from pkiconf.der.signed_data import (
    SHA256,
    SHAKE256,
    SignerIdentity,
    assemble_signed_data,
    encode_signer_info,
    frame_signed_data,
)
from pkiconf.der.tlv import SEQUENCE, SET, encode_header, encode_tlv

SIZES = st.integers(0, 300) | st.sampled_from([65_535, 65_536, 1 << 24])


@given(SIZES)
def test_a_header_is_that_of_the_element(size: int) -> None:
    assert encode_header(SET, size) + bytes(size) == encode_tlv(SET, bytes(size))


@given(st.lists(st.integers(0, 200) | st.binary(max_size=200), max_size=6))
def test_holes_that_are_filled(parts: list[Part]) -> None:
    octets = [bytes([number + 1]) * part if isinstance(part, int) else part for number, part in enumerate(parts)]
    found = pieces(wrap(SEQUENCE, *parts))
    holes = [filled for filled, part in zip(octets, parts, strict=True) if isinstance(part, int)]
    assert len(found) == len(holes) + 1
    assert b"".join(piece + hole for piece, hole in zip(found, [*holes, b""], strict=True)) == encode_tlv(
        SEQUENCE, b"".join(octets)
    )


@given(
    st.sampled_from([SHA256, SHAKE256]),
    st.binary(min_size=1, max_size=300),
    st.sampled_from([b"", encode_tlv(0xA0, b"\x30\x00"), encode_tlv(0xA0, bytes(70_000))]),
    st.binary(max_size=200),
    st.binary(max_size=3309),
)
def test_signed_data_around_holes(
    digest: object, content: bytes, certificates: bytes, attributes: bytes, signature: bytes
) -> None:
    identity = SignerIdentity(encode_tlv(SEQUENCE, b"who"), digest, encode_tlv(SEQUENCE, b"how"))  # type: ignore[arg-type]
    signed = encode_tlv(SET, attributes)
    info = encode_signer_info(identity, signed, signature)
    whole = assemble_signed_data(oids.TST_INFO, content, ((identity, info),), certificates)
    fillings = (content, certificates, signed[1:], signature)
    names = ("content", "certificates", "attributes", "signature")
    sizes = {name: len(octets) for name, octets in zip(names, fillings, strict=True)}
    found = pieces(frame_signed_data(oids.TST_INFO, identity, **sizes))
    assert b"".join(piece + octets for piece, octets in zip(found, [*fillings, b""], strict=True)) == whole
