"""What tests share. `tests` is on the path (pyproject.toml), so it is imported as `support.oracle` and so on."""
