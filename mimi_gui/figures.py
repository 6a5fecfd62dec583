"""Figures as SVG text: what the report shows, without a drawing library.

A lane is 1000 units wide and stretched to the page, so that time is the same share of the width in each; it holds no
text, which would be stretched too. Colours are CSS variables of the page, but for images. Pure; any thread.
"""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Sequence

import numpy as np

from mimi_gui.analysis import spectrogram
from mimi_gui.analysis.spectrogram import SpectrogramSettings

LANE_WIDTH = 1000
_MOST_COLUMNS = 1600  # of a spectrogram
_MOST_FRAMES = 16_000  # of a heatmap: browsers refuse much wider images
_GOLDEN = 0.6180339887498949


def png(indexes: np.ndarray, palette: np.ndarray) -> bytes:
    """A PNG of uint8 ``[H, W]`` indexes into a uint8 ``[256, 3]`` palette, first row on top.

    Raises:
        ValueError: an empty image, or other shapes.
    """
    if indexes.ndim != 2 or not indexes.size or palette.shape != (256, 3):
        raise ValueError(f"an image {list(indexes.shape)} with a palette {list(palette.shape)}")

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    height, width = indexes.shape
    rows = np.zeros((height, width + 1), dtype=np.uint8)  # each row begins with its filter: none
    rows[:, 1:] = indexes
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", header),
            chunk(b"PLTE", palette.astype(np.uint8).tobytes()),
            chunk(b"IDAT", zlib.compress(rows.tobytes(), 9)),
            chunk(b"IEND", b""),
        ]
    )


def ramp(*stops: str) -> np.ndarray:
    """A uint8 ``[256, 3]`` palette through equally spaced ``#rrggbb`` stops."""
    colours = np.array([[int(s[i : i + 2], 16) for i in (1, 3, 5)] for s in stops], dtype=np.float64)
    at = np.linspace(0, len(stops) - 1, 256)
    channels = [np.interp(at, np.arange(len(stops)), colours[:, c]) for c in range(3)]
    return np.rint(np.stack(channels, axis=1)).astype(np.uint8)


HEAT = ramp("#000004", "#2b0a53", "#7a1d6d", "#c73e4c", "#f4802a", "#fbd13e", "#fcffa4")
DIVERGING = ramp("#0b4f9e", "#5b9bd5", "#e8e8e8", "#f0a04b", "#a84300")


def lane(body: str, height: float, label: str) -> str:
    """An SVG element of 1000 x ``height`` that stretches; ``label`` is for those who cannot see it."""
    return (
        f'<svg viewBox="0 0 {LANE_WIDTH} {height:g}" preserveAspectRatio="none" role="img" aria-label="{label}"'
        f' style="height:{height:g}px">{body}</svg>'
    )


def image_lane(indexes: np.ndarray, palette: np.ndarray, height: float, label: str) -> str:
    """Indexes uint8 ``[H, W]`` (first row on top) as an image over the whole lane, pixels kept."""
    data = base64.b64encode(png(indexes, palette)).decode("ascii")
    body = (
        f'<image width="{LANE_WIDTH}" height="{height:g}" preserveAspectRatio="none" style="image-rendering:pixelated"'
        f' href="data:image/png;base64,{data}"/>'
    )
    return lane(body, height, label)


def waveform(samples: np.ndarray, label: str, css_class: str) -> str:
    """The outline (lowest and highest value) of float ``[T]`` in 1000 columns, -1 .. 1."""
    total = len(samples)
    if not total:
        return lane("", 90, label)
    starts = np.unique(np.linspace(0, total, min(LANE_WIDTH, total), endpoint=False).astype(np.int64))
    high = np.clip(np.maximum.reduceat(samples, starts), -1, 1)
    low = np.clip(np.minimum.reduceat(samples, starts), -1, 1)
    x = starts * (LANE_WIDTH / total)
    there = [f"{a:.1f},{45 - 44 * b:.1f}" for a, b in zip(x, high, strict=True)]
    back = [f"{a:.1f},{45.4 - 44 * b:.1f}" for a, b in zip(x[::-1], low[::-1], strict=True)]
    return lane(f'<polygon class="{css_class}" points="{" ".join(there + back)}"/>', 90, label)


def spectrogram_lane(samples: np.ndarray, sample_rate: int, settings: SpectrogramSettings, label: str) -> str:
    """The whole recording in at most about 3200 columns."""
    level = _level(len(samples), sample_rate, settings)
    tiles = range(spectrogram.num_tiles(len(samples), settings, level))
    parts = [spectrogram.tile(samples, sample_rate, settings, i, level) for i in tiles]
    return image_lane(np.concatenate(parts, axis=1)[::-1], HEAT, 160, label) if parts else lane("", 160, label)


