"""What templates may call: `formatting` writes figures and times, `drawing` makes small pictures, `parts` the rest."""
