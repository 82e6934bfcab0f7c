"""What an Apple profile can ask for over SCEP, and what it cannot (`com.apple.security.scep`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

from pkiconf.der.names import general_name_text
from pkiconf.errors import Refused
from pkiconf.model.keys import KeyType
from pkiconf.model.names import URI, DNSName, GeneralName, OtherName, RFC822Name
from pkiconf.model.request import PublicKeyFacts
from pkiconf.model.usages import KeyUsage
from pkiconf.policy.key_rules import check_allowed_key
from pkiconf.spec.template import TemplateSpec

USER_PRINCIPAL_NAME: Final = "1.3.6.1.4.1.311.20.2.3"
KEY_SIZES: Final = (2048, 4096)
"""Of RSA keys, the only kind: what devices can make and is still sound."""

_KEYS: Final[Mapping[type, str]] = MappingProxyType(
    {DNSName: "dNSName", RFC822Name: "rfc822Name", URI: "uniformResourceIdentifier"}
)
_USAGES: Final = MappingProxyType({KeyUsage.DIGITAL_SIGNATURE: 1, KeyUsage.KEY_ENCIPHERMENT: 4})
_UTF8: Final = f"othername:{USER_PRINCIPAL_NAME};UTF8:"


def key_size(template: TemplateSpec) -> int:
    """The smallest that the template takes. Raises Refused."""
    for bits in KEY_SIZES:
        try:
            check_allowed_key(PublicKeyFacts(KeyType.RSA, bits), template.allowed_keys)
        except Refused:
            continue
        return bits
    raise Refused(
        f"template {template.name!r} takes none of the keys that Apple's devices make over SCEP",
        "Allow rsa-2048 or rsa-4096 in its allowed_keys",
    )


def key_usage(template: TemplateSpec) -> int:
    """The bit mask of `Key Usage`; 0 where the certificate is for neither."""
    return sum(bit for usage, bit in _USAGES.items() if usage in template.key_usage.values)


def alternative_names(names: Iterable[GeneralName]) -> dict[str, str | list[str]]:
    """The dictionary `SubjectAltName`: a text, or a list of them where there are several of a kind. Raises Refused."""
    found: dict[str, list[str]] = {}
    for name in names:
        key, text = _written(name)
        found.setdefault(key, []).append(text)
    return {key: texts[0] if len(texts) == 1 else texts for key, texts in found.items()}


def _written(name: GeneralName) -> tuple[str, str]:
    if isinstance(name, DNSName | RFC822Name | URI):
        return _KEYS[type(name)], name.value
    text = general_name_text(name)
    if isinstance(name, OtherName) and text.startswith(_UTF8):
        return "ntPrincipalName", text.removeprefix(_UTF8)
    raise Refused(
        f"{text} cannot be asked for by an Apple device",
        f"It asks for dns:, email:, uri: and user principal names ({_UTF8}user@corp.example)",
    )


def check_template(template: TemplateSpec, address: str) -> None:
    """Raise Refused unless devices can enrol from it with a challenge."""
    scep = template.scep
    if scep is None or not scep.enabled or not scep.takes_challenges:
        raise Refused(
            f"template {address!r} takes no challenges over SCEP",
            "Write scep: {enabled: true, challenges: true} in its declaration, and apply",
        )
    key_size(template)
