"""Updates by factors and masks (S4)."""
