"""`templates[].scep`: whether devices enrol over SCEP, and what lets a request in (RFC 8894)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field

from pkiconf.model.durations import Duration
from pkiconf.model.secret import Secret
from pkiconf.spec.misfits import Advised, Declared, Misfit, Said, rfc
from pkiconf.spec.patterns import Network
from pkiconf.spec.scep_intune import IntuneSpec
from pkiconf.spec.values import DurationField, repeated_misfits

SHORTEST_PASSPHRASE: Final = 12
"""Characters. Below that a passphrase is guessed sooner than it is rotated."""

LONGEST_PASSPHRASE: Final = 255
"""Characters: the upper bound of a challengePassword (RFC 2985 §5.4.1, pkcs-9-ub-challengePassword)."""

_LONGEST_TTL: Final = 30 * 86400
_CHALLENGE: Final = rfc("RFC 8894 §7.3; RFC 2985 §5.4.1")


def check_passphrase(secret: Secret) -> None:
    """Raises Advised, which tells nothing of it, for what clients could not send as a challengePassword."""
    try:
        text = secret.reveal().decode()
    except UnicodeDecodeError:
        raise Advised("the passphrase is not UTF-8", "Save it as UTF-8, or use ASCII only") from None
    if text != text.strip() or not text.isprintable():
        raise Advised(
            "the passphrase begins or ends with a space, or holds characters that nobody can type", "Use others"
        )
    if not SHORTEST_PASSPHRASE <= len(text) <= LONGEST_PASSPHRASE:
        raise Advised(
            f"the passphrase has {len(text)} characters",
            f"Use at least {SHORTEST_PASSPHRASE} and at most {LONGEST_PASSPHRASE}, such as: openssl rand -hex 16",
        )


def check_password(secret: Secret) -> None:
    """Raises Advised for what HTTP's basic authentication cannot carry (RFC 7617 §2)."""
    try:
        text = secret.reveal().decode()
    except UnicodeDecodeError:
        raise Advised("the password is not UTF-8", "Save it as UTF-8, or use ASCII only") from None
    if not text.isprintable():
        raise Advised("the password holds control characters", "Use others (RFC 7617 §2)")
    if len(text) < SHORTEST_PASSPHRASE:
        raise Advised(f"the password has {len(text)} characters", f"Use at least {SHORTEST_PASSPHRASE}")


class StaticPassphraseSpec(Declared):
    """One passphrase for every device: whoever learns it can enrol. NDES challenges and Intune are better."""

    secret: str | None = Field(
        None, description="The passphrase: a reference (!env, !file, !vault)", json_schema_extra=_CHALLENGE
    )
    generate: bool = Field(False, description="Makes a random one, told once")
    write_to: str | None = Field(
        None, description="File, relative to the YAML file, that gets a random one once, readable by its owner only"
    )
    overlap: DurationField | None = Field(
        None, description="How long the one before is still accepted after a change. Default: not at all"
    )

    def misfits(self, written: bool) -> Iterator[Misfit]:
        if self.secret is not None and self.generate:
            yield Misfit(("generate", "secret"), "a passphrase is either given or generated", "Remove one of them")
        if written and self.secret is None and not self.generate:
            yield Misfit(("secret", "generate"), "no passphrase is given", "Write secret: !env NAME, or generate: true")
        if self.write_to is not None and self.secret is not None:
            yield Misfit(
                ("write_to", "secret"), "a passphrase that you supply is not written to a file", "Remove write_to"
            )


def _passphrase(value: object) -> object:
    """The reference alone is short for a mapping with it."""
    return {"secret": value} if isinstance(value, str) else value


class BasicAuthSpec(Declared):
    """With what MDMs fetch challenges (RFC 7617)."""

    username: str = Field(
        min_length=1, max_length=255, description="Compared whole: with its domain, if clients send one"
    )
    password: str = Field(description="A reference: !env, !file, !vault")

    def misfits(self, written: bool) -> Iterator[Misfit]:
        if ":" in self.username or not self.username.isprintable():
            yield Misfit(("username",), "a user name holds neither colons nor control characters", "Choose another")


class NDESSpec(Declared):
    """The page of Microsoft's Network Device Enrollment Service, where MDMs fetch one-time challenges."""

    enabled: bool = Field(False, description="Serves /certsrv/<authority>/<template>/mscep_admin/")
    challenge_ttl: DurationField = Field(Duration(60, "m"), description="How long a challenge is good for")
    max_outstanding: int = Field(
        10_000, ge=1, le=1_000_000, description="How many unused challenges there may be; beyond: the cache is full"
    )
    basic_auth: BasicAuthSpec | None = Field(
        None, description="User name and password of whoever fetches challenges", json_schema_extra=rfc("RFC 7617")
    )
    encoding: Literal["utf-16", "utf-8"] = Field(
        "utf-16", description="Of the page: utf-16 (little-endian, with its mark) is what Microsoft's own sends"
    )

    def misfits(self, written: bool) -> Iterator[Misfit]:
        if not 60 <= self.challenge_ttl.seconds <= _LONGEST_TTL:
            yield Misfit(("challenge_ttl",), f"challenge_ttl {self.challenge_ttl} is beyond bounds", "Write 1m to 30d")
        if not written and self.enabled and self.basic_auth is None:
            yield Misfit(
                ("enabled", "basic_auth"), "nobody could open the page", "Add basic_auth: {username: …, password: …}"
            )


