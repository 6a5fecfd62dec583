"""A report that travels: one HTML file with the figures, the numbers, the settings and both sounds to switch between.

Pure but for writing the file; any thread. Sounds are embedded as 16 bit FLAC, so a minute costs about 4 MB; beyond
:data:`MOST_SOUND_S` they are left out and the page says so.
"""

from __future__ import annotations

import base64
import html
import io
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import numpy as np
import soundfile

from mimi_gui import figures, report_page
from mimi_gui.analysis.error_strip import ErrorStrip
from mimi_gui.analysis.ladder import Ladder
from mimi_gui.analysis.loudness import matching_gains
from mimi_gui.analysis.metrics import GROUPS, METRICS, MetricResult
from mimi_gui.analysis.probe import Steadiness
from mimi_gui.analysis.spectrogram import SpectrogramSettings
from mimi_gui.codes import Codes
from mimi_gui.target import writing

MOST_SOUND_S = 600.0


@dataclass(frozen=True)
class ReportContent:
    """What a report tells. ``reference`` and ``reconstruction`` are float32 ``[T]`` mono of equal length.

    Attributes:
        settings: name -> value, shown as they are: file names, checkpoint, codebooks, device, versions.
        names: what A and B are called.
        notes: sentences under the title.
    """

    title: str
    reference: np.ndarray
    reconstruction: np.ndarray
    sample_rate: int
    results: Sequence[MetricResult]
    settings: Mapping[str, object] = field(default_factory=dict)
    codes: Codes | None = None
    strip: ErrorStrip | None = None
    ladder: Ladder | None = None
    steadiness: Sequence[Steadiness] = ()
    spectrogram: SpectrogramSettings = field(default_factory=SpectrogramSettings)
    names: tuple[str, str] = ("what Mimi heard", "reconstruction")
    notes: Sequence[str] = ()


def write_report(path: str | os.PathLike[str], content: ReportContent, *, overwrite: bool = False) -> Path:
    """Write the page, whole or not at all.

    Raises:
        OutputError: it cannot be written, or exists already.
        ValueError: the two sounds are not of one length.
    """
    page = build_page(content)
    with writing(path, overwrite=overwrite) as partial:
        partial.write_text(page, encoding="utf-8")
    return Path(path)


def build_page(content: ReportContent) -> str:
    """The whole page as text. Raises ValueError as :func:`write_report`."""
    if content.reference.shape != content.reconstruction.shape or content.reference.ndim != 1:
        raise ValueError(f"sounds {content.reference.shape} and {content.reconstruction.shape}; expected two equal [T]")
    seconds = len(content.reference) / content.sample_rate
    notes = "".join(f'<p class="note">{html.escape(note)}</p>' for note in content.notes)
    body = [notes, _player(content, seconds), _lanes(content, seconds), _numbers(content.results)]
    if content.ladder is not None and len(content.ladder.rungs) > 1:
        body.append(_ladder(content.ladder))
    if content.steadiness:
        body.append(_steadiness(content.steadiness))
    body.append(_settings(content.settings))
    made = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z")
    return report_page.PAGE.format(
        title=html.escape(content.title),
        subtitle=f"{seconds:.2f} s at {content.sample_rate} Hz, mono. Made by Mimi GUI on {made}.",
        style=report_page.STYLE,
        body="\n".join(body),
        script=report_page.SCRIPT,
    )


def _player(content: ReportContent, seconds: float) -> str:
    if not len(content.reference):
        return '<p class="note">The recording is empty.</p>'
    if seconds > MOST_SOUND_S:
        return f'<p class="note">The sounds are left out: {seconds:.0f} s is more than {MOST_SOUND_S:.0f} s.</p>'
    match = matching_gains(content.reference, content.reconstruction, content.sample_rate)
    sounds = {
        "a": _flac(content.reference, content.sample_rate),
        "b": _flac(content.reconstruction, content.sample_rate),
        "sample_rate": content.sample_rate,
        "duration": seconds,
        "gains": [10 ** (match.gain_a_db / 20), 10 ** (match.gain_b_db / 20)],
    }
    return report_page.PLAYER.format(
        name_a=html.escape(content.names[0]),
        name_b=html.escape(content.names[1]),
        duration=f"{seconds:.4f}",
        gain_a=match.gain_a_db,
        gain_b=match.gain_b_db,
        sounds=json.dumps(sounds),
    )


def _flac(samples: np.ndarray, sample_rate: int) -> str:
    stream = io.BytesIO()
    soundfile.write(stream, np.clip(samples, -1, 1), sample_rate, format="FLAC", subtype="PCM_16")
    return base64.b64encode(stream.getvalue()).decode("ascii")


