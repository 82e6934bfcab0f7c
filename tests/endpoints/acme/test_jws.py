"""Keys and signatures of JOSE, and the flattened JWS (RFC 7515, 7517, 7518, 7638, 8037; RFC 8555 §6.2)."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from pkiconf.endpoints.acme.envelope import read_binding, read_jws, read_key_change
from pkiconf.endpoints.acme.jws import SIGNATURE_ALGORITHMS, kept_key, read_key
from pkiconf.model.acme import ACMEProblem, ProblemType
from tests.endpoints.acme.test_strict import JSON_VALUES
from tests.endpoints.acme.wire import Key, b64, bound, compact, es256, flattened, keys_of_every_kind, unb64

KEYS = keys_of_every_kind()
ES = KEYS["ES256"]
URL = "http://pki.example/acme/new-order"


def problem_of(act: Any, *arguments: Any, **named: Any) -> tuple[ProblemType, str]:
    with pytest.raises(ACMEProblem) as caught:
        act(*arguments, **named)
    return caught.value.problem.type, caught.value.detail


def jws(header: object = None, payload: bytes = b"{}", key: Key = ES) -> dict[str, str]:
    return flattened(header if header is not None else {"alg": key.alg}, payload, key.sign)


# --- keys --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", KEYS)
def test_every_kind_of_key_signs(name: str) -> None:
    key = KEYS[name]
    public = read_key(key.jwk)
    assert public.account_key.thumbprint == key.thumbprint
    assert public.account_key.spki == key.private.public_key().public_bytes(
        Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    )
    assert json.loads(public.account_key.jwk) == key.jwk
    assert kept_key(public.account_key.jwk).account_key == public.account_key
    read_jws(compact(jws({"alg": key.alg}, b"payload", key)), "it").check(public)


def test_the_thumbprint_is_that_of_the_rfc() -> None:
    """RFC 7638 §3.1."""
    modulus = (
        "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknj"
        "hMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQ"
        "vRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzK"
        "nqDKgw"
    )
    jwk = {"kty": "RSA", "n": modulus, "e": "AQAB", "alg": "RS256", "kid": "2011-04-29"}
    assert read_key(jwk).account_key.thumbprint == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"


@pytest.mark.parametrize("name", ["ES256", "RS256", "Ed25519"])
def test_more_members_make_no_other_key(name: str) -> None:
    """A look-alike: the thumbprint is over the required members alone (RFC 7638 §3.2)."""
    jwk = KEYS[name].jwk
    more = {"kid": "other", "use": "sig", "alg": "none", "x5u": "http://x", "zz": {"kty": "oct"}, "key_ops": []}
    assert read_key({**more, **jwk, **more}).account_key == read_key(jwk).account_key


@pytest.mark.parametrize("member", ["d", "p", "q", "dp", "dq", "qi", "oth", "k"])
def test_a_private_member_is_refused_and_said(member: str) -> None:
    kind, detail = problem_of(read_key, {**ES.jwk, member: "AQAB"})
    assert kind is ProblemType.MALFORMED
    assert "consider the key exposed" in detail
    assert "AQAB" not in detail
    assert read_key({**ES.jwk, member: "AQAB"}, ignore_private=True).account_key == read_key(ES.jwk).account_key


def _rsa(bits: int, exponent: int = 65537) -> dict[str, str]:
    modulus = (1 << (bits - 1)) | 1 if bits < 1024 or bits > 4096 else 0
    modulus = modulus or rsa.generate_private_key(65537, bits).public_key().public_numbers().n
    return {
        "kty": "RSA",
        "n": b64(modulus.to_bytes((bits + 7) // 8)),
        "e": b64(exponent.to_bytes((exponent.bit_length() + 7) // 8)),
    }


def _curve(point: bytes, name: str = "P-256") -> dict[str, str]:
    half = len(point) // 2
    return {"kty": "EC", "crv": name, "x": b64(point[:half]), "y": b64(point[half:])}


BAD_KEYS: dict[str, tuple[Any, ProblemType, str]] = {
    "a text": ("key", ProblemType.MALFORMED, "not a JSON object"),
    "null": (None, ProblemType.MALFORMED, "not a JSON object"),
    "nothing": ({}, ProblemType.BAD_PUBLIC_KEY, "kty None"),
    "symmetric": ({"kty": "oct"}, ProblemType.BAD_PUBLIC_KEY, "use EC, RSA or OKP"),
    "kty is no text": ({**ES.jwk, "kty": ["EC"]}, ProblemType.BAD_PUBLIC_KEY, "use EC, RSA or OKP"),
    "kty in lower case": ({**ES.jwk, "kty": "ec"}, ProblemType.BAD_PUBLIC_KEY, "use EC, RSA or OKP"),
    "curve of bitcoin": ({**ES.jwk, "crv": "secp256k1"}, ProblemType.BAD_PUBLIC_KEY, "use P-256, P-384, P-521"),
    "no curve": ({"kty": "EC", "x": "AA", "y": "AA"}, ProblemType.BAD_PUBLIC_KEY, "crv None"),
    "curve is a list": ({**ES.jwk, "crv": ["P-256"]}, ProblemType.BAD_PUBLIC_KEY, "crv ['P-256']"),
    "another curve's point": ({**ES.jwk, "crv": "P-384"}, ProblemType.BAD_PUBLIC_KEY, "32 octets where 48"),
    "off the curve": (_curve(b"\x01" * 64), ProblemType.BAD_PUBLIC_KEY, "no point of the curve"),
    "at infinity": (_curve(b"\x00" * 64), ProblemType.BAD_PUBLIC_KEY, "no point of the curve"),
    "coordinates beyond the field": (_curve(b"\xff" * 64), ProblemType.BAD_PUBLIC_KEY, "no point of the curve"),
    "a leading zero": ({**ES.jwk, "x": b64(b"\0" + unb64(ES.jwk["x"]))}, ProblemType.BAD_PUBLIC_KEY, "33 octets"),
    "an octet short": ({**ES.jwk, "y": b64(unb64(ES.jwk["y"])[1:])}, ProblemType.BAD_PUBLIC_KEY, "31 octets"),
    "no y": ({k: v for k, v in ES.jwk.items() if k != "y"}, ProblemType.MALFORMED, "'y' of the jwk is not a string"),
    "padding": ({**ES.jwk, "x": ES.jwk["x"] + "="}, ProblemType.MALFORMED, "without padding"),
    "Montgomery": ({"kty": "OKP", "crv": "X25519", "x": b64(bytes(32))}, ProblemType.BAD_PUBLIC_KEY, "use Ed25519"),
    "a short Ed25519": ({"kty": "OKP", "crv": "Ed25519", "x": b64(bytes(31))}, ProblemType.BAD_PUBLIC_KEY, "31 octets"),
    "RSA of 1024 bits": (_rsa(1024), ProblemType.BAD_PUBLIC_KEY, "1024 bits is not accepted"),
    "RSA of 2047 bits": (_rsa(2047), ProblemType.BAD_PUBLIC_KEY, "2047 bits is not accepted"),
    "RSA of 16384 bits": (_rsa(16384), ProblemType.BAD_PUBLIC_KEY, "16384 bits is not accepted"),
    "RSA, exponent 1": (_rsa(2048, 1), ProblemType.BAD_PUBLIC_KEY, "use 65537"),
    "RSA, even exponent": (_rsa(2048, 65536), ProblemType.BAD_PUBLIC_KEY, "use 65537"),
    "RSA, huge exponent": (_rsa(2048, (1 << 300) + 1), ProblemType.BAD_PUBLIC_KEY, "use 65537"),
    "RSA, empty modulus": ({"kty": "RSA", "n": "", "e": "AQAB"}, ProblemType.MALFORMED, "is empty"),
    "RSA, leading zero": (
        {**KEYS["RS256"].jwk, "n": b64(b"\0" + unb64(KEYS["RS256"].jwk["n"]))},
        ProblemType.MALFORMED,
        "begins with a zero octet",
    ),
    "RSA, zero before e": ({**KEYS["RS256"].jwk, "e": "AAEAAQ"}, ProblemType.MALFORMED, "begins with a zero octet"),
    "RSA, n is a number": ({"kty": "RSA", "n": 5, "e": "AQAB"}, ProblemType.MALFORMED, "not a string"),
}


@pytest.mark.parametrize(("jwk", "kind", "words"), BAD_KEYS.values(), ids=BAD_KEYS.keys())
def test_a_key_that_is_none_or_no_good_is_refused(jwk: Any, kind: ProblemType, words: str) -> None:
    found, detail = problem_of(read_key, jwk)
    assert found is kind
    assert words in detail


# --- signatures --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", KEYS)
def test_a_signature_over_something_else_does_not_hold(name: str) -> None:
    key, other = KEYS[name], jws({"alg": KEYS[name].alg}, b"other", KEYS[name])
    made = jws({"alg": key.alg}, b"payload", key)
    public = read_key(key.jwk)
    cut = b64(unb64(made["signature"])[:-1])
    longer = b64(unb64(made["signature"]) + b"\0")
    for signature in (other["signature"], "", cut, longer, b64(bytes(len(unb64(made["signature"]))))):
        kind, _ = problem_of(read_jws({**made, "signature": signature}, "it").check, public)
        assert kind is ProblemType.UNAUTHORIZED


@pytest.mark.parametrize("name", KEYS)
@pytest.mark.parametrize("alg", SIGNATURE_ALGORITHMS)
def test_an_algorithm_that_does_not_fit_the_key_is_refused(name: str, alg: str) -> None:
    public = read_key(KEYS[name].jwk)
    if alg in public.fits:
        return
    kind, detail = problem_of(read_jws(jws({"alg": alg}, key=KEYS[name]), "it").check, public)
    assert kind is ProblemType.BAD_SIGNATURE_ALGORITHM
    assert "does not fit the key" in detail


def test_the_signature_of_another_hash_does_not_hold() -> None:
    """RS512's octets under the name RS256; ES256's with the hash of ES384."""
    for key, claimed, used in (
        (KEYS["RS256"], "RS256", "RS512"),
        (ES, "ES256", "ES384"),
        (KEYS["RS256"], "PS256", "RS256"),
    ):
        made = flattened({"alg": claimed}, b"{}", lambda message, k=key, a=used: k.sign(message, a))
        kind, _ = problem_of(read_jws(made, "it").check, read_key(key.jwk))
        assert kind is ProblemType.UNAUTHORIZED


def test_an_ecdsa_signature_in_der_does_not_hold() -> None:
    """RFC 7518 §3.4 wants R and S alone."""
    from cryptography.hazmat.primitives import hashes

    made = flattened({"alg": "ES256"}, b"{}", lambda message: ES.private.sign(message, ec.ECDSA(hashes.SHA256())))
    assert problem_of(read_jws(made, "it").check, read_key(ES.jwk))[0] is ProblemType.UNAUTHORIZED


@pytest.mark.parametrize(
    "alg", ["none", "None", "", "HS256", "HS512", "es256", "ES256K", "RS1", "RSA-OAEP", "dir", "EdDSA ", "A" * 10_000]
)
def test_none_and_macs_and_whatever_else_are_no_algorithms(alg: str) -> None:
    kind, detail = problem_of(read_jws, jws({"alg": alg}), "it")
    assert kind is ProblemType.BAD_SIGNATURE_ALGORITHM
    assert "ES256, ES384" in detail
    assert len(detail) < 300


def test_a_public_key_is_no_mac_key() -> None:
    """The classic confusion: HS256 with the public key's octets."""
    spki = read_key(KEYS["RS256"].jwk).account_key.spki
    made = flattened({"alg": "HS256"}, b"{}", lambda message: hmac.digest(spki, message, "sha256"))
    assert problem_of(read_jws, made, "it")[0] is ProblemType.BAD_SIGNATURE_ALGORITHM


