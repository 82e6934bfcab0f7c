"""`acme_policies:` who may get what over ACME without anybody deciding, and the bindings that let accounts in."""

from __future__ import annotations

import base64
import ipaddress
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, WithJsonSchema

from pkiconf.model.acme import ChallengeType
from pkiconf.model.durations import Duration
from pkiconf.model.secret import Secret
from pkiconf.spec.misfits import Advised, Declared, Misfit, Said, rfc
from pkiconf.spec.patterns import check_dns_pattern, check_network
from pkiconf.spec.values import DurationField, Instant, Label, Reference, repeated_misfits

DEFAULT_PROFILE: Final = "default"
"""The name of the one profile of a policy that says `template:`."""

_EAB: Final = rfc("RFC 8555 §7.3.4")


def _name_pattern(text: str) -> str:
    return check_network(text) if _looks_like_an_address(text) else check_dns_pattern(text)


def _looks_like_an_address(text: str) -> bool:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True


NamePattern = Annotated[
    str,
    AfterValidator(_name_pattern),
    Said("a DNS name, *.domain (the domain and everything below), an IP address or a network"),
]


def _key_id(text: str) -> str:
    if 1 <= len(text) <= 64 and all(c.isascii() and (c.isalnum() or c in "-_.") for c in text):
        return text
    raise Advised(
        f"{text[:80]!r} cannot be a key identifier", "Use at most 64 letters, digits, hyphens, dots and underscores"
    )


KeyIdentifier = Annotated[
    str,
    AfterValidator(_key_id),
    WithJsonSchema({"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$"}),
    Said("at most 64 letters, digits, hyphens, dots and underscores"),
]


HMAC_KEY_OCTETS: Final = 32
"""How many octets an HMAC key has at least, and one of ours exactly: the size of a SHA-256 (RFC 7518 §3.2)."""

_LONGEST_HMAC_KEY: Final = 512


def decode_hmac_key(text: Secret) -> Secret:
    """The octets of an HMAC key as clients are given it. Raises Advised, which tells nothing of the key."""
    written = text.reveal().strip()
    if written.endswith(b"="):
        raise Advised("the HMAC key is padded", "Leave out the = at its end: clients are given it without")
    if b"+" in written or b"/" in written:
        raise Advised("the HMAC key is base64 and not base64url", "Write - for + and _ for /")
    if not re.fullmatch(rb"[A-Za-z0-9_-]+", written) or len(written) % 4 == 1:
        raise Advised("the HMAC key is not base64url (RFC 4648 §5)", f"Make one with: {_MAKE}")
    octets = base64.urlsafe_b64decode(written + b"=" * (-len(written) % 4))
    if not HMAC_KEY_OCTETS <= len(octets) <= _LONGEST_HMAC_KEY:
        raise Advised(
            f"the HMAC key has {len(octets)} octets",
            f"Give at least {HMAC_KEY_OCTETS} and at most {_LONGEST_HMAC_KEY} random ones, in unpadded base64url",
        )
    return Secret(octets)


def encode_hmac_key(octets: Secret) -> Secret:
    """As clients are given it: unpadded base64url."""
    return Secret(base64.urlsafe_b64encode(octets.reveal()).rstrip(b"="))


_MAKE: Final = "openssl rand -base64 32 | tr '+/' '-_' | tr -d '='"


class RateLimit(Declared):
    """So many within so long."""

    count: int = Field(ge=1, description="How many")
    per: DurationField = Field(Duration(1, "h"), description="Within how long")


class RateLimitsSpec(Declared):
    """Off unless declared. Who is beyond one is told when to come back (429 with Retry-After)."""

    orders_per_account: RateLimit | None = Field(None, description="New orders of one account")
    orders_per_binding: RateLimit | None = Field(None, description="New orders of all accounts of one binding")
    certificates_per_name: RateLimit | None = Field(None, description="Certificates for one exact name")


class BindingSpec(Declared):
    """An external account binding: a key identifier and an HMAC key with which accounts may register."""

    name: Label = Field(description="Its name, unique in the policy", json_schema_extra=_EAB)
    max_accounts: int | None = Field(
        1, ge=1, description="How many accounts may register with it; null for any number", json_schema_extra=_EAB
    )
    expires: Instant | None = Field(
        None, description="No account registers from then on; registered ones go on. Default: never"
    )
    domains: tuple[NamePattern, ...] | None = Field(
        None, description="The only names its accounts may order. Default: whatever policy and template allow"
    )
    profiles: tuple[Label, ...] | None = Field(
        None, description="The only profiles its accounts may order. Default: all of the policy"
    )
    challenges: tuple[ChallengeType, ...] | None = Field(
        None, description="The only challenges offered to its accounts. Default: those of the policy"
    )
    preapproved: bool = Field(
        True, description="Whether the policy's preapproved_domains need no challenge for its accounts either"
    )
    key_id: KeyIdentifier | None = Field(
        None, description="The key identifier (kid); goes with hmac_key. Default: a random one", json_schema_extra=_EAB
    )
    hmac_key: str | None = Field(
        None,
        description="The HMAC key, at least 32 octets in unpadded base64url: a reference (!env, !file, !vault). "
        "Default: a random one, shown once",
        json_schema_extra=_EAB,
    )
    write_to: str | None = Field(
        None, description="File, relative to the YAML file, that gets the credentials once, readable by its owner only"
    )

    def misfits(self, written: bool) -> Iterator[Misfit]:
        for field in ("domains", "profiles", "challenges"):
            yield from repeated_misfits(field, getattr(self, field) or ())
            if getattr(self, field) == ():
                yield Misfit((field,), f"{field} is empty, so its accounts could order nothing", f"Remove {field}")
        if not written:
            return
        if self.key_id is not None and self.hmac_key is None:
            yield Misfit(("key_id", "hmac_key"), "key_id goes with an hmac_key", "Add hmac_key, or remove key_id")
        if self.hmac_key is not None and self.key_id is None:
            yield Misfit(("hmac_key", "key_id"), "an hmac_key of your own goes with a key_id", "Add key_id")
        if self.hmac_key is not None and self.write_to is not None:
            yield Misfit(
                ("write_to", "hmac_key"), "credentials that you supply are not written to a file", "Remove write_to"
            )


