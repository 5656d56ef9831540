"""What fake mode cannot decide by itself: which kernel the target would run."""
