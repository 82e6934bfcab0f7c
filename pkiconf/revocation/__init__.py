"""Revoking, and saying so: CRLs and OCSP answers.

A revocation raises `issuer.status_epoch` in its own transaction. Whatever is cached under an epoch is used only
while the row still says that epoch, so an answer given after the commit is true in every process.
"""
