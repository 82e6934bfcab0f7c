"""May we, and what exactly?

Functions here take values and return values, or raise Refused. They read no clock, open no
connection and know no protocol: what every protocol shares is decided here once.
"""