# --- the flattened JWS -------------------------------------------------------------------------------------------

GOOD = jws()
BAD_JWS: dict[str, tuple[Any, str]] = {
    "no JSON": (b"\xff\xfe", "not UTF-8"),
    "compact": (f"{GOOD['protected']}.{GOOD['payload']}.{GOOD['signature']}".encode(), "not JSON"),
    "a list": (b"[]", "not a JSON object"),
    "empty": (b"{}", "no member 'payload'"),
    "no signature": (compact({k: v for k, v in GOOD.items() if k != "signature"}), "no member 'signature'"),
    "no payload": (compact({k: v for k, v in GOOD.items() if k != "payload"}), "no member 'payload'"),
    "unprotected header": (compact({**GOOD, "header": {"alg": "ES256"}}), "unprotected header"),
    "general": (compact({"payload": "", "signatures": [GOOD]}), "several signatures"),
    "both": (compact({**GOOD, "signatures": []}), "several signatures"),
    "something more": (compact({**GOOD, "extra": 1}), "'extra'"),
    "twice": (compact(GOOD)[:-1] + b',"payload":"e30"}', "occurs twice"),
    "protected twice": (compact(GOOD)[:-1] + b',"protected":"' + GOOD["protected"].encode() + b'"}', "occurs twice"),
    "payload null": (compact({**GOOD, "payload": None}), "payload of it is not a string"),
    "payload an object": (compact({**GOOD, "payload": {}}), "payload of it is not a string"),
    "payload padded": (compact({**GOOD, "payload": "e30="}), "payload of it is not base64url"),
    "signature in base64": (compact({**GOOD, "signature": "+/+/"}), "signature of it is not base64url"),
    "protected empty": (compact({**GOOD, "protected": ""}), "protected header of it is not JSON"),
    "protected a list": (compact({**GOOD, "protected": b64(b"[]")}), "protected header of it is not a JSON object"),
    "header with a member twice": (
        compact({**GOOD, "protected": b64(b'{"alg":"ES256","alg":"none"}')}),
        "occurs twice",
    ),
    "no alg": (compact({**GOOD, "protected": b64(b"{}")}), "has no alg"),
    "alg is a list": (compact(jws({"alg": ["ES256"]})), "has no alg"),
    "crit": (compact(jws({"alg": "ES256", "crit": ["exp"], "exp": 1})), "'crit'"),
    "empty crit": (compact(jws({"alg": "ES256", "crit": []})), "'crit'"),
    "b64": (compact(jws({"alg": "ES256", "b64": False})), "'b64'"),
}


