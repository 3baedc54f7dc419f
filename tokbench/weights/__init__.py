"""The weight store: which files evaluator networks need, where they are, and how they are read safely."""
