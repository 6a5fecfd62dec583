"""One contestant of ``mimi-gui bench``, alone in its process: ``python -m mimi_gui.bench_player NAME``.

Reads one JSON object per line, answers each with one line. torch and the contestant are imported here, in functions.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mimi_gui.threads import wait_briefly_then_sleep

OURS = ("mimi_gui", "mimi_gui_frames", "openvino", "openvino_frames")
_FRAMES_PER_ROUND = 25


def clip(duration_s: float, sample_rate: int) -> np.ndarray:
    """Something with the spectrum and the pauses of speech, the same for all. float32 [T]."""
    t = np.arange(round(duration_s * sample_rate)) / sample_rate
    rng = np.random.default_rng(5)
    phase = 2 * np.pi * np.cumsum(140 + 45 * np.sin(2 * np.pi * 0.31 * t)) / sample_rate
    voice = sum(np.sin(h * phase) / h for h in range(1, 20))
    gate = np.clip(np.sin(2 * np.pi * 3.1 * t), 0, None)
    return (0.1 * gate * voice + 0.02 * rng.standard_normal(len(t))).astype(np.float32)


class Contest:
    """The turns of one contestant. ``encode`` and ``decode`` take and give numpy arrays, [K, T] and [samples]."""

    def __init__(self, name: str, job: dict[str, Any]) -> None:
        self.name, self.job = name, job
        self._endless: tuple[Any, Any] | None = None
        loaders: dict[str, Callable[[], None]] = {
            "mimi_gui": self._load_ours,
            "mimi_gui_frames": self._load_ours,
            "openvino": self._load_ours,
            "openvino_frames": self._load_ours,
            "transformers": self._load_transformers,
            "transformers_chunked": self._load_transformers,
            "moshi": self._load_moshi,
            "rustymimi": self._load_rustymimi,
        }
        self.sample_rate, self.frame_size = 24_000, 1_920
        loaders[name]()
        samples = clip(job["duration_s"], self.sample_rate)
        self.samples = np.pad(samples, (0, -len(samples) % self.frame_size))

    def round(self) -> dict[str, Any]:
        """Encode and decode the clip once; frame by frame where that is the contest."""
        if self.name.endswith("_frames"):
            return self._frames()
        duration_s = len(self.samples) / self.sample_rate
        start = time.perf_counter()
        codes = self.encode(self.samples)
        between = time.perf_counter()
        answer: dict[str, Any] = {"encode_x": duration_s / (between - start)}
        sound = np.zeros(0, np.float32)
        if self.name != "transformers_chunked":
            between = time.perf_counter()
            sound = self.decode(codes)
            answer["decode_x"] = duration_s / (time.perf_counter() - between)
        self._keep(codes, sound)
        return answer

    def _frames(self) -> dict[str, Any]:
        encoder, decoder = self.codec.stream_encoder(), self.codec.stream_decoder()
        times, codes, sound = [], [], []
        for start in range(0, min(len(self.samples), _FRAMES_PER_ROUND * self.frame_size), self.frame_size):
            begin = time.perf_counter()
            codes.append(encoder.push(self.samples[start : start + self.frame_size]))
            sound.append(decoder.push(codes[-1]))
            times.append(1000 * (time.perf_counter() - begin))
        self._keep(np.concatenate(codes, axis=1), np.zeros(0, np.float32))
        return {"frame_ms": times}

    def more_frames(self, count: int) -> dict[str, Any]:
        """Go on with one stream that never ends, frame by frame: their times, and the memory there is after them."""
        if self._endless is None:
            self._endless = self.codec.stream_encoder(), self.codec.stream_decoder()
        encoder, decoder = self._endless
        times, round_of = [], len(self.samples) // self.frame_size
        for i in range(encoder.num_frames, encoder.num_frames + count):
            at = i % round_of * self.frame_size
            begin = time.perf_counter()
            decoder.push(encoder.push(self.samples[at : at + self.frame_size]))
            times.append(1000 * (time.perf_counter() - begin))
        return {"frame_ms": times, "rss_mb": rss_mb(), "vram_mb": vram_mb()}

    def _keep(self, codes: np.ndarray, sound: np.ndarray) -> None:
        np.savez(Path(self.job["folder"]) / f"{self.name}.npz", codes=codes, sound=sound)

    def _load_ours(self) -> None:
        from mimi_gui.codec import MimiCodec, tune_process

        tune_process()
        backend = "openvino" if self.name.startswith("openvino") else "torch"
        device = self.job.get("device", "cpu")
        self.codec = MimiCodec.from_pretrained(self.job["model"], device=device, backend=backend)
        self.sample_rate, self.frame_size = self.codec.info.sample_rate, self.codec.info.frame_size
        self.encode = lambda samples: self.codec.encode(samples).array
        self.decode = lambda codes: self.codec.decode(codes)

    def _load_transformers(self) -> None:
        import torch

        from mimi_gui.checkpoints import fetch_checkpoint
        from mimi_gui.weights import load_model

        _float32_throughout()
        device = self.job.get("device", "cpu")
        model: Any = load_model(fetch_checkpoint(self.job["model"])).to(device)
        step = 50 * self.frame_size

        def encode(samples: np.ndarray) -> np.ndarray:
            with torch.inference_mode():
                audio = torch.from_numpy(samples)[None, None].to(device)
                if self.name == "transformers":
                    return model.encode(audio).audio_codes[0].cpu().numpy()
                parts, keys, padding = [], None, None
                for start in range(0, audio.shape[-1], step):
                    out = model.encode(
                        audio[..., start : start + step],
                        encoder_past_key_values=keys,
                        padding_cache=padding,
                        use_streaming=True,
                    )
                    keys, padding = out.encoder_past_key_values, out.padding_cache
                    parts.append(out.audio_codes[0].cpu().numpy())
                return np.concatenate(parts, axis=1)

        def decode(codes: np.ndarray) -> np.ndarray:
            with torch.inference_mode():
                return model.decode(torch.from_numpy(codes)[None].to(device)).audio_values[0, 0].cpu().numpy()

        self.encode, self.decode = encode, decode

    def _load_moshi(self) -> None:
        import torch
        from moshi.models import loaders  # type: ignore[import-not-found]

        _float32_throughout()
        device = self.job.get("device", "cpu")
        model: Any = loaders.get_mimi(self._moshi_file(), device=device, num_codebooks=32)

        def encode(samples: np.ndarray) -> np.ndarray:
            with torch.no_grad():
                return model.encode(torch.from_numpy(samples)[None, None].to(device))[0].cpu().numpy()

        def decode(codes: np.ndarray) -> np.ndarray:
            with torch.no_grad():
                return model.decode(torch.from_numpy(codes)[None].to(device))[0, 0].cpu().numpy()

        self.encode, self.decode = encode, decode

    def _load_rustymimi(self) -> None:
        import rustymimi  # type: ignore[import-not-found]

        tokenizer = rustymimi.Tokenizer(self._moshi_file(), num_codebooks=32)  # type: ignore[call-arg]
        self.encode = lambda samples: tokenizer.encode(samples[None, None])[0].astype(np.int64)
        self.decode = lambda codes: tokenizer.decode(codes[None].astype(np.uint32))[0, 0]

    def _moshi_file(self) -> str:
        path = self.job.get("moshi_file", "")
        if not path:
            raise ValueError("these weights cannot be written in Kyutai's layout")
        return path


def _float32_throughout() -> None:
    """No TF32 in this process, as in ours: torch's default lets convolutions on CUDA use it, and the tokens change."""
    import torch

    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False


