"""The guards of ACME; `guards` says what a guard is."""

from __future__ import annotations

from tests.mutants.guard import Guard, guards

ACME: tuple[Guard, ...] = (
    *guards(
        "pkiconf/endpoints/acme/envelope.py",
        ("tests/endpoints/acme",),
        ("a JWS signs with what is allowed, not none and not a MAC", "    if algorithm not in algorithms:"),
        ("a JWS has the three members of the flattened form alone", "    if found.keys() == _MEMBERS:", "    if True:"),
        (
            "an external account binding is for the URL it is sent to",
            '    if inner.text("url") != url:\n        raise _unauth',
            "    if False:\n        raise _unauth",
        ),
        (
            "an external account binding is authenticated",
            "        if not check_mac(self.inner.algorithm, key, self.inner.signing_input, self.inner.signature):",
        ),
        (
            "an external account binding is over the account's key",
            "        if bound.account_key.thumbprint != account_key.thumbprint:",
        ),
        ("the new key signs a key change", "    inner.check(key)\n", ""),
    ),
    *guards(
        "pkiconf/endpoints/acme/jws.py",
        ("tests/endpoints/acme",),
        ("a JWK holds no private members", "    if private and not ignore_private:"),
        ("an algorithm fits the key", "        if algorithm not in self.fits:"),
    ),
    *guards(
        "pkiconf/endpoints/acme/door.py",
        ("tests/endpoints/acme",),
        ("a request names one of jwk and kid", '        if ("jwk" in jws.header) == ("kid" in jws.header):'),
        (
            "what was signed is where it was sent",
            "        if claimed != urls.of(path):\n            raise ACMEProblem(",
            "        if False:\n            raise ACMEProblem(",
        ),
        ("an account's request is signed by its key", "        jws.check(kept_key(account.jwk))\n", ""),
        ("a key's request is signed by it", "        asked.jws.check(key)\n", ""),
        ("an account that has ended asks for nothing", "        check_valid(account)\n", ""),
        ("a request comes as application/jose+json", "        _check_media_type(req)\n", ""),
    ),
    *guards(
        "pkiconf/model/acme_urls.py",
        ("tests/endpoints/acme",),
        (
            "a kid is exactly an account's URL",
            "        return name if url.startswith(before) and is_name(name) else None",
            "        return name.partition('/')[0] if url.startswith(before) else None",
        ),
    ),
    *guards(
        "pkiconf/acme/waiting.py",
        ("tests/acme/test_waiting.py",),
        (
            "few threads wait at once",
            "            line = self._free.pop()",
            "            line = self._free[-1]",
        ),
    ),
    *guards(
        "pkiconf/acme/authorizations.py",
        ("tests/acme/test_waiting.py",),
        ("what has failed once is not waited for", " and row.attempts == 0", ""),
    ),
    *guards(
        "pkiconf/acme/nonces.py",
        ("tests/acme/test_nonces.py", "tests/endpoints/acme"),
        ("a nonce was made here", "        if not hmac.compare_digest(mac, self._mac(body)):"),
        ("a nonce expires", '        if int.from_bytes(body[4:8], "big") <= to_epoch(self._parts.now()):'),
        ("a nonce is redeemed once", "        if not self._ledger.redeem(nonce[:4], nonce[4:]):"),
    ),
    *guards(
        "pkiconf/store/redemptions.py",
        ("tests/store/test_nonces.py",),
        (
            "another run of the machine is another epoch",
            "            written_here = boot == self._name and int(inode)",
            "            written_here = int(inode)",
        ),
        (
            "an epoch that is over redeems nothing",
            "                if epoch != self._current() and epoch != self._reopened():",
        ),
        (
            "who opens the nonces waits for whoever is at them",
            "_patiently(lambda: _is_sound(driver))",
            "_is_sound(driver)",
        ),
        ("what was forgotten is refused", " WHERE ?1 >= (SELECT value FROM floor)", " WHERE 1"),
    ),
    *guards(
        "pkiconf/store/nonces.py",
        ("tests/store/test_nonces.py",),
        ("a crash of the server ends the epoch", " AND epoch = :epoch AND floor", " AND :epoch IS NOT NULL AND floor"),
    ),
    *guards(
        "pkiconf/endpoints/acme/strict.py",
        ("tests/endpoints/acme/test_strict.py", "tests/endpoints/acme/test_jws.py"),
        ("no member of a JSON object occurs twice", "    if len(made) != len(pairs):"),
        ("octets have one spelling in base64url", "    if encode_base64url(octets).encode() != given:"),
    ),
    *guards(
        "pkiconf/endpoints/acme/accounts.py",
        ("tests/endpoints/acme/test_accounts_http.py",),
        ("an account's URL is its own", "    if not is_name(name) or name != asked.account.name:"),
        (
            "a key change names the account's key",
            "        if change.old_key.account_key.thumbprint != asked.account.thumbprint:",
        ),
        (
            "a weak key makes no account",
            "        if known is None:\n            check_account_key(self._services.parts, key)\n",
            "        if known is None:\n            pass\n",
        ),
    ),
    *guards(
        "pkiconf/acme/order_view.py",
        ("tests/acme", "tests/endpoints/acme"),
        ("an order is its account's alone", "    if row.account_id != account.id:"),
        (
            "an order expires",
            "    if status in (OrderStatus.PENDING, OrderStatus.READY) and row.expires_at <= now:",
        ),
    ),
    *guards(
        "pkiconf/acme/authorizations.py",
        ("tests/acme", "tests/endpoints/acme"),
        ("an authorization is its account's alone", "        if row.account_id != account.id:"),
        ("a challenge was offered", '        if challenge.value not in row.offered.split(","):'),
    ),
    *guards(
        "pkiconf/acme/accounts.py",
        ("tests/acme", "tests/endpoints/acme"),
        (
            "a key whose account belongs to another policy is told so",
            "    if wish.binding is not None and wish.binding.policy_id != account.policy_id:",
        ),
    ),
    *guards(
        "pkiconf/acme/registration.py",
        ("tests/acme", "tests/endpoints/acme"),
        (
            "a binding admits as many accounts as it says",
            "    if not acme_policies.take_use(c, binding_id, spec.max_accounts):",
        ),
        (
            "a policy that asks for bindings gets one",
            "    if found is None or ACMEPolicySpec.model_validate(json.loads(found.spec)).external_account_required:",
            "    if found is None:",
        ),
        ("a retired policy admits nobody", '    if row.lifecycle != "active":'),
    ),
    *guards(
        "pkiconf/acme/bindings.py",
        ("tests/acme", "tests/endpoints/acme"),
        ("a binding expires", "        if has_expired(BindingSpec.model_validate_json(row.spec), now):"),
    ),
    *guards(
        "pkiconf/acme/finalize.py",
        ("tests/acme", "tests/endpoints/acme"),
        ("a CSR fits its order", "    check_csr(identifiers, request, account.jwk)\n", ""),
        (
            "what was foreseen is compared with what stands",
            "        if terms != attempt.terms or not issuing.is_as(attempt.issuing):",
        ),
        ("every identifier is proved when it is issued", "    if missing:"),
        (
            "an order gives one certificate, to one key",
            "        if row.spki_sha256 != hashlib.sha256(request.spki).digest():",
        ),
        (
            "proofs still hold when the certificate is reserved",
            "        _check_proofs(c, terms, row, attempt.identifiers, now)\n        count_certificate(",
            "        count_certificate(",
        ),
    ),
    *guards(
        "pkiconf/policy/acme/csr.py",
        ("tests/policy/acme", "tests/acme"),
        ("a CSR smuggles no name past the order", "    if beyond := asked - ordered:", "    if beyond := set():"),
        ("a CSR's key is not the account's", "    if is_key_of(account_jwk, request):"),
        (
            "a CSR smuggles no mailbox in its subject",
            '        if attribute.oid == EMAIL_ADDRESS or (attribute.oid != COMMON_NAME and "@" in attribute.value):',
        ),
    ),
    *guards(
        "pkiconf/policy/acme/terms.py",
        ("tests/policy/acme", "tests/acme"),
        (
            "a wildcard is proved by dns-01 alone",
            "        fitting = tuple(kind for kind in allowed if kind is ChallengeType.DNS_01)",
            "        fitting = tuple(allowed)",
        ),
        (
            "an address is not proved by dns-01",
            "        fitting = tuple(kind for kind in allowed if kind is not ChallengeType.DNS_01)",
            "        fitting = tuple(allowed)",
        ),
        (
            "a binding narrows names",
            "        if terms.domains is not None and not terms.domains.covers(identifier):",
        ),
    ),
    *guards(
        "pkiconf/policy/acme/patterns.py",
        ("tests/policy/acme",),
        (
            "an exact pattern covers no wildcard",
            "        if not identifier.is_wildcard and name in self.exact:",
            "        if name in self.exact:",
        ),
    ),
    *guards(
        "pkiconf/acme/revocations.py",
        ("tests/acme", "tests/endpoints/acme"),
        ("an account revokes what it ordered or could order", "            if not own:"),
        (
            "an account revokes of the templates it may order",
            "                _check_template(c, terms, found.row)\n",
            "",
        ),
        ("a pre-approved name revokes nothing of others", "any(row.offered and is_good", "any(is_good"),
        (
            "an account bars no key",
            "            self._revocations.revoke(row.id, reason, actor, bars_key=by_key)",
            "            self._revocations.revoke(row.id, reason, actor)",
        ),
        ("a key revokes its own certificate", "        if parsed.spki != spki:"),
        (
            "nobody revokes an authority over ACME",
            "    if row.origin_kind in REVOCABLE and not is_authority:",
            "    if True:",
        ),
    ),
    *guards(
        "pkiconf/acme/context.py",
        ("tests/acme/test_finalize.py", "tests/acme/test_revocations.py"),
        ("what was proved by a withdrawn challenge does not count", "    if row.accepted not in terms.challenges:"),
        (
            "what was proved outside today's binding does not count",
            "    if terms.domains is not None and not terms.domains.covers(identifier_of(row)):",
        ),
    ),
    *guards(
        "pkiconf/acme/settle.py",
        ("tests/acme",),
        (
            "a failed validation ends the orders that wait for it",
            '    if acme_authorizations.settle(c, authorization_id, "invalid", validated_at=None, error=text):\n'
            "        end_orders_of(c, authorization_id, told)",
            '    acme_authorizations.settle(c, authorization_id, "invalid", validated_at=None, error=text)',
        ),
    ),
    *guards(
        "pkiconf/store/acme_orders.py",
        ("tests/acme",),
        (
            "an order is ready when all is proved",
            " WHERE l.order_id = acme_order.id AND a.status <> 'valid')",
            " WHERE l.order_id = acme_order.id AND a.status = 'invalid')",
        ),
        (
            "an order is reserved once",
            "status = 'ready' AND expires_at > :now AND EXISTS",
            "expires_at > :now AND EXISTS",
        ),
    ),
    *guards(
        "pkiconf/policy/targets.py",
        ("tests/policy/test_targets.py", "tests/egress"),
        ("forbidden networks are not connected to", "            if any(look in network for look in looks):"),
        (
            "this machine and its cloud are not connected to",
            "    for look in (address, *inner):",
            "    for look in ():",
        ),
        (
            "an address that hides another is judged by that one",
            "        looks = (address, *embedded_in(address))",
            "        looks = (address,)",
        ),
    ),
    *guards(
        "pkiconf/egress/http_challenge.py",
        ("tests/egress",),
        ("a redirect leads to ports 80 and 443", "    if goal not in (*_PORTS.values(), port):"),
        ("redirects end", "        if place in seen:"),
        (
            "what stands behind a redirect is not told",
            "shown(answer.body) if len(seen) == 1 else",
            "shown(answer.body) or",
        ),
    ),
    *guards(
        "pkiconf/egress/tls_alpn.py",
        ("tests/egress",),
        ("the challenge's protocol was chosen", "    if chosen != PROTOCOL:"),
        ("the challenge's certificate names one host", "    if len(names) != 1:"),
        ("the acmeIdentifier extension is critical", "    if not extension.critical:"),
        ("the acmeIdentifier extension holds the digest", "    if not compare_digest(value, digest):"),
    ),
    *guards(
        "pkiconf/egress/dns_challenge.py",
        ("tests/egress",),
        ("the TXT record is the digest", "    if digest in found:", "    if found:"),
    ),
    *guards(
        "pkiconf/policy/caa.py",
        ("tests/policy/test_caa.py", "tests/egress", "tests/acme/test_validation.py"),
        ("an unknown critical CAA property forbids", "        if record.is_critical and record.tag not in _KNOWN:"),
        (
            "a CAA record names us",
            '    if issuer not in {identity.lower().rstrip(".") for identity in wish.identities}:',
        ),
        ("a CAA account is compared exactly", "    if accounts and accounts[0] != wish.account:"),
    ),
    *guards(
        "pkiconf/acme/validation_pool.py",
        ("tests/acme/test_validation_pool.py",),
        (
            "one account does not take all places",
            "(taken if counts[task.job.payload] <= self._share else left)",
            "taken",
        ),
    ),
    *guards(
        "pkiconf/acme/validation.py",
        ("tests/acme/test_validation.py", "tests/acme/test_validation_pool.py"),
        (
            "CAA is asked where the policy says so",
            "        if problem is None and self._asks_caa(row):\n            problem = self._caa",
            "        if False:\n            problem = self._caa",
        ),
        (
            "what an ended account was asked to prove is not proved",
            "            and row.account_status == AccountStatus.VALID\n",
            "",
        ),
    ),
)
