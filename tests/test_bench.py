"""The benchmark runs every contestant in a process of its own and compares what they gave."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mimi_gui import bench, bench_player


def test_ours_and_transformers_side_by_side(tiny_checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    contestants = ("mimi_gui", "mimi_gui_frames", "transformers", "transformers_chunked", "moshi")
    said: list[str] = []
    result = json.loads(
        json.dumps(
            bench.run(
                str(tiny_checkpoint), duration_s=1.0, repeats=1, contestants=contestants, progress=said.append
            )
        )
    )
    figures = result["contestants"]
    assert set(figures) >= {"mimi_gui", "mimi_gui_frames", "transformers", "transformers_chunked"}
    for name in ("mimi_gui", "transformers"):
        assert figures[name]["encode_x"] > 0
        assert figures[name]["decode_x"] > 0
        assert figures[name]["tokens_equal"] > 0.95
        assert figures[name]["decode_error"] < 1e-5
    assert figures["transformers_chunked"]["tokens_equal"] > 0.95
    assert figures["mimi_gui_frames"]["frame_ms"]["median"] <= figures["mimi_gui_frames"]["frame_ms"]["p95"]
    assert figures["mimi_gui"]["peak_rss_mb"] > 100
    assert result["ceiling_gflops"] > 1
    encoding, decoding = result["gflop_per_s"]
    assert figures["mimi_gui"]["encode_ceiling"] == pytest.approx(
        figures["mimi_gui"]["encode_x"] * encoding / result["ceiling_gflops"]
    )
    assert 0 < figures["transformers"]["decode_ceiling"] < 1
    assert 0 < decoding < encoding
    assert said
    bench.print_table(result)
    assert "Mimi GUI" in capsys.readouterr().out


def test_endurance_tells_how_memory_and_time_went(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench_player, "_FRAMES_OF_ENDURANCE", 400)
    contest = bench_player.Contest("mimi_gui_frames", {"model": str(tiny_checkpoint), "duration_s": 2.0, "folder": ""})
    figures = contest.endurance()
    contest.codec.close()
    assert figures["frames"] == 400
    assert figures["growth_mb"] < 5
    assert 0 < figures["last_ms"] <= figures["p95_ms"] * 2
    head = {"model": {"name": "m"}, "duration_s": 1.0, "machine": {"cpu": "c"}}
    frames = {"peak_rss_mb": 1.0, "endurance": figures}
    bench.print_table({**head, "contestants": {"mimi_gui_frames": frames}})
    assert "400 frames one at a time: memory grew by" in capsys.readouterr().out.replace("\n", " ")