def ceiling_gflops(device: str = "cpu") -> float:
    """The best float32 matrix product on this machine, now; on the CPU with torch's own number of threads."""
    import torch

    size = 1536 if device == "cpu" else 8192
    a, b = torch.randn(size, size, device=device), torch.randn(size, size, device=device)
    products = [lambda: torch.mm(a, b)]
    if device == "cpu" and hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        products.append(lambda: torch.ops.mkldnn._linear_pointwise(a, b, None, "none", [], ""))
    best = float("inf")
    with torch.inference_mode():
        for product in products:
            for _ in range(12):
                start = time.perf_counter()
                product()
                if device != "cpu":
                    torch.cuda.synchronize(device)
                best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best / 1e9


def vram_mb() -> float:
    """Most memory that torch ever held on the GPUs together, in MB; 0.0 without one."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return 0.0
    return sum(torch.cuda.max_memory_reserved(i) for i in range(torch.cuda.device_count())) / 1e6


def rss_mb() -> float:
    """Memory this process holds now, in MB; 0.0 where the system does not say."""
    return _status_mb("VmRSS")


def _status_mb(field: str) -> float:
    status = Path("/proc/self/status")
    if not status.exists():
        return 0.0
    fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
    return int(fields[field].split()[0]) * 1024 / 1e6


def peak_rss_mb() -> float:
    """Most memory this process ever held, in MB; 0.0 where the system does not say."""
    if peak := _status_mb("VmHWM"):  # Linux: getrusage would inherit the peak of the process that started this one
        return peak
    try:
        import resource
    except ImportError:
        return 0.0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e3)


def main() -> None:
    """Answer until the input ends."""
    if sys.argv[1] in OURS:  # as in all processes of ours, before torch is loaded
        wait_briefly_then_sleep()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is not an answer
    contest: Contest | None = None
    for line in sys.stdin:
        job = json.loads(line)
        try:
            if job["do"] == "load":
                contest, answer = Contest(sys.argv[1], job), {}
            elif job["do"] == "ceiling":
                answer = {"gflops": ceiling_gflops(job.get("device", "cpu"))}
            elif job["do"] == "memory":
                answer = {"peak_rss_mb": peak_rss_mb(), "peak_vram_mb": vram_mb()}
            elif job["do"] == "work":
                assert contest is not None
                answer = {"gflop_per_s": contest.codec._open().work()}
            elif job["do"] == "frames":
                assert contest is not None
                answer = contest.more_frames(job["count"])
            else:
                assert contest is not None
                answer = contest.round()
        except Exception as error:  # noqa: BLE001 - another's library may raise anything; it is reported in the table
            answer = {"error": f"{type(error).__name__}: {error}".splitlines()[0][:200]}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
