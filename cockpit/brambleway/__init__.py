"""Brambleway Coffee: the demo company. It sells beans to cafés and repairs their machines."""
