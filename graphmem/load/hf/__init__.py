"""Targets that are a Hugging Face `config.json`: the model without weights, and inputs as it is trained with."""
