"""Submissions: results as files that others can check, packed from runs and validated without trust."""
