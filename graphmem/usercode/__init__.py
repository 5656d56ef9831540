"""The user's code: where it stands, what to call it, how to run it, and how to leave the process as it was."""
