"""tokbench."""
