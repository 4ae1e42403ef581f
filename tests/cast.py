"""The cast: the people every test knows, and what they work with."""
