"""Converters: other people's annotation files into manifests."""
