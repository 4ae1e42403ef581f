"""Agents that run elsewhere and ask here before they act: the gate, held calls, and what an agent asked lately."""
