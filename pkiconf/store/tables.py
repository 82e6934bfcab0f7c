"""The data, right from the first migration, because certificates outlive schemas.

Conventions: times are whole seconds since 1970 (`…_at`, `not_before`, `until`); serial numbers are big-endian
octets without a sign octet; JSON is canonical text (sorted keys, no spaces); enumerations are their StrEnum text.
The unit that serials, CRLs and OCSP hang on is the *issuer*, a subject name with a key, not the authority.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ColumnElement,
    Connection,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    event,
)

metadata: Final = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)


def _id() -> Column[int]:
    # SQLite gives AUTOINCREMENT behaviour only to INTEGER; without it a deleted last row's id is used again.
    return Column("id", BigInteger().with_variant(Integer(), "sqlite"), primary_key=True, autoincrement=True)


def _reference(name: str, target: str, nullable: bool = False) -> Column[int]:
    return Column(name, BigInteger, ForeignKey(target), nullable=nullable)


def _partial(name: str, *columns: str, where: ColumnElement[bool], unique: bool = False) -> Index:
    """An index of some of the rows."""
    return Index(name, *columns, unique=unique, sqlite_where=where, info={"where": where})


@event.listens_for(metadata, "before_create")
def _partial_on_postgresql_too(target: MetaData, connection: Connection, **_: Any) -> None:  # noqa: ANN401
    # Said only now: naming the option imports all of that dialect, which would cost others a tenth of their start.
    if connection.dialect.name == "postgresql":
        for index in (index for table in target.tables.values() for index in table.indexes if "where" in index.info):
            index.dialect_options["postgresql"]["where"] = index.info["where"]


_NEVER_REUSED: Final[dict[str, Any]] = {"sqlite_autoincrement": True}

slug = Table(
    "slug",
    metadata,
    Column("kind", Text, nullable=False),  # authority | template/<authority slug> | acme-policy
    Column("slug", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("destroyed_at", BigInteger),  # a tombstone: the name's URLs are never used again
    PrimaryKeyConstraint("kind", "slug"),
)

setting = Table(
    "setting",
    metadata,
    Column("name", Text, primary_key=True),
    Column("spec", Text, nullable=False),
    Column("spec_digest", Text, nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("owner", Text, nullable=False),
)

authority = Table(
    "authority",
    metadata,
    _id(),
    Column("slug", Text, nullable=False, unique=True),
    Column("name", Text, nullable=False, unique=True),
    Column("owner", Text, nullable=False),
    Column("lifecycle", Text, nullable=False),  # creating | waiting_certificate | active | retired | destroyed
    Column("spec", Text, nullable=False),  # the resolved declaration
    Column("spec_digest", Text, nullable=False),
    Column("generation", BigInteger, nullable=False),  # counts writes of this row: the precondition of changes
    Column("current_issuer_id", BigInteger),  # set with the first active issuer; a cycle, so no foreign key
    Column("created_at", BigInteger, nullable=False),
    Column("retired_at", BigInteger),
    **_NEVER_REUSED,
)

key = Table(
    "key",
    metadata,
    _id(),
    Column("spki_sha256", LargeBinary, nullable=False, unique=True),
    Column("spki", LargeBinary, nullable=False),
    Column("algorithm", Text, nullable=False),  # a name of model.keys
    Column("backend", Text, nullable=False),  # local | …
    Column("sealed", LargeBinary),  # PKCS#8, sealed; NULL for a key that lives elsewhere or was destroyed
    Column("locator", Text),
    Column("wrapping_key_id", Text),
    Column("state", Text, nullable=False),  # active | destroyed
    Column("created_at", BigInteger, nullable=False),
    **_NEVER_REUSED,
)

sealed_secret = Table(
    "sealed_secret",
    metadata,
    Column("name", Text, primary_key=True),  # audit-mac | audit-checkpoint | change-detection | …
    Column("sealed", LargeBinary, nullable=False),
    Column("wrapping_key_id", Text, nullable=False),
)

issuer = Table(
    "issuer",
    metadata,
    _id(),
    _reference("authority_id", "authority.id"),
    _reference("key_id", "key.id"),
    Column("subject", LargeBinary, nullable=False),
    Column("ski", LargeBinary, nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("state", Text, nullable=False),  # next | active | retiring | ended
    Column("status_epoch", BigInteger, nullable=False, server_default="0"),
    Column("crl_number", BigInteger, nullable=False, server_default="0"),
    Column("created_at", BigInteger, nullable=False),
    UniqueConstraint("authority_id", "generation"),
    **_NEVER_REUSED,
)

issuer_hash = Table(
    "issuer_hash",
    metadata,
    Column("hash_algorithm", Text, nullable=False),  # sha1 | sha256 | sha384 | sha512
    Column("name_hash", LargeBinary, nullable=False),
    Column("key_hash", LargeBinary, nullable=False),
    _reference("issuer_id", "issuer.id"),
    PrimaryKeyConstraint("hash_algorithm", "name_hash", "key_hash"),
)

ca_certificate = Table(
    "ca_certificate",
    metadata,
    _id(),
    _reference("issuer_id", "issuer.id"),  # whose certificate this is
    Column("signed_by_issuer_id", BigInteger, ForeignKey("issuer.id")),  # NULL: signed by somebody else
    Column("role", Text, nullable=False),  # self | subordinate | cross | external
    Column("der", LargeBinary, nullable=False),
    Column("chain", LargeBinary),  # PEM of an external issuer's chain, nearest first
    Column("not_before", BigInteger, nullable=False),
    Column("not_after", BigInteger, nullable=False),
    Column("preferred", Integer, nullable=False),  # 1: the one served and chained to
    Column("created_at", BigInteger, nullable=False),
    Index("ix_ca_certificate_issuer_id", "issuer_id", "preferred"),
    _partial("ix_ca_certificate_preferred", "id", where=Column("preferred", Integer) == 1),
    **_NEVER_REUSED,
)  # fmt: skip

template = Table(
    "template",
    metadata,
    _id(),
    Column("slug", Text, nullable=False),
    _reference("authority_id", "authority.id"),
    Column("name", Text, nullable=False),
    Column("owner", Text, nullable=False),  # yaml:<workspace> | implied | system
    Column("lifecycle", Text, nullable=False),  # active | retired
    Column("spec", Text, nullable=False),
    Column("spec_digest", Text, nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("current_version_id", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    UniqueConstraint("authority_id", "name"),
    UniqueConstraint("authority_id", "slug", name="uq_template_slug"),
    **_NEVER_REUSED,
)

template_version = Table(
    "template_version",
    metadata,
    _id(),
    _reference("template_id", "template.id"),
    Column("digest", Text, nullable=False),
    Column("resolved", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    UniqueConstraint("template_id", "digest"),
    **_NEVER_REUSED,
)

certificate = Table(  # narrow and updated
    "certificate",
    metadata,
    Column("issuer_id", BigInteger, ForeignKey("issuer.id"), nullable=False),
    Column("serial", LargeBinary, nullable=False),
    Column("bucket", Integer, nullable=False),  # of not_after, from the serial; 0 for imported serials
    Column("template_version_id", BigInteger, ForeignKey("template_version.id")),  # NULL for imported serials
    Column("status", Text, nullable=False),
    Column("reason", Integer),
    Column("revoked_at", BigInteger),
    Column("invalidity_at", BigInteger),
    Column("not_before", BigInteger, nullable=False),
    Column("not_after", BigInteger, nullable=False),
    Column("crl_shard", Integer, nullable=False, server_default="0"),
    Column("origin_kind", Text, nullable=False),  # request | ca | service | import | …
    Column("origin_id", Text, nullable=False),
    Column("reserved_at", BigInteger, nullable=False),
    Column("lease_until", BigInteger, nullable=False),  # a reserved intent is resumed by others after this
    Column("changed_epoch", BigInteger, nullable=False, server_default="0"),  # the status epoch its status dates from
    PrimaryKeyConstraint("issuer_id", "serial"),
    UniqueConstraint("origin_kind", "origin_id"),  # one certificate for one order, transaction or claim
    CheckConstraint("length(serial) between 1 and 20", name="serial_length"),
    # All that a line of a CRL is made from, in its order: a list of a million looks up no row.
    _partial("ix_certificate_revoked", "issuer_id", "crl_shard", "serial", "status", "revoked_at", "reason",
             "invalidity_at", "not_after",
             where=Column("status", Text).in_(["revoked", "held", "abandoned"])),
    _partial("ix_certificate_reserved", "lease_until", where=Column("status", Text) == "reserved"),
    _partial("ix_certificate_changed", "issuer_id", "crl_shard", "changed_epoch",
             where=Column("changed_epoch", BigInteger) > 0),
    Index("ix_certificate_version", "template_version_id", "not_after"),
    sqlite_with_rowid=False,
)  # fmt: skip

certificate_tbs = Table(  # insert-only
    "certificate_tbs",
    metadata,
    Column("issuer_id", BigInteger, nullable=False),
    Column("serial", LargeBinary, nullable=False),
    Column("algorithm", Text, nullable=False),  # a name of model.keys, the signature's
    Column("tbs", LargeBinary, nullable=False),
    PrimaryKeyConstraint("issuer_id", "serial"),
    ForeignKeyConstraint(["issuer_id", "serial"], ["certificate.issuer_id", "certificate.serial"]),
)

certificate_signature = Table(  # insert-only; together they are the certificate
    "certificate_signature",
    metadata,
    Column("issuer_id", BigInteger, nullable=False),
    Column("serial", LargeBinary, nullable=False),
    Column("signature", LargeBinary, nullable=False),
    Column("signed_at", BigInteger, nullable=False),
    PrimaryKeyConstraint("issuer_id", "serial"),
    ForeignKeyConstraint(["issuer_id", "serial"], ["certificate.issuer_id", "certificate.serial"]),
)

precertificate = Table(  # insert-only but for the signature, which comes once; kept with its certificate
    "precertificate",
    metadata,
    Column("issuer_id", BigInteger, nullable=False),
    Column("serial", LargeBinary, nullable=False),
    Column("algorithm", Text, nullable=False),  # a name of model.keys, the signature's
    Column("tbs", LargeBinary, nullable=False),
    Column("signature", LargeBinary),
    PrimaryKeyConstraint("issuer_id", "serial"),
    ForeignKeyConstraint(["issuer_id", "serial"], ["certificate.issuer_id", "certificate.serial"]),
)

certificate_timestamp = Table(  # insert-only: what logs of certificate transparency promised
    "certificate_timestamp",
    metadata,
    Column("issuer_id", BigInteger, nullable=False),
    Column("serial", LargeBinary, nullable=False),
    Column("log_id", LargeBinary, nullable=False),  # SHA-256 of the log's key
    Column("sct", LargeBinary, nullable=False),  # as RFC 6962 §3.2 writes it
    Column("received_at", BigInteger, nullable=False),
    PrimaryKeyConstraint("issuer_id", "serial", "log_id"),
    ForeignKeyConstraint(["issuer_id", "serial"], ["certificate.issuer_id", "certificate.serial"]),
)

certificate_name = Table(  # searchable names, lower case
    "certificate_name",
    metadata,
    Column("kind", Text, nullable=False),  # cn | dns | ip | email | uri
    Column("value", Text, nullable=False),
    Column("issuer_id", BigInteger, nullable=False),
    Column("serial", LargeBinary, nullable=False),
    PrimaryKeyConstraint("value", "kind", "issuer_id", "serial"),
    sqlite_with_rowid=False,
)

compromised_key = Table(  # insert-only; without references, because it outlives the authorities it was learnt from
    "compromised_key",
    metadata,
    Column("spki_sha256", LargeBinary, primary_key=True),  # of the SubjectPublicKeyInfo
    Column("recorded_at", BigInteger, nullable=False),
)

service_certificate = Table(
    "service_certificate",
    metadata,
    _id(),
    _reference("issuer_id", "issuer.id"),
    Column("purpose", Text, nullable=False),  # ocsp | tsa | scep_ra | tls
    _reference("key_id", "key.id"),
    Column("serial", LargeBinary),  # NULL until its certificate is complete
    Column("from_at", BigInteger, nullable=False),
    Column("until_at", BigInteger, nullable=False),
    Index("ix_service_certificate_issuer_id", "issuer_id", "purpose"),
    **_NEVER_REUSED,
)

request = Table(
    "request",
    metadata,
    _id(),
    _reference("template_id", "template.id"),
    Column("state", Text, nullable=False),
    Column("csr", LargeBinary, nullable=False),  # empty: without a key, see enrolment_grant
    Column("subject", Text, nullable=False),  # for lists: RFC 4514 text
    Column("names", Text, nullable=False),  # for lists and --filter: JSON array of kind:value
    Column("overrides", Text),  # JSON, recorded at signing
    Column("reason", Text),  # why declined or rejected
    Column("submitted_at", BigInteger, nullable=False),
    Column("submitted_by", Text, nullable=False),
    Column("decided_at", BigInteger),
    Column("issuer_id", BigInteger),
    Column("serial", LargeBinary),
    Index("ix_request_state", "state", "id"),
    **_NEVER_REUSED,
)

approval = Table(
    "approval",
    metadata,
    _id(),
    _reference("request_id", "request.id"),
    Column("actor", Text, nullable=False),
    Column("decision", Text, nullable=False),  # approve | decline
    Column("reason", Text),
    Column("at", BigInteger, nullable=False),
    Index("ix_approval_request_id", "request_id"),
    **_NEVER_REUSED,
)

crl = Table(
    "crl",
    metadata,
    _reference("issuer_id", "issuer.id"),
    Column("shard", Integer, nullable=False),  # -1: the full CRL
    Column("number", BigInteger, nullable=False),
    Column("covers_epoch", BigInteger, nullable=False),
    Column("this_update", BigInteger, nullable=False),
    Column("next_update", BigInteger, nullable=False),
    Column("der", LargeBinary, nullable=False),
    Column("base_number", BigInteger),  # of a delta CRL; NULL for a complete one
    PrimaryKeyConstraint("issuer_id", "shard", "number"),
)

crl_partition = Table(  # insert-only: the URLs under which certificates look for each part of an issuer's CRL
    "crl_partition",
    metadata,
    _reference("issuer_id", "issuer.id"),
    Column("shard", Integer, nullable=False),
    Column("url", Text, nullable=False),
    Column("added_epoch", BigInteger, nullable=False),  # its CRLs say so only from this status epoch on
    PrimaryKeyConstraint("issuer_id", "shard", "url"),
)

crl_withheld = Table(  # CRLs that are not published because the one before lists more; gone when one is published
    "crl_withheld",
    metadata,
    _reference("issuer_id", "issuer.id"),
    Column("shard", Integer, nullable=False),
    Column("delta", Integer, nullable=False),  # 1 or 0
    Column("at", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
    PrimaryKeyConstraint("issuer_id", "shard", "delta"),
)

ocsp_answer = Table(  # signed ahead of time, as long as nothing has happened to the certificate since
    "ocsp_answer",
    metadata,
    Column("issuer_id", BigInteger, nullable=False),
    Column("serial", LargeBinary, nullable=False),
    Column("hash_algorithm", Text, nullable=False),  # of the CertID
    Column("changed_epoch", BigInteger, nullable=False),  # the certificate's, when this was signed
    Column("responder_serial", LargeBinary, nullable=False),
    Column("produced_at", BigInteger, nullable=False),
    Column("next_update", BigInteger, nullable=False),
    Column("response_data", LargeBinary, nullable=False),
    Column("signature", LargeBinary, nullable=False),
    PrimaryKeyConstraint("issuer_id", "serial", "hash_algorithm"),
    ForeignKeyConstraint(["issuer_id", "serial"], ["certificate.issuer_id", "certificate.serial"]),
    Index("ix_ocsp_answer_produced_at", "issuer_id", "produced_at"),
    sqlite_with_rowid=False,
)

job = Table(
    "job",
    metadata,
    _id(),
    Column("kind", Text, nullable=False),
    Column("dedupe", Text, nullable=False),  # at most one open job of a kind for one thing
    Column("payload", Text, nullable=False),
    Column("due_at", BigInteger, nullable=False),
    Column("claimed_by", Text),
    Column("claimed_until", BigInteger),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("last_error", Text),
    Column("revision", BigInteger, nullable=False, server_default="0"),  # counts how often it was queued
    UniqueConstraint("kind", "dedupe"),
    Index("ix_job_due", "due_at"),
    **_NEVER_REUSED,
)

acme_policy = Table(
    "acme_policy",
    metadata,
    _id(),
    Column("slug", Text, nullable=False, unique=True),
    Column("name", Text, nullable=False, unique=True),
    Column("owner", Text, nullable=False),
    Column("lifecycle", Text, nullable=False),  # active | retired
    Column("spec", Text, nullable=False),  # the resolved declaration
    Column("spec_digest", Text, nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    **_NEVER_REUSED,
)

acme_binding = (
    Table(  # an external account binding (RFC 8555 §7.3.4); a deleted one stays, for its accounts and the audit
        "acme_binding",
        metadata,
        _id(),
        _reference("policy_id", "acme_policy.id"),
        Column("name", Text, nullable=False),
        Column("owner", Text, nullable=False),
        Column("lifecycle", Text, nullable=False),  # active | deleted
        Column("key_id", Text, nullable=False, unique=True),  # what clients send as kid
        Column("sealed", LargeBinary),  # the HMAC key, sealed; NULL once deleted
        Column("wrapping_key_id", Text),
        Column("spec", Text, nullable=False),
        Column("spec_digest", Text, nullable=False),
        Column("generation", BigInteger, nullable=False),
        Column("accounts", BigInteger, nullable=False, server_default="0"),  # how many registered with it
        Column("created_at", BigInteger, nullable=False),
        _partial(
            "ix_acme_binding_active", "policy_id", "name", where=Column("lifecycle", Text) == "active", unique=True
        ),
        **_NEVER_REUSED,
    )
)

acme_account = Table(
    "acme_account",
    metadata,
    _id(),
    Column("name", Text, nullable=False, unique=True),  # in its URL: random, never given again
    _reference("policy_id", "acme_policy.id"),
    Column("binding_id", BigInteger, ForeignKey("acme_binding.id")),  # NULL where the policy asks for none
    Column("thumbprint", Text, nullable=False, unique=True),  # RFC 7638, SHA-256, base64url
    Column("jwk", Text, nullable=False),  # canonical, public members only
    Column("status", Text, nullable=False),  # valid | deactivated | revoked
    Column("contacts", Text, nullable=False),  # JSON array
    Column("terms_agreed_at", BigInteger),
    Column("created_at", BigInteger, nullable=False),
    Column("created_from", Text, nullable=False),  # the client's address
    Index("ix_acme_account_policy_id", "policy_id"),
    Index("ix_acme_account_binding_id", "binding_id"),
    **_NEVER_REUSED,
)

acme_order = Table(
    "acme_order",
    metadata,
    _id(),
    Column("name", Text, nullable=False, unique=True),
    _reference("account_id", "acme_account.id"),
    _reference("template_id", "template.id"),
    Column("status", Text, nullable=False),  # pending | ready | processing | valid | invalid
    Column("identifiers", Text, nullable=False),  # JSON array of type:value, a wildcard with its "*."
    Column("profile", Text, nullable=False),
    Column("not_before", BigInteger),
    Column("not_after", BigInteger),
    Column("replaces", Text),  # RFC 9773 certificate identifier
    Column("error", Text),  # JSON problem
    Column("issuer_id", BigInteger),  # with serial: the certificate, from reserve on
    Column("serial", LargeBinary),
    Column("spki_sha256", LargeBinary),  # of the key that it was finalized with
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Index("ix_acme_order_account_id", "account_id", "id"),
    _partial("ix_acme_order_replaces", "replaces", where=Column("replaces", Text).is_not(None)),
    **_NEVER_REUSED,
)

acme_authorization = Table(
    "acme_authorization",
    metadata,
    _id(),
    Column("name", Text, nullable=False, unique=True),
    _reference("account_id", "acme_account.id"),
    Column("kind", Text, nullable=False),  # dns | ip
    Column("value", Text, nullable=False),  # lower case, A-labels, never with "*."
    Column("wildcard", Integer, nullable=False),  # 1: for "*." of the value
    Column("status", Text, nullable=False),  # pending | valid | invalid | deactivated | revoked
    Column("token", Text, nullable=False),  # of all its challenges
    Column("offered", Text, nullable=False),  # challenge types, separated by commas; empty when pre-approved
    Column("accepted", Text),  # the challenge type that the client chose
    Column("accepted_at", BigInteger),
    Column("validated_at", BigInteger),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("error", Text),  # JSON problem of the last attempt
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Index("ix_acme_authorization_account_id", "account_id", "value", "kind"),
    **_NEVER_REUSED,
)

acme_order_authorization = Table(
    "acme_order_authorization",
    metadata,
    _reference("order_id", "acme_order.id"),
    _reference("authorization_id", "acme_authorization.id"),
    PrimaryKeyConstraint("order_id", "authorization_id"),
    Index("ix_acme_order_authorization_authorization_id", "authorization_id"),
    sqlite_with_rowid=False,
)

acme_issued_name = Table(  # written with a reservation where certificates_per_name is declared: what that limit counts
    "acme_issued_name",
    metadata,
    Column("value", Text, nullable=False),  # type:value
    Column("at", BigInteger, nullable=False),
    _reference("order_id", "acme_order.id"),
    PrimaryKeyConstraint("value", "at", "order_id"),
    sqlite_with_rowid=False,
)

# On PostgreSQL only, and in no backup: unlogged tables are fast, and empty after a crash of the server (see `nonces`).
unlogged = MetaData(naming_convention=metadata.naming_convention)

acme_nonce = Table(  # insert-only until pruned: redeemed ones
    "acme_nonce",
    unlogged,
    Column("value", LargeBinary, primary_key=True),  # expiry (4 octets, big-endian) and 8 random ones
    prefixes=["UNLOGGED"],
)

acme_nonce_epoch = Table(
    "acme_nonce_epoch",
    unlogged,
    Column("id", Integer, primary_key=True, autoincrement=False),  # always 1
    Column("epoch", LargeBinary, nullable=False),
    Column("floor", LargeBinary, nullable=False),  # what is below has expired and is refused
    prefixes=["UNLOGGED"],
)

scep_secret = Table(  # what a template's SCEP is declared with; the old ones stay
    "scep_secret",
    metadata,
    _id(),
    _reference("template_id", "template.id"),
    Column("kind", Text, nullable=False),  # passphrase | basic_auth | intune
    Column("digest", LargeBinary),  # HMAC-SHA-256, where comparing is enough
    Column("sealed_as", Text),  # the name of its sealed_secret, where it has to be told to others
    Column("created_at", BigInteger, nullable=False),
    Column("until_at", BigInteger),  # NULL: the one that is current
    Index("ix_scep_secret_template_id", "template_id", "kind"),
    _partial("ix_scep_secret_current", "template_id", "kind", where=Column("until_at", BigInteger).is_(None),
             unique=True),
    **_NEVER_REUSED,
)  # fmt: skip

scep_challenge = Table(  # one-time challenge passwords; one that was consumed stays until it is pruned
    "scep_challenge",
    metadata,
    _id(),
    _reference("template_id", "template.id"),
    Column("digest", LargeBinary, nullable=False, unique=True),  # HMAC-SHA-256 of template and challenge
    Column("bound", Text),  # JSON: the exact names that it is good for; NULL for whatever the template allows
    Column("grant_id", BigInteger),  # the pre-approved request that it was made for
    Column("tries", Integer, nullable=False, server_default="0"),  # how often it was presented with other names
    Column("created_by", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("consumed_at", BigInteger),
    Column("consumed_by", Text),  # the attempt and the transaction id
    Index("ix_scep_challenge_expires_at", "expires_at"),
    _partial("ix_scep_challenge_outstanding", "template_id", "expires_at",
             where=Column("consumed_at", BigInteger).is_(None)),
    **_NEVER_REUSED,
)  # fmt: skip

scep_tries = Table(  # passphrases and challenges that were refused, counted for each client's address
    "scep_tries",
    metadata,
    _reference("template_id", "template.id"),
    Column("client", Text, nullable=False),  # an IPv4 address, or an IPv6 network of 64 bits
    Column("since_at", BigInteger, nullable=False),  # when the counting began
    Column("failures", Integer, nullable=False),
    PrimaryKeyConstraint("template_id", "client"),
    sqlite_with_rowid=False,
)

scep_transaction = Table(  # RFC 8894 §2.8: one answer for one transaction, however often it is asked for
    "scep_transaction",
    metadata,
    _id(),
    _reference("template_id", "template.id"),
    Column("transaction_id", Text, nullable=False),
    Column("attempt", Integer, nullable=False),  # clients that derive the id from their key come again with it
    Column("csr_sha256", LargeBinary, nullable=False),
    Column("signer_spki_sha256", LargeBinary, nullable=False),  # of the key that signed the message
    Column("method", Text, nullable=False),  # passphrase | challenge | intune | renewal | approval | none
    Column("request_id", BigInteger, ForeignKey("request.id")),  # that a person approves, or approved beforehand
    Column("issuer_id", BigInteger),  # with serial: the certificate, unless a request has it
    Column("serial", LargeBinary),
    Column("after_issue", Text),  # who is told before the certificate is handed out
    Column("csr", LargeBinary),  # for them, until they were told
    Column("created_at", BigInteger, nullable=False),
    UniqueConstraint("template_id", "transaction_id", "attempt"),
    Index("ix_scep_transaction_request_id", "request_id"),
    **_NEVER_REUSED,
)

scep_intune = Table(  # certificates that Intune let in: it is told of each before the device gets it
    "scep_intune",
    metadata,
    Column("issuer_id", BigInteger, nullable=False),
    Column("serial", LargeBinary, nullable=False),
    Column("attempt_id", BigInteger, ForeignKey("scep_transaction.id"), nullable=False),
    Column("client", Text, nullable=False),  # the application that Intune was asked as
    Column("state", Text, nullable=False),  # untold | told | withdrawn
    PrimaryKeyConstraint("issuer_id", "serial"),
    Index("ix_scep_intune_serial", "serial"),
    sqlite_with_rowid=False,
)

enrolment_grant = Table(  # what a request without a key was approved for: whoever claims it brings the key
    "enrolment_grant",
    metadata,
    Column("request_id", BigInteger, ForeignKey("request.id"), primary_key=True, autoincrement=False),
    Column("subject", LargeBinary, nullable=False),  # DER: exactly this
    Column("validity", Text),  # JSON: days, not_before, not_after; NULL for the template's
    Column("email", Text),  # who is told; NULL where the operator hands it over
    Column("deliver", Text, nullable=False),  # claim | apple
    Column("token_salt", LargeBinary),  # what the link's token is derived from, with a key that lies here sealed
    Column("token_sha256", LargeBinary, unique=True),  # of the link's token; NULL until it is approved
    Column("token_number", Integer, nullable=False, server_default="0"),  # how many links there were
    Column("expires_at", BigInteger),  # of the link; NULL until it is approved
    Column("fetched_at", BigInteger),  # when the link's profile was fetched first
    Column("fetches", Integer, nullable=False, server_default="0"),
    Index("ix_enrolment_grant_expires_at", "expires_at"),
)

mail = Table(  # the outbox: who is to be told of which link; the text is made, and the token derived, when it is sent
    "mail",
    metadata,
    _id(),
    _reference("request_id", "request.id"),
    Column("token_number", Integer, nullable=False),  # of the link that it tells: a later one makes it void
    Column("recipient", Text, nullable=False),
    Column("state", Text, nullable=False),  # queued | sent | failed | void
    Column("error", Text),  # what the mail server said last
    Column("created_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
    Index("ix_mail_request_id", "request_id"),
    **_NEVER_REUSED,
)

timestamp_token = Table(  # insert-only; what was stamped outlives the authority that did it, so there is no foreign key
    "timestamp_token",
    metadata,
    Column("authority_id", BigInteger, nullable=False),
    Column("serial", LargeBinary, nullable=False),  # begins with the time
    Column("at", BigInteger, nullable=False),  # microseconds since 1970
    Column("protocol", Text, nullable=False),  # rfc3161 | authenticode
    Column("digest", Text, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    PrimaryKeyConstraint("authority_id", "serial"),
    sqlite_with_rowid=False,
)

timestamp_count = Table(  # where only the number is recorded
    "timestamp_count",
    metadata,
    Column("authority_id", BigInteger, nullable=False),
    Column("day", BigInteger, nullable=False),  # since 1970, UTC
    Column("number", BigInteger, nullable=False),
    PrimaryKeyConstraint("authority_id", "day"),
    sqlite_with_rowid=False,
)

timestamp_clock = Table(  # the latest time of an authority whose tokens are ordered, or only counted
    "timestamp_clock",
    metadata,
    Column("authority_id", BigInteger, primary_key=True, autoincrement=False),
    Column("at", BigInteger, nullable=False),  # microseconds since 1970
)

lease = Table(
    "lease",
    metadata,
    Column("name", Text, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("fencing", BigInteger, nullable=False),  # grows with every new holder
    Column("until_at", BigInteger, nullable=False),
)

audit_event = Table(  # insert-only
    "audit_event",
    metadata,
    _id(),
    Column("at", BigInteger, nullable=False),
    Column("body", Text, nullable=False),  # canonical JSON
    Column("mac", LargeBinary, nullable=False),
    **_NEVER_REUSED,
)

audit_leaf = Table(  # insert-only: the order in which the sealer put events into the tree
    "audit_leaf",
    metadata,
    Column("index", BigInteger, primary_key=True, autoincrement=False),
    Column("event_id", BigInteger, ForeignKey("audit_event.id"), nullable=False, unique=True),
    Column("leaf_hash", LargeBinary, nullable=False),
)

audit_checkpoint = Table(  # insert-only
    "audit_checkpoint",
    metadata,
    Column("size", BigInteger, primary_key=True, autoincrement=False),
    Column("root_hash", LargeBinary, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("signature", LargeBinary, nullable=False),
)

applied = Table(
    "applied",
    metadata,
    _id(),
    Column("at", BigInteger, nullable=False),
    Column("workspace", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("plan_digest", Text, nullable=False),
    Column("recap", Text, nullable=False),  # JSON: {"ok": n, "changed": n, "failed": n, "waiting": n}
    **_NEVER_REUSED,
)
