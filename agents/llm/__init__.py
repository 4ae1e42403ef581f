"""Asking models: the gateway, what stands behind it, and the model that only pretends."""
