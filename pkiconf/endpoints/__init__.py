"""Protocols spoken to the outside. Each resource is a thin adapter: bytes in, a service called, bytes out."""
