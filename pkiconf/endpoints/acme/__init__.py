"""ACME over HTTP (RFC 8555): JWS and JSON in, a service called, JSON and headers out."""
