"""The benchmark runs every contestant in a process of its own and compares what they gave."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mimi_gui import bench, bench_player, endurance


def test_ours_and_transformers_side_by_side(tiny_checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    contestants = ("mimi_gui", "mimi_gui_frames", "transformers", "transformers_chunked", "moshi")
    said: list[str] = []
    result = json.loads(
        json.dumps(
            bench.run(str(tiny_checkpoint), duration_s=1.0, repeats=1, contestants=contestants, progress=said.append)
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


def test_many_frames_in_a_process_of_their_own(
    tiny_checkpoint: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # of a network this small, more only wait for each other
    said: list[str] = []
    job = {"model": str(tiny_checkpoint), "duration_s": 2.0, "folder": ""}
    player = bench._Player("mimi_gui_frames", job)
    try:
        player.ask("load")
        figures = endurance.measure(lambda count: player.ask("frames", count=count), said.append, 1_250)
    finally:
        player.close()
    assert player.error == ""
    assert figures["frames"] == figures["asked"] == 1_250
    assert "stopped" not in figures
    assert figures["flat"], figures
    assert figures["early_mb"] > 100
    assert 0 < figures["last"]["median_ms"] <= figures["last"]["p95_ms"]
    assert [line.partition(":")[0] for line in said] == ["frame 500 of 1,250", "frame 1,000 of 1,250"]
    head = {"model": {"name": "m"}, "duration_s": 1.0, "machine": {"cpu": "c"}}
    frames = {"peak_rss_mb": 1.0, "endurance": figures}
    bench.print_table({**head, "contestants": {"mimi_gui_frames": frames}})
    assert "1,250 frames one at a time: memory stayed flat" in capsys.readouterr().out.replace("\n", " ")


def test_the_frames_of_a_long_run_are_one_stream(tiny_checkpoint: Path) -> None:
    contest = bench_player.Contest("mimi_gui_frames", {"model": str(tiny_checkpoint), "duration_s": 1.0, "folder": ""})
    for _ in range(3):
        assert len(contest.more_frames(20)["frame_ms"]) == 20
    assert contest._endless is not None
    assert [stream.num_frames for stream in contest._endless] == [60, 60]
    contest.codec.close()


def test_growth_and_slowness_are_seen() -> None:
    flat = [(count, 500.0, 0.0) for count in range(100, 10_001, 100)]
    leak = [(count, 500.0 + 0.0007 * count, 0.0) for count, _, _ in flat]  # 700 bytes a frame
    on_gpu = [(count, 500.0, 0.0007 * count) for count, _, _ in flat]
    late = [(count, 500.0 + 40.0 * (count > 800), 0.0) for count, _, _ in flat]  # all there by the thousandth
    even = [40.0] * 10_000
    assert endurance.verdict(even, flat, 1_000)["flat"]
    assert endurance.verdict(even, late, 1_000)["flat"]
    assert endurance.verdict(even, late, 1_000)["growth_mb"] == 0.0
    assert not endurance.verdict(even, on_gpu, 1_000)["flat"]
    grown = endurance.verdict(even, leak, 1_000)
    assert not grown["flat"]
    assert grown["growth_mb"] == pytest.approx(6.3)
    assert grown["steady"]
    slow = endurance.verdict([40.0] * 9_000 + [60.0] * 1_000, flat, 1_000)
    assert not slow["steady"]
    assert (slow["first"]["p95_ms"], slow["last"]["p95_ms"]) == (40.0, 60.0)
    hiccups = endurance.verdict([400.0 if i % 1_000 < 40 else 40.0 for i in range(10_000)], flat, 1_000)
    assert hiccups["last"]["p95_ms"] == hiccups["p95_ms"] == 40.0
    words = endurance.sentence({"asked": 10_000, **grown})
    assert "memory GREW, 500.7 MB after 1,000 frames and 507.0 MB after the last" in words
    assert "TOOK LONGER" in endurance.sentence({"asked": 10_000, **slow})


def test_a_stop_keeps_what_was_measured() -> None:
    def after(turns: int) -> dict:
        answers = iter([{"frame_ms": [40.0] * 100, "rss_mb": 500.0, "vram_mb": 0.0}] * turns)

        def ask(count: int) -> dict:
            try:
                return next(answers)
            except StopIteration:
                raise KeyboardInterrupt from None

        return endurance.measure(ask, said.append, 10_000)

    said: list[str] = []
    figures = after(42)
    assert said[-1] == "stopped at frame 4,200 of 10,000"
    assert (figures["frames"], figures["stopped"], figures["flat"]) == (4_200, True, True)
    assert "4,200 frames one at a time (stopped at 4,200 of 10,000 frames)" in endurance.sentence(figures)
    assert "too few to compare" in endurance.sentence(after(3))


def test_a_process_that_dies_is_told() -> None:
    figures = endurance.measure(lambda count: {"error": "its process died"}, lambda words: None)
    assert endurance.sentence(figures) == "The long run ended early: its process died"
