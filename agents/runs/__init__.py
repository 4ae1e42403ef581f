"""Runs and steps: programs, the driver, gates, interventions, recovery, and how they are told."""
