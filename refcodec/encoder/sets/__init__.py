"""Sets of models (S2): which is the root, what each is predicted from, and how a budget is shared."""
