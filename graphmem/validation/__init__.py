"""`graphmem validate`: the model is run for real, and what it keeps is compared with what was predicted.

predict -> needs -> (model, watch, step, allocator) -> compare -> run -> (text, json, plot)
"""

from graphmem.validation.result import PointResult, Validation
from graphmem.validation.run import validate

__all__ = ["PointResult", "Validation", "validate"]