@pytest.mark.parametrize(("text", "words"), BAD_JWS.values(), ids=BAD_JWS.keys())
def test_what_is_no_flattened_jws_is_malformed(text: Any, words: str) -> None:
    kind, detail = problem_of(read_jws, text, "it")
    assert kind is ProblemType.MALFORMED
    assert words in detail


def test_the_signature_covers_the_header_as_it_was_sent() -> None:
    """Not as it would be written again: spaces and order belong to it."""
    made = flattened({}, b"{}", ES.sign)
    protected = b64(b'{ "zz": 1 ,"alg" : "ES256" }')
    made = {**made, "protected": protected, "signature": b64(ES.sign(f"{protected}.{made['payload']}".encode()))}
    read_jws(compact(made), "it").check(read_key(ES.jwk))


HEADERS = st.dictionaries(
    st.sampled_from(["alg", "jwk", "kid", "nonce", "url", "crit", "b64", "x"]),
    JSON_VALUES | st.sampled_from(["ES256", "RS256", "HS256", URL]),
)
MEMBERS = st.fixed_dictionaries(
    {},
    optional={
        "protected": HEADERS.map(lambda header: b64(compact(header))) | st.text() | JSON_VALUES,
        "payload": st.binary().map(b64) | JSON_VALUES,
        "signature": st.binary().map(b64) | JSON_VALUES,
        "header": JSON_VALUES,
    },
)


