from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from mimi_gui import cli
from mimi_gui.analysis.metrics import METRICS
from mimi_gui.analysis.number_table import csv_table, text_table
from mimi_gui.compare import compare_files, shifted
from mimi_gui.errors import AudioFileError, Cancelled, MimiGuiError

FAST = ["waveform", "level"]


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    rng = np.random.default_rng(0)
    s = 0.1 * rng.standard_normal(48_000)
    a, b = tmp_path / "a.wav", tmp_path / "b.wav"
    soundfile.write(a, s, 24_000, subtype="FLOAT")
    soundfile.write(b, s + 0.05 * rng.standard_normal(48_000), 24_000, subtype="FLOAT")
    return a, b


def values(results) -> dict[str, float | None]:
    return {result.metric.key: result.value for result in results}


def test_two_recordings(files: tuple[Path, Path]) -> None:
    found = compare_files(*files, which=FAST)
    assert values(found.results)["si_sdr"] == pytest.approx(6.02, abs=0.15)
    assert found.delay.lag_samples == 0
    assert found.aligned is None
    assert found.notes == ()
    assert (found.num_samples, found.sample_rate) == (48_000, 24_000)


@pytest.mark.parametrize("lag", [5, -5])
def test_a_delay_is_shown_and_undone(files: tuple[Path, Path], tmp_path: Path, lag: int) -> None:
    """The aligned numbers are those of the signals before the shift."""
    a, b = files
    late = tmp_path / "late.wav"
    samples = soundfile.read(b, dtype="float32")[0]
    soundfile.write(late, np.roll(samples, lag), 24_000, subtype="FLOAT")
    found = compare_files(a, late, which=FAST)
    assert found.delay.lag_samples == lag
    assert found.aligned is not None
    raw, aligned = values(found.results), values(found.aligned)
    assert raw["si_sdr"] is not None
    assert raw["si_sdr"] < -10
    assert aligned["si_sdr"] == pytest.approx(values(compare_files(a, b, which=FAST).results)["si_sdr"], abs=0.01)
    assert "aligned" in found.text
    assert f"5 samples {'late' if lag > 0 else 'early'}" in found.text


def test_a_file_against_itself_is_json(files: tuple[Path, Path]) -> None:
    found = compare_files(files[0], files[0], which=["level", "si_sdr"])
    text = json.dumps(found.as_dict(), allow_nan=False)
    assert "identical" in text
    assert len(text) < 3000


def test_shifted() -> None:
    s = np.arange(10)
    for lag in (0, 3, -3):
        a, b = shifted(s, s - lag, lag)
        np.testing.assert_array_equal(a, b)
        assert len(a) == 10 - abs(lag)


def test_rates_and_lengths_are_made_alike_and_told(files: tuple[Path, Path], tmp_path: Path) -> None:
    other = tmp_path / "stereo.wav"
    rng = np.random.default_rng(1)
    soundfile.write(other, 0.1 * rng.standard_normal((44_100, 2)), 44_100)
    found = compare_files(other, files[1], which=FAST)
    assert found.num_samples == 24_000
    assert "resampled from 44100 Hz to 24000 Hz" in found.notes[0]
    assert "24000 samples longer" in found.notes[1]


def test_a_part(files: tuple[Path, Path]) -> None:
    part = compare_files(*files, which=["si_sdr"], span_s=(0.5, 1.0))
    assert part.notes == ("Only 0.5 to 1 s.",)
    open_end = compare_files(*files, which=["si_sdr"], span_s=(0.5, float("inf")))
    assert open_end.notes == ("Only 0.5 to 2 s.",)
    assert open_end.results[0].value != part.results[0].value
    for wrong in ((1.0, 0.5), (3.0, 4.0), (-1.0, 1.0)):
        with pytest.raises(MimiGuiError, match="is not a part"):
            compare_files(*files, span_s=wrong)


def test_refusals(files: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(MimiGuiError, match="first of the two"):
        compare_files(tmp_path / "a.npz", files[1])
    with pytest.raises(MimiGuiError, match="token file only"):
        compare_files(*files, num_codebooks=8)
    with pytest.raises(AudioFileError):
        compare_files(files[0], tmp_path / "missing.wav")
    with pytest.raises(Cancelled):
        compare_files(*files, cancel=lambda: True)


def test_tokens_are_decoded(tiny_codec, files: tuple[Path, Path], tmp_path: Path) -> None:
    from mimi_gui.audio import load_audio
    from mimi_gui.codes import save_codes

    samples = load_audio(files[0]).samples
    codes = tiny_codec.encode(samples)
    path = save_codes(tmp_path / "a.npz", codes)
    found = compare_files(files[0], path, codec=tiny_codec, num_codebooks=8)
    expected = tmp_path / "decoded.wav"
    soundfile.write(expected, tiny_codec.decode(codes, codebooks=8), 24_000, subtype="FLOAT")
    by_file = compare_files(files[0], expected)
    tokens, waves = values(found.results), values(by_file.results)
    assert tokens["bitrate"] == pytest.approx(1.1)
    assert waves["bitrate"] is None
    for key in METRICS:
        if METRICS[key].group in ("waveform", "perceived"):
            assert (tokens[key] is None) == (waves[key] is None)
            assert (tokens[key] or 0) == pytest.approx(waves[key] or 0, rel=1e-9)
    with pytest.raises(MimiGuiError, match="1 to 32"):
        compare_files(files[0], path, codec=tiny_codec, num_codebooks=33)


def test_the_verb(files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    words = [str(f) for f in files]
    assert cli.main(["compare", *words, "--only", "waveform", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {m["key"] for m in found["metrics"]} == {k for k, m in METRICS.items() if m.group == "waveform"}
    assert cli.main(["compare", *words, "--only", "si_sdr", "--from", "0.5"]) == 0
    out = capsys.readouterr().out
    assert "SI-SDR" in out
    assert "Only 0.5 to 2 s." in out
    assert cli.main(["compare", *words, "--only", "beauty"]) == 2
    assert cli.main(["compare", words[0], "missing.wav"]) == 1
    assert "missing.wav" in capsys.readouterr().err


def test_the_abx_report_verb(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from mimi_gui.analysis.abx import ABXSession
    from mimi_gui.listening_log import save_log

    session = ABXSession({}, 10)
    session.stop()
    log = session.log()
    path = save_log(tmp_path / "log.json", log)
    assert cli.main(["abx-report", str(path)]) == 0
    assert "Verified" in capsys.readouterr().out
    log["result"]["p"] = 0.001
    save_log(path, log, overwrite=True)
    assert cli.main(["abx-report", str(path), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["verified"] is False


def test_tables(files: tuple[Path, Path]) -> None:
    found = compare_files(*files)
    rows = list(csv.DictReader(io.StringIO(csv_table(found.results, found.results))))
    assert [row["key"] for row in rows] == list(METRICS)
    by_key = {row["key"]: row for row in rows}
    assert float(by_key["si_sdr"]["value"]) == values(found.results)["si_sdr"]
    assert by_key["si_sdr"]["aligned"] == by_key["si_sdr"]["value"]
    assert by_key["bitrate"]["value"] == ""
    assert "no tokens" in by_key["bitrate"]["reason"]
    table = text_table(found.results)
    for metric in METRICS.values():
        assert metric.name in table
    assert table.index("Waveform fidelity") < table.index("SI-SDR") < table.index("Perceived quality")
    assert text_table([]) == ""