class AccessListSpec(Declared):
    """From where SCEP may be used. X-Forwarded-For counts only from trusted proxies."""

    allow: tuple[Network, ...] | None = Field(
        None, description="Addresses and networks, IPv4 and IPv6. Default: from anywhere"
    )
    applies_to: Literal["scep", "ndes", "both"] = Field(
        "both", description="scep: enrolment; ndes: the page that gives challenges"
    )

    def misfits(self, written: bool) -> Iterator[Misfit]:
        yield from repeated_misfits("allow", self.allow or ())
        if self.allow == ():
            yield Misfit(("allow",), "allow is empty, so nobody could enrol", "List a network, or write allow: null")


class RenewalSpec(Declared):
    """Renewal by the certificate that a device has (RFC 8894 §2.5)."""

    enabled: bool = Field(True, description="Whether a certificate lets in a request for its successor")
    window: DurationField | None = Field(
        None, description="How long before its end a certificate may be renewed. Default: at any time"
    )
    grace: DurationField | None = Field(
        None, description="How long after its end it may still be renewed. Default: not at all"
    )


class TriesSpec(Declared):
    """Wrong passphrases and challenges of one client address (an IPv6 network of 64 bits counts as one)."""

    count: int = Field(60, ge=1, description="So many are answered; further requests of that client are refused")
    per: DurationField = Field(Duration(1, "h"), description="Within how long")


class SCEPSpec(Declared):
    """Enrolment over SCEP. A request needs one of: a passphrase, a challenge, Intune, the certificate it renews."""

    enabled: bool = Field(False, description="Serves /scep/<authority>/<template>")
    static_passphrase: Annotated[
        StaticPassphraseSpec | None,
        BeforeValidator(_passphrase, json_schema_input_type=str | StaticPassphraseSpec | None),
        Said("a secret: !env NAME, !file PATH or !vault, or a mapping"),
    ] = Field(None, description="One passphrase for all: a reference (!env, !file, !vault), or more about it")
    challenges: bool = Field(
        False,
        description="Accepts one-time challenges made by command or for pre-approved requests; ndes implies it",
        json_schema_extra=_CHALLENGE,
    )
    ndes: NDESSpec = Field(default_factory=NDESSpec, description="Microsoft's page of one-time challenges")
    intune: IntuneSpec | None = Field(None, description="Microsoft Intune decides about its devices' requests")
    unproved: Literal["refuse", "approval", "issue"] = Field(
        "refuse",
        description="A request with neither challenge nor certificate: refuse it, let a person decide, or issue",
    )
    approval: bool = Field(False, description="Every request but a renewal waits for a person (PENDING)")
    ip_acl: AccessListSpec = Field(default_factory=AccessListSpec, description="From where it may be used")
    strip_root: bool = Field(
        False, description="Leaves the root out of GetCACert", json_schema_extra=rfc("RFC 8894 §4.2")
    )
    legacy: bool = Field(
        True,
        description="SHA-1 and 3DES, which iOS wants announced and older devices use; never MD5 or single DES",
        json_schema_extra=rfc("RFC 8894 §2.9, §3.5.2"),
    )
    single_des: bool = Field(
        False,
        description="Opens requests in single DES, which the RFC forbids and anybody can break, for a client that "
        "knows nothing else; it is neither announced nor answered with",
        json_schema_extra=rfc("RFC 8894 §2.9"),
    )
    renewal: RenewalSpec = Field(
        default_factory=RenewalSpec,
        description="Renewal by the presented certificate",
        json_schema_extra=rfc("RFC 8894 §2.5"),
    )
    tries: TriesSpec | None = Field(
        default_factory=TriesSpec, description="How often one client may be wrong; null for no limit"
    )

    def misfits(self, written: bool) -> Iterator[Misfit]:
        if self.approval and self.intune is not None:
            yield Misfit(
                ("approval", "intune"), "Intune's devices do not wait for a person", "Remove approval, or intune"
            )
        if self.approval and self.static_passphrase is not None:
            yield Misfit(
                ("approval", "static_passphrase"),
                "a waiting request would keep the passphrase that every device knows",
                "Use challenges, and write static_passphrase: null",
            )
        if self.single_des and not self.legacy:
            yield Misfit(("single_des", "legacy"), "single DES is older than what legacy allows", "Remove single_des")
        if written or not self.enabled or self.lets_in:
            return
        yield Misfit(
            ("enabled", "static_passphrase"),
            "nothing could let a request in",
            "Add static_passphrase, ndes or intune; challenges: true for those made by command; or say unproved",
        )

    @property
    def lets_in(self) -> bool:
        """Whether there is a way for a first enrolment."""
        return (
            self.static_passphrase is not None
            or self.takes_challenges
            or self.intune is not None
            or self.unproved != "refuse"
        )

    @property
    def takes_challenges(self) -> bool:
        return self.challenges or self.ndes.enabled


def unmixed(written: dict[str, Any]) -> dict[str, Any]:
    """A written `scep` block that can be laid over what stands: who gives a passphrase no longer wants one made, and
    the other way round."""
    passphrase = written.get("static_passphrase")
    if not isinstance(passphrase, dict):
        return written
    other = {"generate": False} if passphrase.get("secret") is not None else {"secret": None}
    return {**written, "static_passphrase": {**passphrase, **other}}
