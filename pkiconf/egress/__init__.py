"""Every outward network call: time-outs, size limits and what may not be called live here.

Whoever calls takes the function as an argument, so that a test hands in one that answers from memory.
"""
