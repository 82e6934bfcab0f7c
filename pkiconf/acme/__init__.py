"""ACME (RFC 8555) without HTTP: accounts, orders, authorizations, validation, renewal information.

What a client sends arrives here as values, already authenticated; what it is told leaves as values. `endpoints/acme`
speaks JWS and JSON, `egress` asks the network, the pipeline issues.
"""
