"""`graphmem validate`: the model is run for real, and what it keeps is compared with what was predicted.

predict -> needs -> (model, watch, step, allocator) -> compare -> run -> (text, json, plot)

The door is `graphmem.validate`. Nothing here imports torch before `run` does.
"""
