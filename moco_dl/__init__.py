"""Non-rigid motion correction of calcium-imaging movies with a pretrained pyramid flow network.

import moco_dl
result = moco_dl.correct(frames)            # (T, H, W) -> .corrected, .fields, .reference
other = moco_dl.apply(channel_2, result.fields)
fields = moco_dl.load_fields("movie_fields.h5")
found = moco_dl.evaluate(frames, result.corrected, fields)  # -> .verdict, .table, .traces, ...
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("nrcorrect")
except PackageNotFoundError:  # a checkout that is not installed
    __version__ = "0+unknown"

_HOME = {
    "correct": "moco_dl.correction",
    "apply": "moco_dl.correction",
    "evaluate": "moco_dl.evaluation.pair",
    "Corrector": "moco_dl.correction",
    "CorrectOptions": "moco_dl.correction",
    "load_fields": "moco_dl.fields",
    "NrcorrectError": "moco_dl.errors",
}
__all__ = ["__version__", *_HOME]


def __getattr__(name: str) -> object:
    """Import on first use: `import moco_dl` costs nothing."""
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'moco_dl' has no attribute {name!r}")
