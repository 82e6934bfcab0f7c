"""Messages taken out of their envelopes, and answers put into theirs (RFC 8894 §3)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pkiconf.der import oids
from pkiconf.der.certificate_head import CertificateHead
from pkiconf.der.cms import digest_of, find_signer, verify_rsa, verify_signer
from pkiconf.der.enveloped_data import (
    LONGEST_KEY,
    EnvelopedData,
    encode_enveloped_data,
    open_envelope,
    parse_enveloped_data,
)
from pkiconf.der.enveloped_data import Recipient as NamedRecipient
from pkiconf.der.scep import PKIMessage, cert_rep_attributes
from pkiconf.der.signed_data import (
    SHA1,
    SHA256,
    SHA384,
    SHA512,
    DigestAlgorithm,
    SignerIdentity,
    assemble_signed_data,
    content_type,
    encode_attribute,
    encode_certificates,
    encode_cms_algorithm,
    encode_crls,
    encode_signed_attributes,
    encode_signer_info,
    message_digest,
)
from pkiconf.entropy import Entropy
from pkiconf.errors import Malformed, UnsupportedAlgorithm, Unverified
from pkiconf.model.cms import DES3_CBC, DES_CBC, ContentCipher, Digest
from pkiconf.model.keys import SIGNATURE_ALGORITHMS
from pkiconf.model.scep import FailInfo, MessageType, PKIStatus, SCEPFailure
from pkiconf.scep.places import Place
from pkiconf.scep.recipients import Recipient

NONCE_SIZE: Final = 16  # RFC 8894 §3.2.1.5

_DIGESTS: Final[dict[Digest, DigestAlgorithm]] = {
    Digest.SHA1: SHA1,
    Digest.SHA256: SHA256,
    Digest.SHA384: SHA384,
    Digest.SHA512: SHA512,
}
_RSA: Final = encode_cms_algorithm(SIGNATURE_ALGORITHMS["sha256WithRSAEncryption"])
_GET_CA_CERT: Final = "Fetch the authority's certificates again with GetCACert, and encrypt to the first RSA one"


@dataclass(frozen=True, slots=True)
class Opened:
    """A message whose signature holds. `content` is what the envelope held; whether it can be read is not known. It is
    empty for a CertPoll, whose envelope stays closed."""

    message: PKIMessage
    signer: CertificateHead
    digest: Digest
    cipher: ContentCipher
    recipient: Recipient
    content: bytes


def open_message(place: Place, message: PKIMessage, entropy: Entropy, now: datetime) -> Opened:
    """Verify, then decrypt, all but a CertPoll: what it holds decides nothing.

    Raises SCEPFailure: badAlg for what is not accepted here, badMessageCheck for all else."""
    digest = _accepted_digest(place, message)
    signer = _verified_signer(message)
    enveloped = _accepted_envelope(place, message)
    recipient, named = _choose(place, enveloped, now)
    if message.message_type == MessageType.CERT_POLL:
        return Opened(message, signer, digest, enveloped.cipher, recipient, b"")
    content = open_envelope(
        enveloped,
        lambda: recipient.key.unwrap(named.transport, named.encrypted_key),
        entropy.token(LONGEST_KEY),
    )
    return Opened(message, signer, digest, enveloped.cipher, recipient, content)


def _accepted_digest(place: Place, message: PKIMessage) -> Digest:
    try:
        digest = digest_of(message.signer)
    except UnsupportedAlgorithm as ex:
        raise SCEPFailure(FailInfo.BAD_ALG, ex.detail, ex.hint) from None
    if digest not in _DIGESTS or (digest is Digest.SHA1 and not place.spec.legacy):
        raise SCEPFailure(FailInfo.BAD_ALG, f"digest algorithm {digest} is not accepted", "Use SHA-256 or better")
    return digest


def _verified_signer(message: PKIMessage) -> CertificateHead:
    try:
        signer = find_signer(message.signer, message.signed.certificates)
        verify_signer(message.signer, message.content, signer.spki)
    except UnsupportedAlgorithm as ex:
        raise SCEPFailure(FailInfo.BAD_ALG, ex.detail, ex.hint) from None
    except (Malformed, Unverified) as ex:
        raise SCEPFailure(FailInfo.BAD_MESSAGE_CHECK, ex.detail, ex.hint) from None
    return signer


def _accepted_envelope(place: Place, message: PKIMessage) -> EnvelopedData:
    try:
        enveloped = parse_enveloped_data(message.content)
    except UnsupportedAlgorithm as ex:
        raise SCEPFailure(FailInfo.BAD_ALG, ex.detail, ex.hint) from None
    except Malformed as ex:
        raise SCEPFailure(FailInfo.BAD_MESSAGE_CHECK, ex.detail, ex.hint) from None
    cipher = enveloped.cipher
    if (cipher is DES3_CBC and not place.spec.legacy) or (cipher is DES_CBC and not place.spec.single_des):
        raise SCEPFailure(FailInfo.BAD_ALG, f"content encryption by {cipher.name} is not accepted", "Use AES")
    return enveloped


def _choose(place: Place, enveloped: EnvelopedData, now: datetime) -> tuple[Recipient, NamedRecipient]:
    """The recipient that is ours. Some clients spell an issuer in other kinds of strings than its certificate does, so
    a serial number of our own is enough: with another's key nothing would come out."""
    ours = place.now_open(now)
    for exact in (True, False):
        for named in enveloped.recipients:
            for one in ours:
                if one.head.is_meant_by(named.certificate) or (not exact and one.head.has_serial(named.certificate)):
                    return one, named
    raise SCEPFailure(
        FailInfo.BAD_MESSAGE_CHECK, "the message is not encrypted to a certificate of this authority", _GET_CA_CERT
    )


def encode_answer(
    recipient: Recipient,
    message: PKIMessage,
    digest: Digest,
    status: PKIStatus,
    entropy: Entropy,
    *,
    content: bytes | None = None,
    failure: tuple[FailInfo, str] | None = None,
) -> bytes:
    """A CertRep, signed (§3.3.2). A failure and a pending one have no content at all. Raises SigningUnavailable."""
    named = _DIGESTS[digest]
    attributes = [
        encode_attribute(oid, value)
        for oid, value in cert_rep_attributes(message, status, entropy.token(NONCE_SIZE), failure)
    ]
    attributes += (content_type(oids.PKCS7_DATA), message_digest(named.digest(content or b"")))
    signed = encode_signed_attributes(attributes)
    signature = recipient.key.sign_rsa(signed, digest)
    verify_rsa(recipient.head.spki, digest, signed, signature)
    identity = SignerIdentity(recipient.head.issuer_and_serial.encode(), named, _RSA)
    info = encode_signer_info(identity, signed, signature)
    certificates = encode_certificates((recipient.head.der,))
    return assemble_signed_data(oids.PKCS7_DATA, content, ((identity, info),), certificates)


def seal_answer(
    opened: Opened, entropy: Entropy, certificates: tuple[bytes, ...] = (), crls: tuple[bytes, ...] = ()
) -> bytes:
    """The content of a successful answer: for the requester's key, by the requester's cipher (§3.3.2.1, §3.4). Nothing
    is sent in single DES: who asked in it reads 3DES too."""
    bag = assemble_signed_data(oids.PKCS7_DATA, None, (), encode_certificates(certificates), encode_crls(crls))
    cipher = DES3_CBC if opened.cipher is DES_CBC else opened.cipher
    key, iv = entropy.token(cipher.key_size), entropy.token(cipher.block_size)
    return encode_enveloped_data(bag, opened.signer, cipher, key, iv)
