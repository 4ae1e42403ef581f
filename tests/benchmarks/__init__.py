"""Figures, measured on real servers with real processes. `make bench` runs them and writes `var/bench/latest.json`."""
