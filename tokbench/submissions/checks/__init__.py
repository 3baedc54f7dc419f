"""Checks of an opened submission, one idea a file; each adds what it finds and stops nobody else."""
