"""A network beside the default one."""

from moco_dl.network import NetworkConfig

# A decoder down to stride 4; the default's ends at 8.
TO_STRIDE_4 = NetworkConfig(
    stem=16,
    widths=(32, 48, 64),
    match=(16, 24, 32),
    radius=(2, 3, 4),
    hidden=(32, 48, 64),
    state=(24, 32, 32),
)
