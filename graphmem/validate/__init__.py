"""`graphmem validate`: the model is run for real, and what it keeps is compared with what was predicted.

predict -> needs -> (model, watch, step, allocator) -> compare -> run -> (text, json, plot)
"""

from graphmem.validate.result import PointResult, Validation
from graphmem.validate.run import validate, validate_target

__all__ = ["PointResult", "Validation", "validate", "validate_target"]
