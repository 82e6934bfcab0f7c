"""What is remembered: the one state that processes and hosts share.

Every module here holds the statements of one kind of row, as functions that take a connection first and
return frozen rows; `database` gives the connections and decides when a write is durable. Nothing here
judges (that is policy) or signs, and nothing above this room writes SQL.
"""
