"""Bitstream syntax (SPEC 6): units, descriptors, one function per syntax structure."""
