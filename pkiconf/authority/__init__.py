"""The life of the authorities we run, of their keys, their templates and their service certificates."""
