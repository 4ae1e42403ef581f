"""Runs that were recorded elsewhere, read so that the engine can drive them again.

`reading` turns files into recordings and faults; `recording` holds the nouns; `format` says what a line of
`agent-run/1` may contain; `lines`, `beside` and `tally` do one thing each: bytes, neighbouring files, and counting
a recording by a second path so that a replay can be held against it.
"""
