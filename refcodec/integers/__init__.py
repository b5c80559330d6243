"""Networks in integers: evaluated, checked, and the formats of their activations allocated (informative)."""
