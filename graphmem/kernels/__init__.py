"""What fake mode cannot decide by itself: which kernel the machine would run."""
