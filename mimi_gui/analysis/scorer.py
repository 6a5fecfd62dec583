"""A child process for PESQ and ViSQOL, whose C code holds Python's lock for seconds and may crash on odd input.

In the child they can neither freeze the window nor take it down. The parent calls :func:`scores`; the child runs
:func:`main`: a JSON line on stdin (model, rate, lengths), then each piece as float32 reference and reconstruction;
one JSON line per piece on stdout.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Literal

import numpy as np

from mimi_gui.errors import Cancelled

Model = Literal["pesq", "visqol"]

_POLL_S = 0.1


def scores(
    model: Model,
    rate: int,
    pieces: Sequence[tuple[np.ndarray, np.ndarray]],
    cancel: Callable[[], bool] | None = None,
) -> list[float | str]:
    """Score each piece (reference and reconstruction, float32 ``[n]``): its value, or the reason why it has none.

    Blocks; any thread but the window's.

    Raises:
        Cancelled: ``cancel()`` said so; the child is gone.
    """
    header = {"model": model, "rate": rate, "lengths": [len(a) for a, _ in pieces]}
    parts = [json.dumps(header).encode() + b"\n"]
    parts += [np.ascontiguousarray(x, dtype="<f4").tobytes() for pair in pieces for x in pair]
    root = str(Path(__file__).resolve().parent.parent.parent)
    start = f"import sys; sys.path.insert(0, {root!r}); from mimi_gui.analysis.scorer import main; main()"
    with tempfile.TemporaryFile() as work:  # not a pipe: writing to one cannot be polled on every system
        work.writelines(parts)
        work.seek(0)
        child = subprocess.Popen(
            [sys.executable, "-c", start],
            stdin=work,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
        output = _finished(child, cancel)
    found = [json.loads(line) for line in output.splitlines()]
    answers: list[float | str] = [answer.get("reason") or float(answer["value"]) for answer in found]
    return answers + [f"{model} crashed on this recording"] * (len(pieces) - len(answers))


def _finished(child: subprocess.Popen[bytes], cancel: Callable[[], bool] | None) -> bytes:
    """What the child said until it ended, by itself or by a crash."""
    with child:
        try:
            while True:
                try:
                    return child.communicate(timeout=_POLL_S)[0]
                except subprocess.TimeoutExpired:
                    if cancel is not None and cancel():
                        raise Cancelled from None
        finally:
            if child.poll() is None:
                child.kill()


def main() -> None:
    """Run the child: see the module's docstring."""
    header = json.loads(sys.stdin.buffer.readline())
    answers = sys.stdout
    sys.stdout = sys.stderr  # what the libraries print is no answer
    score = _pesq if header["model"] == "pesq" else _visqol()
    for length in header["lengths"]:
        a, b = (np.frombuffer(sys.stdin.buffer.read(4 * length), dtype="<f4") for _ in range(2))
        answer = score(a, b, header["rate"])
        print(
            json.dumps({"reason": answer} if isinstance(answer, str) else {"value": answer}), file=answers, flush=True
        )


def _pesq(a: np.ndarray, b: np.ndarray, rate: int) -> float | str:
    package = import_module("pesq")
    try:
        return float(package.pesq(rate, a, b, "wb"))
    except package.NoUtterancesError:
        return "PESQ found no utterance: it is made for speech"
    except package.BufferTooShortError:
        return "too short: PESQ needs at least 0.25 s"
    except package.PesqError as error:
        return f"PESQ could not score this: {error}"


def _visqol() -> Callable[[np.ndarray, np.ndarray, int], float | str]:
    api = import_module("visqol").VisqolApi()
    api.create(mode="speech")

    def score(a: np.ndarray, b: np.ndarray, rate: int) -> float | str:
        try:
            return float(api.measure_from_arrays(a.astype(np.float64), b.astype(np.float64), rate).moslqo)
        except (ValueError, RuntimeError) as error:
            return f"ViSQOL could not score this: {error}"

    return score
