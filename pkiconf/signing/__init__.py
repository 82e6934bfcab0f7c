"""Private keys: made, sealed at rest, opened, and made to sign.

Signing knows bytes and algorithms, never what a certificate is, and never the database: a sealed key comes in as
the columns of its row and leaves as a `Signer`. What is signed was decided above; whether the signature holds is
checked by the caller with `pkiconf.der`.
"""
