from __future__ import annotations

import json

import numpy as np
import pytest

from mimi_gui.analysis.metrics import GROUPS, METRICS, Metric, MetricResult, measure
from mimi_gui.codes import Codes
from mimi_gui.errors import Cancelled

FAST = ["size", "tokens", "si_sdr", "log_mel"]


@pytest.fixture
def pair() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    s = rng.standard_normal(48_000).astype(np.float32) * 0.1
    return s, s + 0.05 * rng.standard_normal(48_000).astype(np.float32)


@pytest.fixture
def codes() -> Codes:
    return Codes(np.arange(8 * 25).reshape(8, 25).astype(np.int16), 48_000)


def by_key(results: list[MetricResult]) -> dict[str, MetricResult]:
    return {r.metric.key: r for r in results}


@pytest.mark.parametrize("metric", METRICS.values(), ids=lambda m: m.key)
def test_each_metric_is_described(metric: Metric) -> None:
    assert metric.group in GROUPS
    assert metric.definition.endswith(".")
    assert metric.library in metric.tooltip
    assert metric.definition in metric.tooltip
    assert len(metric.tooltip.splitlines()) >= 3
    assert metric.better in ("higher", "lower", "neither")


def test_waveform_fidelity_stands_apart() -> None:
    assert METRICS["si_sdr"].group != METRICS["stoi"].group
    assert list(METRICS)[:3] == ["bitrate", "tokens_per_second", "compression"]


# FIELD: 8/16/32 codebooks are 1.1/2.2/4.4 kbit/s, 100/200/400 tokens/s, 349/175/87 times 24 kHz 16 bit mono.
@pytest.mark.parametrize(
    ("k", "kbps", "tokens", "times"), [(8, 1.1, 100, 349), (16, 2.2, 200, 175), (32, 4.4, 400, 87)]
)
def test_sizes(pair, k: int, kbps: float, tokens: int, times: int) -> None:
    found = by_key(measure(*pair, 24_000, Codes(np.zeros((k, 25), np.int16), 48_000), ["size"]))
    assert found["bitrate"].value == pytest.approx(kbps)
    assert found["tokens_per_second"].value == tokens
    assert found["compression"].value is not None
    assert round(found["compression"].value) == times
    assert found["bitrate"].text == f"{kbps:.2f} kbit/s"


def test_token_numbers_rest_on_frames(pair, codes: Codes) -> None:
    found = by_key(measure(*pair, 24_000, codes, ["tokens"]))
    assert found["codebook_use"].value == pytest.approx(100 * 25 / 2048)
    assert found["perplexity"].value == pytest.approx(25)
    assert found["unused_codes"].value == 2048 - 25
    bits = np.log2(25) + 24 / (2 * 25 * np.log(2))
    assert found["entropy_rate"].value == pytest.approx(8 * bits * 12.5 / 1000)
    assert all("25 frames" in r.note for r in found.values())


def test_without_codes_a_reason_stands_where_a_zero_could(pair) -> None:
    found = by_key(measure(*pair, 24_000, None, FAST))
    assert found["bitrate"].value is None
    assert found["bitrate"].text.startswith("n/a (no tokens")
    assert found["si_sdr"].value == pytest.approx(6, abs=0.2)


def test_identical_signals(pair) -> None:
    found = by_key(measure(pair[0], pair[0], 24_000, None, ["waveform"]))
    assert found["si_sdr"].value is None
    assert "identical" in found["si_sdr"].reason
    assert found["log_mel"].value == 0  # a measured zero is a value


def test_selection_is_what_it_says(pair, codes: Codes) -> None:
    part = by_key(measure(*pair, 24_000, codes, FAST, span_s=(0.5, 1.0)))
    alone = by_key(measure(pair[0][12_000:24_000], pair[1][12_000:24_000], 24_000, None, FAST))
    assert part["si_sdr"].value == alone["si_sdr"].value
    assert part["log_mel"].value == alone["log_mel"].value
    assert part["perplexity"].note == "7 frames"  # 0.48 to 1.04 s
    outside = by_key(measure(*pair, 24_000, codes, FAST, span_s=(5, 6)))
    assert outside["si_sdr"].reason
    assert outside["perplexity"].reason


@pytest.mark.parametrize("samples", [np.zeros(0), np.zeros(1), np.zeros(48_000)])
def test_nothing_in_nothing_out(samples: np.ndarray) -> None:
    results = measure(samples, samples, 24_000)
    assert len(results) == len(METRICS)
    for result in results:
        if result.metric.group == "perceived" or result.metric.key == "si_sdr":
            assert result.value is None
            assert result.reason


def test_level_and_delay(pair) -> None:
    s = pair[0]
    late = np.concatenate([np.zeros(7, np.float32), s[:-7] * 0.5])
    found = by_key(measure(s, late, 24_000, None, ["level"]))
    assert found["loudness_change"].value == pytest.approx(-6.02, abs=0.05)
    assert found["delay"].value == 7
    assert found["delay"].text == "7 samples"
    assert found["true_peak"].value is not None
    assert found["true_peak"].value >= 20 * np.log10(np.abs(late).max()) - 0.1


def test_results_are_json(pair) -> None:
    rows = json.loads(json.dumps([r.as_dict() for r in measure(*pair, 24_000, None, FAST)]))
    assert {"key", "name", "group", "unit", "better", "value", "reason", "note"} == set(rows[0])


@pytest.mark.parametrize(("value", "reason"), [(None, ""), (1.0, "because"), (float("nan"), ""), (float("inf"), "")])
def test_a_result_is_a_value_or_a_reason(value: float | None, reason: str) -> None:
    with pytest.raises(ValueError, match="si_sdr"):
        MetricResult(METRICS["si_sdr"], value, reason)


def test_results_come_as_they_are_known(pair) -> None:
    seen: list[MetricResult] = []
    assert measure(*pair, 24_000, None, FAST, on_result=seen.append) == seen
    assert len(seen) > 5


def test_refusals(pair) -> None:
    s, e = pair
    with pytest.raises(ValueError, match="trim both"):
        measure(s, e[:-1], 24_000)
    with pytest.raises(ValueError, match="mono"):
        measure(s[None], e[None], 24_000)
    with pytest.raises(ValueError, match="finite"):
        measure(s, np.full_like(s, np.nan), 24_000)
    with pytest.raises(ValueError, match="not a metric"):
        measure(s, e, 24_000, which=["beauty"])
    with pytest.raises(Cancelled):
        measure(s, e, 24_000, which=FAST, cancel=lambda: True)
