"""Quantisers: integer levels to values of the tensor's type (SPEC 8.5)."""
