"""What this app does when another announces a fact. Three lines each."""
