"""Tokens put together from what was encoded once, compared with the same encoded piece by piece."""

from __future__ import annotations

import pytest
from asn1crypto import tsp

from pkiconf.der import oids, signed_data
from pkiconf.der.signed_data import SignerIdentity
from pkiconf.der.timestamp import TimestampRequest, parse_timestamp_request
from pkiconf.der.timestamp_token import TokenForm
from pkiconf.der.tlv import OCTET_STRING, check_der, encode_tlv, read_sequence
from pkiconf.model.keys import KeyType, SignatureAlgorithm
from pkiconf.model.timestamps import Accuracy
from tests.der.test_signed_data import ALGORITHMS, certificate
from tests.der.test_timestamp import CERT_REQ, request
from tests.keys import sign
from tests.vectors.construct import tlv

SERIAL = b"\x01" + bytes(range(18))
NOW = 1_893_456_000_000_000
P256 = next(row for row in ALGORITHMS if row.key_type is KeyType.EC)


def form_of(algorithm: SignatureAlgorithm) -> TokenForm:
    own = certificate(algorithm)
    return TokenForm.of(SignerIdentity.of(own, algorithm), "1.2.3", Accuracy(1_000_000), False, own, ())


def asked(nonce: int = 8, *, cert_req: bool = True) -> TimestampRequest:
    return parse_timestamp_request(request(tlv(0x02, b"\x01" * nonce), *([CERT_REQ] if cert_req else [])))


def response(form: TokenForm, algorithm: SignatureAlgorithm, wish: TimestampRequest, moment: int = NOW) -> bytes:
    """As it is made, and found to be what encoding everything anew gives."""
    info = form.encode_tst_info(wish, SERIAL, moment)
    attributes = form.encode_signed_attributes(info)
    signature = sign(algorithm, attributes)
    made = form.assemble_response(info, attributes, signature, cert_req=wish.cert_req)
    signer = signed_data.encode_signer_info(form.identity, attributes, signature)
    certificates = signed_data.encode_certificates([certificate(algorithm)]) if wish.cert_req else b""
    token = signed_data.assemble_signed_data(oids.TST_INFO, info, [(form.identity, signer)], certificates)
    assert read_sequence(made, "a response")[1].der == token
    return made


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda row: row.name)
def test_tokens_of_each_algorithm(algorithm: SignatureAlgorithm) -> None:
    form = form_of(algorithm)
    for cert_req in (True, False, True):
        made = response(form, algorithm, asked(cert_req=cert_req))
        check_der(made, "a response")
        token = tsp.TimeStampResp.load(made, strict=True)["time_stamp_token"]["content"]
        assert bool(token["certificates"]) is cert_req
        (signer,) = token["signer_infos"]
        found = {one["type"].native: one["values"][0] for one in signer["signed_attrs"]}
        info = token["encap_content_info"]["content"]
        assert found["message_digest"].native == form.identity.digest.digest(info.contents)
        assert found["content_type"].native == "tst_info"
        assert "signing_certificate_v2" in found


def test_signed_attributes_are_a_set_as_der_orders_it() -> None:
    """Whatever the digest is that stands among them."""
    for algorithm in ALGORITHMS:
        form = form_of(algorithm)
        for content in (b"", b"a", b"b", b"c"):
            digest = encode_tlv(OCTET_STRING, form.identity.digest.digest(content))
            members = read_sequence(b"\x30" + form.encode_signed_attributes(content)[1:], "attributes")
            assert [one.der for one in members] == sorted(one.der for one in members)
            assert sum(digest in one.der for one in members) == 1


def test_whatever_sizes_clients_choose_little_is_kept() -> None:
    form = form_of(P256)
    for moment in (NOW, NOW + 100_000, NOW + 120_000, NOW + 123_000):
        for nonce in range(1, 65):
            for cert_req in (True, False):
                response(form, P256, asked(nonce, cert_req=cert_req), moment)
    kept = form._frames
    assert 0 < len(kept) <= 256
    assert all(len(octets) < 1000 for pieces in kept.values() for octets in pieces)
