"""The regression gate of a training repository: tolerances in, a verdict and its reports out."""
