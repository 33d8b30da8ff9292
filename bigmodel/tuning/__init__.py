"""A search over a recipe's own keys: what is drawn, how it is tried, and what stays of it."""
