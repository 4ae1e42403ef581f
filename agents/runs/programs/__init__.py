"""What a run may do next: one program per module, each a pure function of history."""
