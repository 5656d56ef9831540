"""Sizes as expressions in the model's own integers: chosen points, fitted formulas, a proof on an unseen point."""