def _lanes(content: ReportContent, seconds: float) -> str:
    a, b, rate, settings = content.reference, content.reconstruction, content.sample_rate, content.spectrogram
    name_a, name_b = (html.escape(name) for name in content.names)
    lanes = [
        (f"A: {name_a}", figures.waveform(a, f"Waveform of {name_a}", "wave-a")),
        (f"B: {name_b}", figures.waveform(b, f"Waveform of {name_b}", "wave-b")),
    ]
    if len(a):
        low, high = settings.floor_db, settings.ceiling_db
        scale = f"{settings.scale} scale up to {rate / 2000:g} kHz, {low:g} to {high:g} dB full scale"
        lanes += [
            (f"Spectrogram of A, {scale}", figures.spectrogram_lane(a, rate, settings, "Spectrogram of A")),
            (f"Spectrogram of B, {scale}", figures.spectrogram_lane(b, rate, settings, "Spectrogram of B")),
            (
                "Difference B - A: blue is missing, orange was added, up to 30 dB",
                figures.difference_lane(a, b, rate, settings, "Difference of the spectrograms"),
            ),
        ]
    if content.codes is not None and content.codes.num_frames:
        caption = (
            f"Tokens: {content.codes.num_codebooks} codebooks (semantic on top), {content.codes.num_frames} frames"
        )
        lanes.append((caption, figures.heatmap(content.codes.array, caption)))
    if content.strip is not None:
        caption = f"Error per frame: {content.strip.name}, {content.strip.unit}, up to {_most(content.strip.values)}"
        lanes.append((caption, figures.bars(content.strip.values, caption)))
    drawn = "".join(f"<figure><figcaption>{caption}</figcaption>{svg}</figure>" for caption, svg in lanes)
    return f'<h2>In time</h2><div id="lanes">{drawn}<div id="playhead"></div></div>{_ruler(seconds)}'


def _most(values: np.ndarray) -> str:
    return f"{float(values.max()):.2f}" if len(values) else "nothing"


def _ruler(seconds: float) -> str:
    marks = [seconds * i / 8 for i in range(9)]
    spans = "".join(f'<span style="left:{100 * i / 8:g}%">{t:.2f} s</span>' for i, t in enumerate(marks))
    return f'<div id="ruler">{spans}</div>'


def _numbers(results: Sequence[MetricResult]) -> str:
    rows = []
    for group, title in GROUPS.items():
        found = [result for result in results if result.metric.group == group]
        if found:
            rows.append(f'<tr><th colspan="3">{html.escape(title)}</th></tr>')
        for result in found:
            tooltip = html.escape(result.metric.tooltip, quote=True)
            name, text, note = (html.escape(word) for word in (result.metric.name, result.text, result.note))
            rows.append(
                f'<tr title="{tooltip}"><td>{name}</td><td class="number">{text}</td><td class="note">{note}</td></tr>'
            )
    terms = "".join(
        f"<p><b>{html.escape(r.metric.name)}</b>: {html.escape(' '.join(r.metric.tooltip.splitlines()))}</p>"
        for r in results
    )
    return (
        f'<h2>Numbers</h2><div class="scroll"><table>{"".join(rows)}</table></div>'
        f"<details><summary>What they mean</summary>{terms}</details>"
    )


def _ladder(ladder: Ladder) -> str:
    drawn = []
    for key in METRICS:
        ks, kbps, values = ladder.curve(key)
        if len(ks) < 2:
            continue
        knee = ladder.knee(key)
        marked = None if knee is None else int(np.flatnonzero(ks == knee)[0])
        title = f"{METRICS[key].name}{f' ({METRICS[key].unit})' if METRICS[key].unit else ''}"
        remark = "no knee" if knee is None else f"knee at {knee} codebooks"
        drawn.append(
            f"<figure>{figures.curve(kbps, values, marked, html.escape(title), 'kbit/s')}"
            f"<figcaption>{html.escape(title)}: {remark}</figcaption></figure>"
        )
    return f'<h2>What each codebook buys</h2><div class="curves">{"".join(drawn)}</div>'


def _steadiness(results: Sequence[Steadiness]) -> str:
    most = max((len(result.share) for result in results), default=0)
    head = "".join(f"<th>{k}</th>" for k in range(most))
    rows = []
    for result in results:
        cells = "".join(f'<td class="number">{100 * share:.0f}</td>' for share in result.share)
        cells = cells or f'<td colspan="{max(most, 1)}">n/a ({html.escape(result.reason)})</td>'
        rows.append(f"<tr><td>{html.escape(result.disturbance.label)}</td>{cells}</tr>")
    return (
        "<h2>How steady the tokens are</h2><p class='note'>Per cent of tokens that stay, per codebook.</p>"
        f'<div class="scroll"><table><tr><th></th>{head}</tr>{"".join(rows)}</table></div>'
    )


def _settings(settings: Mapping[str, object]) -> str:
    if not settings:
        return ""
    rows = "".join(
        f"<tr><td>{html.escape(str(name))}</td><td>{html.escape(_words(value))}</td></tr>"
        for name, value in settings.items()
    )
    return f'<h2>Settings</h2><div class="scroll"><table>{rows}</table></div>'


def _words(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
