"""Timestamp tokens: RFC 3161 and the older Authenticode form, and the clock they rely on."""
