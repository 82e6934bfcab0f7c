"""Runs beside a hardware token and signs for authorities whose keys never leave it; imports nothing from pkiconf."""