def difference_lane(
    reference: np.ndarray, reconstruction: np.ndarray, sample_rate: int, settings: SpectrogramSettings, label: str
) -> str:
    """Reconstruction minus reference: blue lacks, orange was added, 30 dB either way."""
    level = _level(len(reference), sample_rate, settings)
    tiles = range(spectrogram.num_tiles(len(reference), settings, level))
    parts = [spectrogram.difference_tile(reference, reconstruction, sample_rate, settings, i, level) for i in tiles]
    return image_lane(np.concatenate(parts, axis=1)[::-1], DIVERGING, 160, label) if parts else lane("", 160, label)


def heatmap(codes: np.ndarray, label: str) -> str:
    """Codes integer ``[K, T]``, codebook 0 on top. Codes are names: neighbours in number get unlike colours."""
    step = -(-codes.shape[1] // _MOST_FRAMES)
    shown = codes[:, :: max(step, 1)]
    if not shown.size:
        return lane("", 160, label)
    hue = (np.arange(256) * _GOLDEN) % 1
    palette = np.stack([_wave(hue), _wave(hue + 1 / 3), _wave(hue + 2 / 3)], axis=1)
    return image_lane((shown % 256).astype(np.uint8), palette, max(60, 6 * codes.shape[0]), label)


def bars(values: np.ndarray, label: str) -> str:
    """One bar per value, the largest as high as the lane; the lowest value (or 0) at its foot."""
    if not len(values):
        return lane("", 60, label)
    values = np.asarray(values, dtype=np.float64)
    low = min(0.0, float(values.min()))
    height = 58 * (values - low) / max(float(values.max()) - low, 1e-9)
    edges = np.linspace(0, LANE_WIDTH, len(values) + 1)
    points = ["0,60"]
    for left, right, y in zip(edges[:-1], edges[1:], 60 - height, strict=True):
        points += [f"{left:.2f},{y:.1f}", f"{right:.2f},{y:.1f}"]
    points.append(f"{LANE_WIDTH},60")
    return lane(f'<polygon class="strip" points="{" ".join(points)}"/>', 60, label)


def curve(
    x: Sequence[float] | np.ndarray, y: Sequence[float] | np.ndarray, marked: int | None, label: str, x_title: str
) -> str:
    """A curve with points in a frame of 320 x 200, not stretched; the point ``marked`` gets a ring."""
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    left, right, top, bottom = 52, 308, 14, 164
    x_span, y_span = max(np.ptp(x), 1e-9), max(np.ptp(y), 1e-9)
    px = left + (right - left) * (x - x.min()) / x_span
    py = bottom - (bottom - top) * (y - y.min()) / y_span
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(px, py, strict=True))
    dots = "".join(f'<circle class="dot" cx="{a:.1f}" cy="{b:.1f}" r="2.2"/>' for a, b in zip(px, py, strict=True))
    ring = "" if marked is None else f'<circle class="ring" cx="{px[marked]:.1f}" cy="{py[marked]:.1f}" r="6"/>'
    texts = [
        (left - 6, bottom + 4, "end", f"{y.min():.3g}"),
        (left - 6, top + 4, "end", f"{y.max():.3g}"),
        (left, bottom + 16, "start", f"{x.min():.3g}"),
        (right, bottom + 16, "end", f"{x.max():.3g}"),
        ((left + right) / 2, bottom + 30, "middle", x_title),
    ]
    words = "".join(f'<text x="{a:g}" y="{b:g}" text-anchor="{c}">{d}</text>' for a, b, c, d in texts)
    frame = f'<path class="axis" d="M{left} {top}V{bottom}H{right}"/>'
    return (
        f'<svg viewBox="0 0 320 200" role="img" aria-label="{label}" class="curve">{frame}'
        f'<polyline class="line" points="{points}"/>{dots}{ring}{words}</svg>'
    )


def _level(num_samples: int, sample_rate: int, settings: SpectrogramSettings) -> int:
    return spectrogram.level_for(num_samples / sample_rate / _MOST_COLUMNS, sample_rate, settings)


def _wave(hue: np.ndarray) -> np.ndarray:
    return np.rint(90 + 130 * (0.5 + 0.5 * np.cos(2 * np.pi * hue))).astype(np.uint8)