@settings(max_examples=300)
@given(MEMBERS | JSON_VALUES)
def test_any_json_is_a_jws_or_an_acme_problem(value: Any) -> None:
    with contextlib.suppress(ACMEProblem):
        read_jws(json.dumps(value).encode(), "it").text("url")


@given(st.binary())
def test_any_octets_are_a_jws_or_an_acme_problem(text: bytes) -> None:
    with contextlib.suppress(ACMEProblem):
        read_jws(text, "it")


JWKS = st.dictionaries(
    st.sampled_from(["kty", "crv", "x", "y", "n", "e", "d", "alg"]),
    st.sampled_from(["EC", "RSA", "OKP", "P-256", "Ed25519", "Ed448", "AQAB"]) | st.binary().map(b64) | JSON_VALUES
    | st.binary(min_size=32, max_size=32).map(b64) | st.binary(min_size=256, max_size=260).map(b64),
)  # fmt: skip


@settings(max_examples=300)
@given(JWKS)
def test_any_jwk_is_a_key_or_an_acme_problem(jwk: dict[str, Any]) -> None:
    with contextlib.suppress(ACMEProblem):
        read_key(jwk)


@given(st.binary(), st.sampled_from(sorted(KEYS)))
def test_any_signature_is_checked_or_an_acme_problem(signature: bytes, name: str) -> None:
    key = KEYS[name]
    made = read_jws({**jws({"alg": key.alg}, key=key), "signature": b64(signature)}, "it")
    assert problem_of(made.check, read_key(key.jwk))[0] is ProblemType.UNAUTHORIZED


