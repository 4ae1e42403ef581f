"""What agents did alone at tier 2, and the share of it that people look at afterwards."""
