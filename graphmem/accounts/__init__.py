"""What is alive at some moment of a run, as a function of the record: storages with an owner and a reason."""
