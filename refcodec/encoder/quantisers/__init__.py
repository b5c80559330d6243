"""Quantisers that are not led by one step: decimal (S1, S2), fixed point, codebooks."""
