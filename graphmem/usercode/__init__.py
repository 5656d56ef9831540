"""The user's code: where it stands, what to call it, how it is run, and that it leaves the process as it was."""
