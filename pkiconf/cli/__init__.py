"""The command line: each command parses, calls one function, prints, and chooses the exit status.

Modules are imported when their command runs, so that `pkiconf --help` stays quick.
"""
