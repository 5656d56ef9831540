"""Sizes as expressions in the model's own integers: proposed from traces, proved at further points. See README.md."""
