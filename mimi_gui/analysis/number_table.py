"""The numbers as text: a table for people, CSV for a spreadsheet, rows for JSON. Pure; any thread."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from mimi_gui.analysis.metrics import GROUPS, MetricResult

_COLUMNS = ("key", "name", "group", "unit", "better", "value", "reason", "note")


def text_table(results: Sequence[MetricResult], aligned: Sequence[MetricResult] | None = None) -> str:
    """One line per number under its group's heading; ``aligned`` adds a column where it differs."""
    other = {result.metric.key: result for result in aligned or ()}
    width = max((len(result.metric.name) for result in results), default=0)
    lines = []
    for group, title in GROUPS.items():
        rows = [result for result in results if result.metric.group == group]
        if rows:
            lines += ["", title] if lines else [title]
        for result in rows:
            line = f"  {result.metric.name:<{width}}  {result.text}"
            if result.metric.key in other and other[result.metric.key].value != result.value:
                line += f"   aligned {other[result.metric.key].text}"
            lines.append(f"{line}   [{result.note}]" if result.note else line)
    return "\n".join(lines)


def csv_table(results: Sequence[MetricResult], aligned: Sequence[MetricResult] | None = None) -> str:
    """CSV with a heading; no value is an empty cell beside its reason. ``aligned`` adds a column."""
    other = {result.metric.key: result.value for result in aligned or ()}
    out = io.StringIO()
    columns: list[str] = [*_COLUMNS, *(["aligned"] if aligned is not None else [])]
    writer = csv.DictWriter(out, columns, lineterminator="\n")
    writer.writeheader()
    for result in results:
        row = result.as_dict()
        if aligned is not None:
            row["aligned"] = other.get(result.metric.key)
        writer.writerow({key: "" if value is None else value for key, value in row.items()})
    return out.getvalue()