class ACMEPolicySpec(Declared):
    """What accounts may order over ACME (RFC 8555), and how they prove that a name is theirs."""

    name: Label = Field(description="Its name, unique")
    state: Literal["present", "absent"] = Field("present", description="absent retires it (needs --allow retire)")
    moved: Label | None = Field(None, description="Its former name; URLs stay")
    description: str = Field("", description="For people")
    template: Reference | None = Field(
        None, description=f"The template that issues; short for profiles: {{{DEFAULT_PROFILE}: …}}"
    )
    profiles: Mapping[Label, Reference] | None = Field(
        None,
        description="Several templates, each under the name that clients ask for",
        json_schema_extra=rfc("draft-ietf-acme-profiles"),
    )
    default_profile: Label | None = Field(
        None, description="Used when a client asks for none. Default: the first, in alphabetical order"
    )
    preapproved_domains: tuple[NamePattern, ...] = Field(
        (), description="Names that need no challenge: exact, or *.d for d and everything below"
    )
    challenges: tuple[ChallengeType, ...] = Field(
        (ChallengeType.HTTP_01, ChallengeType.DNS_01, ChallengeType.TLS_ALPN_01),
        description="How a client may prove that a name is its own",
        json_schema_extra=rfc("RFC 8555 §8; RFC 8737"),
    )
    external_account_required: bool = Field(
        True,
        description="false lets anybody register at the policy's own directory",
        json_schema_extra=_EAB,
    )
    external_account_bindings: tuple[BindingSpec, ...] = Field(
        (), description="Bindings that let accounts register", json_schema_extra=_EAB
    )
    caa: bool = Field(
        False,
        description="Whether CAA records have to allow it (see settings.acme.caa_identities)",
        json_schema_extra=rfc("RFC 8659; RFC 8657"),
    )
    order_lifetime: DurationField = Field(Duration(7, "d"), description="How long an order may take")
    authorization_lifetime: DurationField = Field(
        Duration(30, "d"), description="How long a proved name may be ordered again without another proof"
    )
    rate_limits: RateLimitsSpec = Field(default_factory=RateLimitsSpec, description="Limits; none by default")
    deactivate_accounts: bool = Field(
        False, description="With state: absent, deactivates the accounts that hang on it instead of refusing"
    )

    def misfits(self, written: bool) -> Iterator[Misfit]:
        yield from repeated_misfits("challenges", self.challenges)
        yield from repeated_misfits("preapproved_domains", self.preapproved_domains)
        if self.state == "absent":
            return
        if written and self.template is not None and self.profiles is not None:
            yield Misfit(("profiles", "template"), "template is short for one profile", "Keep template or profiles")
        if written and self.template is None and not self.profiles:
            yield Misfit(("template",), "the policy names no template", "Add template: authority/name")
        if not self.challenges and not self.preapproved_domains:
            yield Misfit(
                ("challenges",),
                "without challenges and pre-approved domains nothing can be ordered",
                "List a challenge",
            )
        if self.default_profile is not None and self.default_profile not in self.offered:
            known = ", ".join(sorted(self.offered))
            yield Misfit(("default_profile",), f"{self.default_profile!r} is none of its profiles", f"Known: {known}")
        for number, binding in enumerate(self.external_account_bindings):
            for profile in binding.profiles or ():
                if profile not in self.offered:
                    yield Misfit(
                        (f"external_account_bindings.{number}.profiles",),
                        f"binding {binding.name!r} names profile {profile!r}, which the policy has not",
                        f"Known: {', '.join(sorted(self.offered))}",
                    )

    @property
    def offered(self) -> Mapping[str, str]:
        """Profile → template reference."""
        if self.profiles:
            return self.profiles
        return {DEFAULT_PROFILE: self.template} if self.template else {}

    @property
    def usual_profile(self) -> str:
        """What a client gets that asks for none. Raises ValueError for a policy without profiles."""
        return self.default_profile or min(self.offered)
