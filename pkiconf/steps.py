"""Every durable step this program takes, in one list.

`Database.write` and every write of a state file name their step. Around each step stand two kill
points, `before` (nothing of it is durable) and `after` (all of it is): with `PKICONF_KILL_AT` set to
`<step>:before` or `<step>:after` the process kills itself there, as a power cut would; with
`<step>:<side>:<n>` when it comes there for the n-th time. The crash tests walk this list and fail for
a step that no scenario reaches.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterable
from enum import StrEnum
from typing import Final


class Step(StrEnum):
    # issuance
    REQUEST_SUBMIT = "request.submit"
    REQUEST_DECIDE = "request.decide"
    CERTIFICATE_RESERVE = "certificate.reserve"
    PRECERTIFICATE_SIGN = "certificate.precertify"
    CERTIFICATE_DISCLOSE = "certificate.disclose"
    CERTIFICATE_COMPLETE = "certificate.complete"
    CERTIFICATE_ABANDON = "certificate.abandon"
    # revocation
    CERTIFICATE_REVOKE = "certificate.revoke"
    CERTIFICATE_RELEASE = "certificate.release"
    CRL_NUMBER = "crl.number"
    CRL_PUBLISH = "crl.publish"
    OCSP_PRESIGN = "ocsp.presign"
    # authorities
    AUTHORITY_CREATE = "authority.create"
    AUTHORITY_UPDATE = "authority.update"
    AUTHORITY_ROLLOVER = "authority.rollover"
    AUTHORITY_ACTIVATE = "authority.activate"
    AUTHORITY_IMPORT = "authority.import"
    AUTHORITY_RETIRE = "authority.retire"
    AUTHORITY_ARCHIVE = "authority.archive"
    AUTHORITY_DESTROY = "authority.destroy"
    SERVICE_CERTIFICATE = "authority.service-certificate"
    # templates and settings
    TEMPLATE_WRITE = "template.write"
    TEMPLATE_RETIRE = "template.retire"
    SETTINGS_WRITE = "settings.write"
    # ACME
    ACME_POLICY_WRITE = "acme.policy-write"
    ACME_BINDING_WRITE = "acme.binding-write"
    ACME_ACCOUNT_WRITE = "acme.account-write"
    ACME_ORDER_CREATE = "acme.order-create"
    ACME_ORDER_WRITE = "acme.order-write"
    ACME_CHALLENGE_ACCEPT = "acme.challenge-accept"
    ACME_VALIDATED = "acme.validated"
    # SCEP
    SCEP_SECRET_WRITE = "scep.secret-write"  # noqa: S105
    SCEP_CHALLENGE_CREATE = "scep.challenge-create"
    SCEP_TRIES = "scep.tries"
    INTUNE_WRITE = "scep.intune-write"
    # what is told once
    CREDENTIALS_FILE = "credentials.file"
    # mail and profiles
    MAIL_END = "mail.end"
    PROFILE_FETCH = "profile.fetch"
    # timestamps
    TIMESTAMP_RECORD = "timestamp.record"
    TIMESTAMP_COUNT = "timestamp.count"
    # reconciler
    APPLY_LEASE = "apply.lease"
    APPLY_RECORD = "apply.record"
    # keys
    KEYSTORE_CREATE = "keystore.create"
    KEYSTORE_REWRAP = "keystore.rewrap"
    MASTER_KEY_FILE = "keystore.master-key-file"
    # audit and jobs
    AUDIT_SEAL = "audit.seal"
    AUDIT_CHECKPOINT_FILE = "audit.checkpoint-file"
    JOB_CLAIM = "job.claim"
    JOB_FINISH = "job.finish"
    LEASE = "lease.take"
    # whole database
    MIGRATE = "database.migrate"
    BACKUP = "database.backup"
    BACKUP_ARCHIVE = "database.backup-archive"
    RESTORE = "database.restore"


KILL_VARIABLE: Final = "PKICONF_KILL_AT"

_passed: Final[Counter[str]] = Counter()


def kill_point(step: Step, side: str) -> None:
    """Die here, uncleanly, if the environment asks for it."""
    kill_points((step,), side)


def is_anything_killed() -> bool:
    """Whether the environment asks for it at all. For whoever passes two points at once: a look takes microseconds."""
    return KILL_VARIABLE in os.environ


def kill_points(steps: Iterable[Step], side: str) -> None:
    """The same for steps that are taken together. Costs one look into the environment."""
    wish = os.environ.get(KILL_VARIABLE)
    if wish is None:
        return
    for step in steps:
        _passed[f"{step}:{side}"] += 1
        if wish in (f"{step}:{side}", f"{step}:{side}:{_passed[f'{step}:{side}']}"):
            os.kill(os.getpid(), signal.SIGKILL)
