"""Timestamps: RFC 3161 tokens, and the countersignatures that came before them. Nothing of HTTP is known here.

A request becomes a token in four steps: who signs and what the tokens have in common (`forms`), whether the clock can
be believed (`clock_watch`), the record (`ledger`), the signature (`service`).
"""
