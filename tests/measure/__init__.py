"""What needs a GPU or writes pages: `python tests/measure/accuracy.py`. Tests import it as `measure.accuracy`."""
