"""Bytes ⇄ values, one module for each structure.

`parse_…(bytes)` gives a value or raises Malformed or UnsupportedAlgorithm; `encode_…(value)` gives DER;
`assemble_…(tbs, algorithm, signature)` puts the three parts of a signed structure together. Nothing here
decides what may be issued, and nothing reads a file, a clock or a random number.
"""
