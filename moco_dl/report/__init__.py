"""An `Evaluation` to look at: `report_page` is one HTML document, `report_picture` its main figure.

`page` puts together what `pictures` (images, preview, kymographs), `timeline` (charts over the frames) and
`field_views` (arrows and colours) make of the numbers, with `raster`, `chart` and `arrows`; `assets` holds its
template, style and script. `poster` draws the picture, with matplotlib.
"""

from moco_dl.report.page import report_page, report_picture, write_page

__all__ = ["report_page", "report_picture", "write_page"]
