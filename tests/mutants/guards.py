"""Every guard with the change that removes it, and the tests that must notice.

A guard is a line that refuses, or a constant that orders, for a reason; code runs on without it, and only a test
tells. `python -m tests.mutants` takes each out in turn. To add one, name what holds because of it.
"""

from __future__ import annotations

from tests.mutants.acme import ACME
from tests.mutants.enrolment import ENROLMENT
from tests.mutants.guard import Guard, guards
from tests.mutants.intune import INTUNE
from tests.mutants.scep import SCEP
from tests.mutants.scep_answers import SCEP_ANSWERS
from tests.mutants.scep_wire import SCEP_WIRE
from tests.mutants.serving import SERVING
from tests.mutants.status import STATUS
from tests.mutants.status_lists import STATUS_LISTS
from tests.mutants.timestamps import TIMESTAMPS
from tests.mutants.transparency import TRANSPARENCY

__all__ = ["GUARDS", "Guard"]

GUARDS: tuple[Guard, ...] = (
    *guards(
        "pkiconf/policy/wishes.py",
        ("tests/policy/test_template.py", "tests/policy/test_template_cases.py", "tests/policy/test_real_requests.py"),
        ("a CSR gets no CA:TRUE from a leaf template", "if asked.ca and not granted.ca:"),
        ("a CSR gets no longer path than the template gives", "asked.path_length > granted.path_length:", "False:"),
        (
            "a CSR gets no key usage beyond the template's",
            "    beyond = parse_key_usage(value) - granted.key_usages - _UNBIDDEN",
            "    beyond: frozenset[KeyUsage] = frozenset()",
        ),
        (
            "a CSR gets no extended key usage beyond the template's",
            "    beyond = [oid for oid in parse_extended_key_usage(value) if oid not in granted.extended_key_usages]",
            "    beyond: list[str] = []",
        ),
        ("a critical extension that nobody knows is refused", "if extension.critical:"),
        ("what would change a certificate's meaning is refused", "if known is not None:"),
    ),
    *guards(
        "pkiconf/policy/template.py",
        (
            "tests/policy/test_template.py",
            "tests/policy/test_template_cases.py",
            "tests/policy/test_real_requests.py",
            "tests/issuance/test_pipeline.py",
        ),
        ("a disabled template issues nothing", 'if not spec.enabled or spec.state == "absent":'),
        ("a template's allowed keys are the only ones", "    check_allowed_key(wanted.key, spec.allowed_keys)\n", ""),
        ("the wishes of a CSR are judged", "    check_wishes(wanted.extensions, compiled.granted)\n", ""),
        ("a template's name rules are kept", "    check_names(compiled.names, subject, claims)\n", ""),
        (
            "the chain's name constraints bind every certificate",
            "        check_claims(claims, subject, issuer.constraints)",
            "        pass",
        ),
        ("no leaf has the subject of its issuer", "if self_issued:"),
        ("no leaf has the key of its issuer", "if wanted.spki == issuer.spki:"),
        ("no authority stands where the path length leaves no room", "if room < 0:"),
        (
            "no authority's path length is longer than what is left",
            "if granted.path_length is None or granted.path_length > room:",
        ),
        ("only authorities' templates sign certificates", "if not ca and KeyUsage.KEY_CERT_SIGN in usages:"),
    ),
    *guards(
        "pkiconf/policy/validity.py",
        (
            "tests/policy/test_template.py",
            "tests/policy/test_template_cases.py",
            "tests/policy/test_real_requests.py",
            "tests/policy/test_overrides.py",
        ),
        ("no certificate outlives its issuer", "if issuer is not None:"),
        ("no certificate outlives the template's maximum", "if limit is not None:"),
        ("an end that was asked for is refused, not shortened", "if explicit:"),
        ("no certificate has ended when it is made", "if end <= max(start, now):"),
        ("no certificate starts before its issuer", "if start < issuer.not_before:"),
    ),
    *guards(
        "pkiconf/policy/keys.py",
        ("tests/policy/test_keys.py",),
        ("short RSA keys are refused", "if bits < MINIMUM_MODULUS:"),
        ("overlong RSA keys are refused", "if bits > MAXIMUM_MODULUS:"),
        ("RSA keys with small exponents are refused", "if exponent < MINIMUM_EXPONENT:"),
        ("RSA keys with even exponents are refused", "if exponent % 2 == 0:"),
        ("RSA keys with small factors are refused", "if has_small_factor(modulus):"),
        ("ROCA keys are refused", "if has_roca_fingerprint(modulus):"),
        ("Debian's predictable keys are refused", "if is_debian_weak(modulus):"),
        ("RSA keys with close primes are refused", "if has_close_primes(modulus):"),
        ("the generator is no key", 'if int.from_bytes(abscissa, "big") == _GENERATOR_X[facts.curve]:'),
        ("points of small order are no keys", "if ordinate % prime in small_order:"),
        ("an ML-DSA key is not zero", 'if not spki[-size + 32 :].strip(b"\\x00"):'),
        ("compromised keys are refused", "if hashlib.sha256(spki).digest() in compromised:"),
    ),
    *guards(
        "pkiconf/policy/constraints.py",
        ("tests/policy/test_constraints.py",),
        ("names that are excluded above are refused", "if matches(claim.name):"),
        (
            "names outside what is permitted above are refused",
            "if allowed and not any(matches(claim.name) for _, matches in allowed):",
        ),
        ("an excluded network holds mapped addresses too", "    NameType.IP: _network_or_mapped,\n", ""),
    ),
    *guards(
        "pkiconf/policy/name_rules.py",
        (
            "tests/policy/test_name_rules.py",
            "tests/policy/test_template.py",
            "tests/policy/test_template_cases.py",
            "tests/policy/test_real_requests.py",
        ),
        (
            "wildcards are refused where the template says so",
            'if not policy.wildcards and isinstance(name, DNSName) and name.value.startswith("*."):',
        ),
        ("denied names are refused", "if _matches(policy.deny.get(kind, ()), name):"),
        ("types of names that are not allowed are refused", "if patterns is None:"),
        ("names that are not allowed are refused", "if not _matches(patterns, name):"),
        ("common names that are denied are refused", "if _matches(policy.deny_common_name, name):"),
    ),
    *guards(
        "pkiconf/policy/authorization.py",
        ("tests/policy/test_authorization.py",),
        ("an actor does only what its kind may", "if action not in MAY.get(actor.kind, frozenset()):"),
        ("an actor has proved who it is", "if not actor.proved_by:"),
    ),
    *guards(
        "pkiconf/policy/revocation.py",
        ("tests/policy/test_revocation.py",),
        (
            "a revoked certificate is never released",
            "    if standing.status is CertificateStatus.REVOKED:\n        raise Conflict",
            "    if False:\n        raise Conflict",
        ),
        ("certificateHold does not revoke", "if reason is RevocationReason.CERTIFICATE_HOLD:"),
        (
            "only an authority's key compromise is cACompromise",
            "if reason is RevocationReason.CA_COMPROMISE and not is_authority:",
        ),
        ("nothing was compromised in the future", "if invalidity_date is not None and invalidity_date > now:"),
        ("a reason is corrected to keyCompromise only", "if known in compromised or reason not in compromised:"),
    ),
    *guards(
        "pkiconf/der/csr.py",
        ("tests/der/test_csr.py",),
        (
            "a request proves possession of its key",
            "        verify_signature(spki, parse_algorithm(algorithm.der), info.der, signature)",
            "        pass",
        ),
        ("a request is not larger than it may be", "if len(data) > MAX_REQUEST_SIZE:"),
        ("a request has each attribute once", "if oid in values:"),
    ),
    *guards(
        "pkiconf/der/ocsp.py",
        ("tests/der/test_ocsp.py",),
        ("an OCSP nonce has 1 to 128 octets", "if not 1 <= size <= MAX_NONCE_SIZE:"),
        ("a critical extension of an OCSP request is understood", "if extension.critical and oid not in known:"),
        ("an OCSP request asks about so many certificates at most", "if not 1 <= len(requests) <= MAX_CERT_IDS:"),
        ("an OCSP request is not larger than it may be", "if len(data) > MAX_REQUEST_SIZE:"),
    ),
    *guards(
        "pkiconf/policy/lints/view.py",
        ("tests/policy/test_lints.py",),
        (
            "what lints found is kept for its octets alone",
            "        return self.version, self.signature, self.issuer, self.key_algorithm, extensions",
            "        return extensions",
        ),
        (
            "what lints found in an extension is kept for its octets alone",
            "tuple([one[:2] if one.oid in _OF_ONE else one for one in extensions])",
            "tuple([one[:2] for one in extensions])",
        ),
        (
            "what is one certificate's own is never kept",
            'tuple(one._replace(value=b"") if one.oid in _OF_ONE else one for one in view.extensions)',
            "view.extensions",
        ),
    ),
    *guards(
        "pkiconf/issuance/pipeline.py",
        ("tests/issuance", "tests/reconciler/test_apply.py"),
        (
            "a key is judged before it is certified",
            "        check_public_key(order.wanted.spki, order.wanted.key)\n",
            "",
        ),
        (
            "what is about to be signed is linted",
            "        check_lints(encoded, context.lints)\n",
            "",
        ),
        ("a retired template issues nothing", 'if context.stamp.template_lifecycle != "active":'),
        ("an authority out of service issues nothing", 'if stamp.authority_lifecycle == "retired":'),
        (
            "what is reserved was evaluated under the declaration that stands",
            "            if stamp != context.stamp:",
        ),
        (
            "a key that was reported is refused while it is being certified",
            "            check_not_compromised(order.wanted.spki, compromised)\n",
            "",
        ),
        (
            "nothing is signed before it is reserved",
            "            self._parts.db.write(Step.CERTIFICATE_RESERVE, self._reservation(draft))",
            "            draft.signer.sign(self.intents._signing_order(draft.intent))\n"
            "            self._parts.db.write(Step.CERTIFICATE_RESERVE, self._reservation(draft))",
        ),
    ),
    *guards(
        "pkiconf/issuance/intents.py",
        ("tests/issuance",),
        (
            "a signature is verified before it is released",
            "        verify_signature(issuer_spki, intent.algorithm, intent.tbs, signature)\n",
            "",
        ),
        (
            "an intent is resumed by one process at a time",
            "        if not self._parts.db.write(Step.CERTIFICATE_RESERVE, take):",
            "        if not (self._parts.db.write(Step.CERTIFICATE_RESERVE, take) or True):",
        ),
    ),
    *guards(
        "pkiconf/store/certificates.py",
        ("tests/store/test_certificates.py",),
        (
            "one origin gets one certificate",
            "    if _RESERVE.count(c, values) == 0:",
            "    if _RESERVE.count(c, values) < 0:",
        ),
        (
            "only a reserved certificate is completed",
            "status = 'good'\"\n        \" WHERE issuer_id = :issuer_id AND serial = :serial AND status = 'reserved'\"",
            'status = \'good\'"\n        " WHERE issuer_id = :issuer_id AND serial = :serial"',
        ),
        (
            "a revocation raises the status epoch",
            "SET status_epoch = status_epoch + 1",
            "SET status_epoch = status_epoch + 0",
        ),
        (
            "a status follows only one that it may",
            "    if row.status not in allowed or _SET_STATUS.count(c, values) == 0:",
            "    if _SET_STATUS.count(c, values) == 0:",
        ),
        (
            "an intent under lease is left alone",
            '        certificate.c.lease_until <= bindparam("before"),',
            '        certificate.c.lease_until > -bindparam("before"),',
        ),
    ),
    *guards(
        "pkiconf/store/crls.py",
        ("tests/store/test_records.py", "tests/store/test_certificates.py"),
        ("a CRL number comes once", "SET crl_number = crl_number + 1", "SET crl_number = crl_number + 0"),
        ("CRL numbers do not go back", "current.number >= row.number or ", ""),
        ("a CRL does not cover less than the one before", " or current.covers_epoch > row.covers_epoch", ""),
        ("an imported CRL number is never lowered", " WHERE id = :id AND crl_number < :number", " WHERE id = :id"),
    ),
    *guards(
        "pkiconf/store/jobs.py",
        ("tests/store/test_jobs.py",),
        ("a job has one worker", ", or_(job.c.claimed_until.is_(None), job.c.claimed_until <= now))", ")"),
        ("a job that was queued again is not lost", ', job.c.revision == bindparam("done"))', ")"),
    ),
    *guards(
        "pkiconf/store/leases.py",
        ("tests/store/test_leases.py",),
        (
            "a lease that was taken over is lost",
            "    if found is None or found.fencing != fencing:",
            "    if found is None:",
        ),
        ("a lease has one holder", " WHERE lease.until_at <= :now RETURNING fencing", " RETURNING fencing"),
    ),
    *guards(
        "pkiconf/store/audit.py",
        ("tests/store/test_audit.py", "tests/store/test_audit_verify.py"),
        (
            "an audit record is authenticated",
            'hmac.compare_digest(expected, event.mac) and event.fields.get("at") == event.at',
            'event.fields.get("at") == event.at',
        ),
        ("an audit record's time is authenticated", ' and event.fields.get("at") == event.at', ""),
    ),
    *guards(
        "pkiconf/store/sealer.py",
        ("tests/store/test_audit.py", "tests/store/test_audit_verify.py"),
        (
            "the sealer signs no other past than it signed",
            "if last is not None and frontier.size == last.size and frontier.root() != last.root_hash:",
        ),
        (
            "the sealer sees records that are missing",
            "if event is None or first_index_after_restore(event, audit) != index:",
        ),
    ),
    *guards(
        "pkiconf/store/audit_verify.py",
        ("tests/store/test_audit.py", "tests/store/test_audit_verify.py"),
        (
            "the tree's root is what was signed",
            "        if point.size == frontier.size and point.root_hash == frontier.root():",
            "        if True:",
        ),
        (
            "a checkpoint's signature is checked",
            "                self.check_signature(point.message, point.signature)",
            "                pass",
        ),
        ("records that were cut off are missed", "if signed and signed[-1][0].size > size:"),
        (
            "certificates and records are compared",
            "        for text in history.compare(self.c):",
            "        for text in ():",
        ),
        (
            "a record in another's place is found",
            "if leaf_hash(leaf_content(event)) != hash and self.audit.is_genuine(event):",
        ),
    ),
    *guards(
        "pkiconf/store/restore.py",
        ("tests/store/test_backup.py",),
        ("a backup is authenticated", "if not hmac.compare_digest(expected, archive.mac):"),
        ("a restored issuer's CRL numbers go on behind a gap", '"number": past(crl_number)', '"number": crl_number'),
        ("a restored issuer's epochs go on behind a gap", '"epoch": past(epoch)', '"epoch": epoch'),
        (
            "nothing is restored over what is there",
            "    check_empty(target)  # again: others may have been here since\n",
            "",
        ),
        ("no log is restored beside another's checkpoints", "if (state / checkpoints.FILE_NAME).exists():"),
    ),
    *guards(
        "pkiconf/store/archive.py",
        ("tests/store/test_backup.py",),
        ("a backup's database has the manifest's digest", "if digest.hexdigest() != self.manifest.sha256:"),
        (
            "a backup replaces no file",
            "        os.link(temporary, target)  # unlike a rename, it never replaces",
            "        os.replace(temporary, target)",
        ),
    ),
    *guards(
        "pkiconf/store/group.py",
        ("tests/store/test_group.py",),
        (
            "a refused write leaves nothing in memory",
            "error, entry.error = entry.error, None",
            "error = entry.error",
        ),
    ),
    *guards(
        "pkiconf/store/failures.py",
        ("tests/store/test_database.py",),
        ("what SQLAlchemy raises leaves nothing in memory", "clear_frames(error.__traceback__)", "pass"),
    ),
    *guards(
        "pkiconf/store/sqlite.py",
        ("tests/store/test_sqlite.py", "tests/store/test_database.py"),
        ("SQLite commits are durable", '"PRAGMA synchronous = FULL"', '"PRAGMA synchronous = NORMAL"'),
        ("SQLite keeps references", '"PRAGMA foreign_keys = ON"', '"PRAGMA foreign_keys = OFF"'),
    ),
    *guards(
        "pkiconf/store/slugs.py",
        ("tests/store/test_records.py",),
        (
            "a destroyed name is never used again",
            'if any(row.destroyed_at is not None for row in _OF_ADDRESS.all(c, {"address": address})):',
        ),
    ),
    *guards(
        "pkiconf/signing/keyring.py",
        ("tests/signing/test_keyring.py",),
        (
            "a sealed key opens only as itself",
            '    return f"pkiconf sealed 1\\n{wrapping_key_id}\\n{identity}".encode()',
            '    return f"pkiconf sealed 1\\n{wrapping_key_id}".encode()',
        ),
        ("a key is the one its row describes", "!= spki_sha256 or signer.key_algorithm.name != algorithm:", "== b'':"),
    ),
    *guards(
        "pkiconf/signing/private_file.py",
        ("tests/signing/test_master.py", "tests/authority/test_rekey.py"),
        ("a master key file is for its owner alone", "if facts.st_mode & 0o077:"),
        ("a master key file is ours", "if facts.st_uid not in (os.geteuid(), 0):"),
        (
            "a master key file is never overwritten",
            "    os.link(temporary, path)  # unlike a rename, it never replaces",
            "    os.replace(temporary, path)",
        ),
        (
            "a master key file is replaced by one process at a time",
            "            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)",
            "            pass",
        ),
    ),
    *guards(
        "pkiconf/signing/master.py",
        ("tests/signing/test_master.py",),
        ("a master key has 32 octets", "if len(value) != KEY_SIZE:"),
    ),
    *guards(
        "pkiconf/authority/rekey.py",
        ("tests/authority/test_rekey.py",),
        ("a retired master key never comes back", "if db.read(lambda c: wrapping.is_retired(c, master.current_id)):"),
    ),
    *guards(
        "pkiconf/bootstrap.py",
        ("tests/crash/test_surroundings.py",),
        (
            "another master key opens nothing",
            "    if missing := sorted(sealed_under - set(master.ids)):",
            "    if (missing := sorted(sealed_under - set(master.ids))) and False:",
        ),
        (
            "a lost master key is not replaced",
            "    if create and not sealed_under and isinstance(source, FileSource)",
            "    if create and isinstance(source, FileSource)",
        ),
    ),
    *guards(
        "pkiconf/reconciler/apply.py",
        ("tests/reconciler/test_apply.py",),
        ("what is grave needs consent", "if missing and not leave_grave:"),
        ("a plan whose world has moved is refused", "        _check_current(services, plan)\n", ""),
        ("files that were planned with are the ones that are applied", "if unread:"),
        ("a change that has failed stops what needs it", "if needed in self._stopped:"),
    ),
    *guards(
        "pkiconf/authority/chains.py",
        ("tests/authority/test_external.py", "tests/authority/test_import.py"),
        ("an authority's certificate is for its key", "if own.spki != spki:"),
        ("an authority's certificate has its subject", "if wished != got:"),
        ("an authority's certificate is valid now", "if not certificate.not_before <= now <= certificate.not_after:"),
        (
            "an authority's certificate says CA:TRUE",
            "if extension is None or not parse_basic_constraints(extension.value).ca:",
        ),
        ("an authority may sign certificates", "KeyUsage.KEY_CERT_SIGN not in parse_key_usage(usage.value):", "False:"),
        ("an authority's chain leaves room for it", "if room == 0:"),
        (
            "an authority's path length is what was declared",
            "if room is not None and (wished is None or room < wished):",
        ),
        ("every signature of a chain is checked", "        check_issued_by(lower, upper)\n", "        pass\n"),
    ),
    *guards(
        "pkiconf/authority/imported.py",
        ("tests/authority/test_external.py", "tests/authority/test_import.py"),
        (
            "an imported CRL is the authority's own",
            "    verify_signature(own.spki, crl.algorithm, crl.tbs, crl.signature)\n",
            "",
        ),
        ("CRL numbers go on after those of an import", "if wished is not None and wished <= number:"),
        ("an import came from the authority it names", 'if (spec.issuer == "self") == bool(chain.above):'),
    ),
    *guards(
        "pkiconf/authority/destroy.py",
        ("tests/authority",),
        ("only a retired authority is destroyed", 'if row.lifecycle != "retired":'),
        (
            "an archive replaces no file",
            "        os.link(temporary, target)  # unlike a rename, it never replaces",
            "        os.replace(temporary, target)",
        ),
    ),
    *guards(
        "pkiconf/authority/templates.py",
        ("tests/reconciler/test_apply.py", "tests/issuance", "tests/authority"),
        ("a template with live certificates is not retired", "if active:"),
    ),
    *guards(
        "pkiconf/reconciler/lease.py",
        ("tests/reconciler/test_apply.py",),
        ("a change needs the lease", "        leases.check_fencing(c, NAME, self._fencing)", "        pass"),
        (
            "an apply that is alive keeps its lease",
            "    except OSError:\n        return False\n    return False",
            "    except OSError:\n        return False\n    return True",
        ),
    ),
    *guards(
        "pkiconf/revocation/ocsp.py",
        ("tests/revocation", "tests/concurrency/test_revocation.py"),
        (
            "an unknown serial is unknown",
            "    if status is None:\n        return Unknown()",
            "    if status is None:\n        return Good()",
        ),
        ("a revoked certificate is revoked", "    if status in _GOOD:", "    if True:"),
        (
            "an answer with a nonce is given once",
            "            if parsed.nonce is not None:  # nobody",
            "            if False:  # nobody",
        ),
        (
            "one answer is about one issuer",
            "        return found if same_issuer and len(found) == len(cert_ids) else None",
            "        return found",
        ),
        (
            "no answer outlives its signer",
            "min(validity.after(now), responder.not_after)",
            "validity.after(now)",
        ),
    ),
    *guards(
        "pkiconf/revocation/ocsp.py",
        ("tests/revocation/test_ocsp.py",),
        (
            "an answer's signature is verified before it is given",
            "    verify_signature(responder.spki, responder.algorithm, data, signature)\n",
            "",
        ),
    ),
    *guards(
        "pkiconf/authority/service_certificates.py",
        ("tests/revocation", "tests/concurrency/test_revocation.py", "tests/authority"),
        (
            "a revoked responder signs no more",
            "            if status is not None and status.status == CertificateStatus.GOOD:",
            "            if status is not None:",
        ),
        (
            "a responder is looked at again after a revocation",
            "known.stamp == stamp and ",
            "known.stamp.generation == stamp.generation and ",
        ),
        (
            "a responder is looked at again after a declaration",
            "known.stamp == stamp and ",
            "known.stamp.status_epoch == stamp.status_epoch and ",
        ),
    ),
    *guards(
        "pkiconf/endpoints/client_address.py",
        ("tests/endpoints",),
        (
            "only trusted proxies say who the client is",
            "            before = parse_address(hop) if self._is_trusted(client) else None",
            "            before = parse_address(hop)",
        ),
    ),
    *guards(
        "pkiconf/cli/plain_http.py",
        ("tests/cli/test_plain_http.py",),
        (
            "a request line has an end",
            "    if first < 0 and len(octets) >= begin + LONGEST_LINE + 2:",
        ),
        (
            "a field that stands twice is not read here",
            "        if key is None or key in environ:",
            "        if key is None:",
        ),
        (
            "chunks and expectations are not read here",
            '    if upper in ("TRANSFER_ENCODING", "EXPECT"):',
            "    if False:",
        ),
        (
            "a body has a length that is a number",
            "    if not text.isascii() or not text.isdigit() or len(text) > 6 or int(text) > LARGEST_BODY:",
        ),
        (
            "a header of an answer is one line",
            ' or text.count("\\n") != len(lines) + 1:',
            ":",
        ),
    ),
    *guards(
        "pkiconf/endpoints/middleware.py",
        ("tests/endpoints",),
        ("a body is not larger than it may be", "if (req.content_length or 0) > self._largest:"),
    ),
    *guards(
        "pkiconf/spec/loader.py",
        ("tests/spec",),
        ("a YAML key stands once", "            elif key.text in node.entries:", "            elif False:"),
    ),
    *guards(
        "pkiconf/spec/misfits.py",
        ("tests/spec",),
        ("an unknown YAML key is refused", 'extra="forbid"', 'extra="ignore"'),
    ),
    *guards(
        "pkiconf/spec/vault.py",
        ("tests/spec",),
        (
            "vault text is authenticated",
            'if not hmac.compare_digest(hmac.digest(keys[32:64], ciphertext, "sha256"), mac):',
        ),
    ),
    *guards(
        "pkiconf/authority/establish.py",
        ("tests/test_worker.py",),
        (
            "a waiting authority keeps its wish",
            '        if row.lifecycle in ("waiting_certificate", "retired"):\n            return False',
            '        if row.lifecycle in ("waiting_certificate", "retired"):\n            return True',
        ),
    ),
    *ACME,
    *ENROLMENT,
    *SCEP,
    *SCEP_ANSWERS,
    *SCEP_WIRE,
    *SERVING,
    *STATUS,
    *STATUS_LISTS,
    *INTUNE,
    *TIMESTAMPS,
    *TRANSPARENCY,
)
