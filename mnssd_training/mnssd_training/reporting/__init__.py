"""Charts, drawings and self-contained HTML pages, as all reports use them."""

from mnssd_training.reporting.drawing import (
    class_legend,
    contact_sheet,
    draw_boxes,
    draw_ignore_regions,
    draw_points,
    resize_to_width,
    Tile,
)
from mnssd_training.reporting.page import format_score, render_page
from mnssd_training.reporting.plots import (
    bar_chart,
    Chart,
    chart_image,
    COLOURS,
    heat_map,
    Line,
    line_chart,
    line_style,
    svg_data_uri,
)

__all__ = [
    'bar_chart',
    'Chart',
    'chart_image',
    'class_legend',
    'COLOURS',
    'contact_sheet',
    'draw_boxes',
    'draw_ignore_regions',
    'draw_points',
    'format_score',
    'heat_map',
    'Line',
    'line_chart',
    'line_style',
    'render_page',
    'resize_to_width',
    'svg_data_uri',
    'Tile',
]
