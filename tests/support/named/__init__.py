"""Models of kinds that have names, as their authors write them: MODELS of each file has a model() and its inputs().

detr.py     detectors with learned queries
dit.py      diffusion Transformers without a class token
padded.py   padded vocabularies and rounded feed-forwards
joint.py    two streams with one attention over both
windows.py  windows of images and of sequences, with padding
"""
