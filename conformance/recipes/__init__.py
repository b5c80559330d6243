"""Recipes of the conformance streams: `python -m conformance.recipes` makes them again, byte for byte.

Nothing here searches or measures: levels and words are listed or come from the integer generator of SPEC 8.6.6, range
coding and canonical codes are integer processes, and what a general-purpose coder made is kept in literals.json.
"""
