"""What a person let through for the rest of one run: given with an approval, bounded, visible, revocable."""
