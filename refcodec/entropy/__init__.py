"""Entropy coding (SPEC 9): range coder, estimator, level coding, word coding."""
