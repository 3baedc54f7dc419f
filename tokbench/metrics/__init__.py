"""Metrics: one family a file, each ending in ``METRICS``; discovered, not imported here."""
