"""A PKI that lives in Git: declared in YAML, converged by a reconciler, served to real clients."""

__version__ = "0.1.0"
