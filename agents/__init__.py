"""The domain: who works here, what the fleet is, how work gets done, what happened."""
