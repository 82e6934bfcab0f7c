from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import mldsa
from hypothesis import given, settings
from hypothesis import strategies as st

from pkiconf.der.ml_dsa import expand_seed, expanded_key_size
from tests.keys import ML_DSA_ORACLES

SIZES = {44: 2560, 65: 4032, 87: 4896}
CLASSES: dict[int, type[mldsa.MLDSA44PrivateKey | mldsa.MLDSA65PrivateKey | mldsa.MLDSA87PrivateKey]] = {
    44: mldsa.MLDSA44PrivateKey,
    65: mldsa.MLDSA65PrivateKey,
    87: mldsa.MLDSA87PrivateKey,
}


@pytest.mark.parametrize("bits", SIZES)
@given(seed=st.binary(min_size=32, max_size=32))
@settings(max_examples=5, deadline=None)
def test_expanded_keys_are_those_of_an_independent_implementation(bits: int, seed: bytes) -> None:
    public, private = ML_DSA_ORACLES[bits].key_derive(seed)
    assert expand_seed(seed, bits) == private
    assert CLASSES[bits].from_seed_bytes(seed).public_key().public_bytes_raw() == public


@pytest.mark.parametrize(("bits", "size"), SIZES.items())
def test_sizes_are_those_of_the_standard(bits: int, size: int) -> None:
    assert expanded_key_size(bits) == size
