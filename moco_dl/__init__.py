"""Non-rigid motion correction of calcium-imaging movies with a pretrained pyramid flow network.

import moco_dl
result = moco_dl.correct(frames)            # (T, H, W) -> .corrected, .fields, .reference
other = moco_dl.apply(channel_2, result.fields)
fields = moco_dl.load_fields("movie_fields.h5")
found = moco_dl.evaluate(frames, result.corrected, fields)  # -> .verdict, .table, .traces, ...
"""

import os
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from moco_dl.application import apply
    from moco_dl.correction import Corrector, correct
    from moco_dl.errors import NrcorrectError
    from moco_dl.evaluation.pair import evaluate
    from moco_dl.fields import load_fields
    from moco_dl.options import CorrectOptions

# Else, on some processors, PyTorch's products of matrices (MKL) are rounded by where these lie in memory, and
# so by the place of a frame in a batch. It is read when the first of them is computed.
os.environ.setdefault("MKL_CBWR", "AUTO")

try:
    __version__ = version("nrcorrect")
except PackageNotFoundError:  # a checkout that is not installed
    __version__ = "0+unknown"

_HOME = {
    "correct": "moco_dl.correction",
    "apply": "moco_dl.application",
    "evaluate": "moco_dl.evaluation.pair",
    "Corrector": "moco_dl.correction",
    "CorrectOptions": "moco_dl.options",
    "load_fields": "moco_dl.fields",
    "NrcorrectError": "moco_dl.errors",
}
__all__ = [
    "CorrectOptions",
    "Corrector",
    "NrcorrectError",
    "__version__",
    "apply",
    "correct",
    "evaluate",
    "load_fields",
]


def __getattr__(name: str) -> object:
    """Import on first use: `import moco_dl` costs nothing."""
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'moco_dl' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