# --- external account binding (§7.3.4) ---------------------------------------------------------------------------

MAC_KEY = hashlib.sha256(b"hmac").digest()


@pytest.mark.parametrize("alg", ["HS256", "HS384", "HS512"])
@pytest.mark.row("F99")
def test_a_binding_over_the_account_key_holds(alg: str) -> None:
    binding = read_binding(bound(ES.jwk, URL, "kid-1", MAC_KEY, alg=alg), URL)
    assert binding.key_id == "kid-1"
    binding.check(MAC_KEY, read_key(ES.jwk).account_key)


def test_a_binding_may_write_the_key_in_another_way() -> None:
    """Members in another order, more of them, even the private one (python `acme`): it is the key that counts."""
    jwk = {"zz": 1, **dict(reversed(ES.jwk.items())), "kid": "x", "d": "AAAA"}
    read_binding(bound(jwk, URL, "kid", MAC_KEY), URL).check(MAC_KEY, read_key(ES.jwk).account_key)


def test_a_binding_with_another_mac_key_is_unauthorized_and_says_what_to_check() -> None:
    binding = read_binding(bound(ES.jwk, URL, "kid", bytes(32)), URL)
    kind, detail = problem_of(binding.check, MAC_KEY, read_key(ES.jwk).account_key)
    assert kind is ProblemType.UNAUTHORIZED
    assert "base64url without padding" in detail


def test_a_binding_over_another_key_is_unauthorized() -> None:
    for jwk in (es256().jwk, KEYS["RS256"].jwk):
        binding = read_binding(bound(jwk, URL, "kid", MAC_KEY), URL)
        kind, detail = problem_of(binding.check, MAC_KEY, read_key(ES.jwk).account_key)
        assert kind is ProblemType.UNAUTHORIZED
        assert "another key" in detail


BAD_BINDINGS: dict[str, tuple[Any, ProblemType, str]] = {
    "a text": ("x", ProblemType.MALFORMED, "not a JSON object"),
    "a list": ([], ProblemType.MALFORMED, "not a JSON object"),
    "empty": ({}, ProblemType.MALFORMED, "no member"),
    "a signature": (jws({"alg": "ES256", "kid": "k", "url": URL}), ProblemType.MALFORMED, "use HS256"),
    "none": (bound(ES.jwk, URL, "k", MAC_KEY, alg="none"), ProblemType.MALFORMED, "use HS256"),
    "a short MAC": (bound(ES.jwk, URL, "k", MAC_KEY, alg="HS128"), ProblemType.MALFORMED, "use HS256"),
    "a nonce": (bound(ES.jwk, URL, "k", MAC_KEY, nonce="n"), ProblemType.MALFORMED, "has a nonce"),
    "no kid": (bound(ES.jwk, URL, "k", MAC_KEY, kid=None), ProblemType.MALFORMED, "no kid"),
    "an empty kid": (bound(ES.jwk, URL, "", MAC_KEY), ProblemType.MALFORMED, "no kid"),
    "kid is a number": (bound(ES.jwk, URL, "k", MAC_KEY, kid=5), ProblemType.MALFORMED, "'kid' is not a string"),
    "no url": (bound(ES.jwk, URL, "k", MAC_KEY, url=None), ProblemType.UNAUTHORIZED, "not that of the request"),
    "another url": (bound(ES.jwk, URL + "/", "k", MAC_KEY), ProblemType.UNAUTHORIZED, "not that of the request"),
    "more members": ({**bound(ES.jwk, URL, "k", MAC_KEY), "header": {}}, ProblemType.MALFORMED, "unprotected"),
}


