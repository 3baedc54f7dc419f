"""Perturbations of encodings: what a generator that errs a little would hand to the decoder, as pure functions."""
