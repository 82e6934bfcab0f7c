"""The reference, made from the program. `python -m docs.reference` writes the pages in this folder.

What a program describes cannot be wrong for long: a test fails when the pages differ from what `pages` makes.
"""
