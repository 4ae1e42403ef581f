"""Everything a fleet stands on is killed, emptied, stopped or taken away amid its work. `make chaos` runs all of it."""