@pytest.mark.parametrize(("value", "kind", "words"), BAD_BINDINGS.values(), ids=BAD_BINDINGS.keys())
def test_what_is_no_binding_is_refused(value: Any, kind: ProblemType, words: str) -> None:
    found, detail = problem_of(read_binding, value, URL)
    assert found is kind
    assert words in detail


@given(MEMBERS | JSON_VALUES)
def test_any_json_is_a_binding_or_an_acme_problem(value: Any) -> None:
    with contextlib.suppress(ACMEProblem):
        read_binding(value, URL).check(MAC_KEY, read_key(ES.jwk).account_key)


@pytest.mark.parametrize("payload", [b"", b"[]", b"{}", b'{"kty":"EC"}', b"\xff"])
def test_a_binding_over_no_key_is_refused(payload: bytes) -> None:
    made = flattened(
        {"alg": "HS256", "kid": "k", "url": URL}, payload, lambda message: hmac.digest(MAC_KEY, message, "sha256")
    )
    kind, _ = problem_of(read_binding(made, URL).check, MAC_KEY, read_key(ES.jwk).account_key)
    assert kind in (ProblemType.MALFORMED, ProblemType.BAD_PUBLIC_KEY)


# --- key change (§7.3.5) -----------------------------------------------------------------------------------------

NEW = es256()
ACCOUNT = "http://pki.example/acme/acct/a"


def inner(key: Key = NEW, payload: Any = None, **different: Any) -> dict[str, str]:
    header = {"alg": key.alg, "jwk": key.jwk, "url": URL, **different}
    wish = payload if payload is not None else {"account": ACCOUNT, "oldKey": ES.jwk}
    return flattened({k: v for k, v in header.items() if v is not None}, compact(wish), key.sign)


def test_a_key_change_names_both_keys() -> None:
    change = read_key_change(compact(inner()), URL)
    assert change.account == ACCOUNT
    assert change.key.account_key.thumbprint == NEW.thumbprint
    assert change.old_key.account_key.thumbprint == ES.thumbprint


BAD_CHANGES: dict[str, tuple[Any, ProblemType]] = {
    "nothing": (b"", ProblemType.MALFORMED),
    "no JWS": (b"{}", ProblemType.MALFORMED),
    "kid": (compact(inner(kid=ACCOUNT)), ProblemType.MALFORMED),
    "kid instead of jwk": (compact(inner(kid=ACCOUNT, jwk=None)), ProblemType.MALFORMED),
    "no jwk": (compact(inner(jwk=None)), ProblemType.MALFORMED),
    "a nonce": (compact(inner(nonce="x")), ProblemType.MALFORMED),
    "another url": (compact(inner(url=URL + "x")), ProblemType.MALFORMED),
    "no url": (compact(inner(url=None)), ProblemType.MALFORMED),
    "signed by another key": (compact(inner(es256(), jwk=NEW.jwk)), ProblemType.UNAUTHORIZED),
    "signed by the old key": (compact(inner(ES, jwk=NEW.jwk)), ProblemType.UNAUTHORIZED),
    "a MAC": (compact(inner(alg="HS256")), ProblemType.BAD_SIGNATURE_ALGORITHM),
    "a bad key": (compact(inner(jwk={"kty": "oct"})), ProblemType.BAD_PUBLIC_KEY),
    "no account": (compact(inner(payload={"oldKey": ES.jwk})), ProblemType.MALFORMED),
    "account is a list": (compact(inner(payload={"account": [ACCOUNT], "oldKey": ES.jwk})), ProblemType.MALFORMED),
    "no old key": (compact(inner(payload={"account": ACCOUNT})), ProblemType.MALFORMED),
    "no object": (compact(inner(payload=[])), ProblemType.MALFORMED),
}


@pytest.mark.parametrize(("payload", "kind"), BAD_CHANGES.values(), ids=BAD_CHANGES.keys())
def test_what_is_no_key_change_is_refused(payload: bytes, kind: ProblemType) -> None:
    assert problem_of(read_key_change, payload, URL)[0] is kind
