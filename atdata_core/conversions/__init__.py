"""Samples as other libraries hold them, and back.

Each module needs one library, loads it when it is itself loaded, and is loaded by the method of
`Dataset` that needs it: `arrow` (PyArrow, and pandas from it), `pytorch`, `wds` (WebDataset),
`huggingface` (``datasets``).
"""
