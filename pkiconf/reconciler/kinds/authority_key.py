"""The `key:` of an authority: parameters that fit its type, and keys that come in files."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final

from pkiconf.der.keys import parse_public_key
from pkiconf.der.pem import der_or_pem
from pkiconf.der.pkcs8 import parse_private_key, spki_of
from pkiconf.errors import Malformed, PkiconfError
from pkiconf.model.keys import KEY_ALGORITHMS, KeyAlgorithm
from pkiconf.model.secret import Secret
from pkiconf.reconciler.kinds.kind import Declaring
from pkiconf.reconciler.state import Actual, Desired, Spec
from pkiconf.spec.values import KeySpec

_KEY_PARAMETER: Final = {"rsa": "size", "ec": "curve", "ml-dsa": "parameter_set"}


def key_algorithm(key: Mapping[str, Any]) -> KeyAlgorithm:
    """The algorithm of a `key:` mapping of a spec."""
    fields = {name: key.get(name) for name in ("type", "size", "curve", "parameter_set")}
    return KeySpec.model_validate({name: value for name, value in fields.items() if value is not None}).algorithm


def declared_key(
    written: Mapping[str, Any], secrets: Mapping[str, Secret], marks: Mapping[str, str], declaring: Declaring
) -> dict[str, Any]:
    key = {name: value for name, value in written.items() if name != "passphrase"}
    if "key.passphrase" in secrets:
        key["passphrase"] = declaring.mark(secrets["key.passphrase"])
    imported = KEY_ALGORITHMS.get(marks.get("algorithm", ""))
    if imported is not None:
        parameter = _KEY_PARAMETER.get(imported.type)
        value = f"p{imported.bits}" if parameter == "curve" else imported.bits
        key = {"type": imported.type.value, **({parameter: value} if parameter else {}), **key}
    return key


def fingerprints(files: Mapping[str, bytes], secrets: Mapping[str, Secret], at: str) -> dict[str, str]:
    marks = {}
    try:
        if "key.file" in files:
            spki = spki_of(parse_private_key(files["key.file"], secrets.get("key.passphrase")))
            marks["key"] = sha256(spki).hexdigest()
            marks["algorithm"] = str(parse_public_key(spki))
        if "certificate.file" in files:
            marks["certificate"] = sha256(der_or_pem(files["certificate.file"], ("CERTIFICATE",))).hexdigest()
    except PkiconfError as error:
        raise Malformed(f"{at}  {error.detail}", error.hint) from error
    return marks


def fitting(key: Mapping[str, Any], written: Mapping[str, Any]) -> dict[str, Any]:
    """A key without parameters of another type of key, unless they were written (then the model refuses them)."""
    own = _KEY_PARAMETER.get(str(key.get("type", "ec")))
    fitting = dict(key)
    for parameter in _KEY_PARAMETER.values():
        if parameter != own and written.get(parameter) is None:
            fitting[parameter] = None
    if own is not None and fitting.get(own) is None:
        algorithm = key_algorithm(fitting)
        fitting[own] = f"p{algorithm.bits}" if own == "curve" else algorithm.bits
    return fitting


def other_key(wish: Desired, standing: Actual | None, after: Spec) -> str:
    """Why the key that comes in a file is not the one that is declared; empty if it is."""
    found, wanted = wish.marks.get("algorithm"), key_algorithm(after["key"]).name
    if found is not None and found != wanted:
        return f"key.file holds a key of type {found}, but {wanted} is declared"
    if standing is None or after["key"].get("source") != "import":
        return ""
    raised = after["key"].get("generation", 1) > standing.spec["key"].get("generation", 1)
    if raised and wish.marks.get("key") in (None, standing.facts.get("key")):
        return "key.generation was raised, but key.file holds no other key; give another, or set key.source: generate"
    return ""
