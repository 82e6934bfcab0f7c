"""SCEP (RFC 8894): what a request has proved, transactions, challenges, and the registration authority's key."""
