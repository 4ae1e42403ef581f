"""Clocks and escalation: when a question is late, whom that concerns next, and what becomes of one nobody answers."""
