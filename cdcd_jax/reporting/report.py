"""Names of `files`, `pictures`, `terminal` and `metrics_log` under one."""

from cdcd_jax.reporting.files import (
    as_path,
    is_url,
    json_text,
    read_json,
    write_json,
    write_npz,
    write_text,
)
from cdcd_jax.reporting.metrics_log import MetricsWriter, Reports
from cdcd_jax.reporting.pictures import image_grid, png_bytes, write_png
from cdcd_jax.reporting.terminal import Progress, format_table

__all__ = [
    "MetricsWriter",
    "Progress",
    "Reports",
    "as_path",
    "format_table",
    "image_grid",
    "is_url",
    "json_text",
    "png_bytes",
    "read_json",
    "write_json",
    "write_npz",
    "write_png",
    "write_text",
]
