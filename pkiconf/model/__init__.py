"""Frozen facts in PKI words: standard library only, no behaviour beyond what a value knows of itself."""
