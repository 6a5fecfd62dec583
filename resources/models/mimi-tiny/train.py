"""Train mimi-tiny: ``python train.py DATA_FOLDER --out RUN_FOLDER [--resume]``.

It starts from a codec on paper (``analytic.py``) with k-means codebooks, level by level. Then the quantised codec is
trained with straight-through gradients, EMA codebooks and quantizer dropout, and with an adversary at last, where
``--adversarial-steps`` asks for it. The learning rate warms up, stays, and falls to zero over the last part; the
codebooks are then fitted once more, to the averaged weights. The run folder holds ``checkpoint.pt`` (everything, for
``--resume``), ``log.jsonl`` and ``model/`` (what ships).
"""

from __future__ import annotations

import argparse
import copy
import ctypes
import json
import os
import sys
import time
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

# Without these two, glibc returns every large tensor to the system and page faults eat half of the time.
if sys.platform == "linux":
    _libc = ctypes.CDLL("libc.so.6")
    _libc.mallopt(-4, 0)  # M_MMAP_MAX
    _libc.mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD

import numpy as np
import torch
from codec import TrainableCodec, export, small_config
from corpus import SAMPLE_RATE_HZ, Corpus
from losses import RESOLUTIONS, Adversary, EnvelopeLoss, LowBandLoss, SpectralLoss
from torch import Tensor

FRAME_SAMPLES = 1920
# (share of the steps, batch size, frames): 5.8 s of audio a step, or 11.5 s. The long ones teach the transformers,
# whose window is 10 s, what a long past looks like.
SHAPES = ((0.73, 3, 24), (0.2, 1, 72), (0.07, 1, 144))
VECTORS_PER_STEP = 77
WEIGHTS = {
    "mel": 1.0,
    "convergence": 0.2,
    "log_magnitude": 0.4,
    "envelope": 3.0,
    "low_band": 0.6,  # the waveform itself: what makes the deep codebooks worth something
    "commitment": 0.25,
}
NUM_LATENTS, KMEANS_ITERATIONS = 100_000, 2
PAPER_SEGMENTS = 80  # of 96 frames: what the codec on paper is fitted to
ADVERSARIAL_WEIGHT, MATCHING_WEIGHT = 0.1, 0.6
JUDGE_FACTOR = 20.0  # the judges start from nothing, the codec does not
HALF = False
ENCODER_FACTOR = 0.25
CLIP_NORM = 3.0


@dataclass(frozen=True)
class Plan:
    """When what happens, in steps."""

    steps: int
    adversarial_steps: int
    decay_steps: int
    warmup_steps: int = 100
    peak_rate: float = 3e-5

    def rate(self, step: int) -> float:
        """Return the learning rate: linear warm-up, plateau, linear decay to almost nothing at the end."""
        rate = self.peak_rate * min(1.0, (step + 1) / self.warmup_steps)
        return rate * min(1.0, max(0.01, (self.steps - step) / self.decay_steps))

    def phase(self, step: int) -> str:
        """Name the phase that ``step`` is in."""
        return "adversarial" if step >= self.steps - self.adversarial_steps else "quantised"


class Trainer:
    """Model, optimisers, averaged weights and the position in the plan; all of it in one checkpoint."""

    def __init__(self, corpus: Corpus, plan: Plan, out: Path, seed: int, device: str) -> None:
        """Build everything at step 0; ``load`` replaces it by a checkpoint."""
        torch.manual_seed(seed)
        self.corpus, self.plan, self.out, self.seed, self.device = corpus, plan, out, seed, torch.device(device)
        self.step = 0
        self.seconds = 0.0
        self.half = HALF
        self.codec = TrainableCodec(small_config())
        self.codec.to(self.device).train()
        self.spectral, self.envelope = SpectralLoss().to(self.device), EnvelopeLoss().to(self.device)
        self.low_band = LowBandLoss().to(self.device)
        self.adversary = Adversary().to(self.device)
        # fused: one pass over the parameters instead of a dozen
        options = {"lr": 1e-3, "betas": (0.9, 0.99), "weight_decay": 0.0, "fused": True}
        self.optimizer = torch.optim.AdamW(parameter_groups(self.codec.model), **options)
        self.judge_optimizer = torch.optim.AdamW(self.adversary.parameters(), **options)

    def start(self) -> None:
        """Step 0: the codec on paper and its codebooks."""
        rng = np.random.default_rng([self.seed, 1])
        speech = self.corpus.batch(rng, PAPER_SEGMENTS, 96 * FRAME_SAMPLES, level_only=True)
        missed = self.codec.write_paper_codec(torch.from_numpy(speech))
        self.averaged = copy.deepcopy(self.codec.model).requires_grad_(False)
        stacked = self.collect_latents(self.codec, NUM_LATENTS)
        self.codec.train()
        left = self.codec.fit_codebooks(stacked, VECTORS_PER_STEP, KMEANS_ITERATIONS, self.seed)
        self.log({"missed": round(missed, 4), "latents": len(stacked), "left": [round(value, 4) for value in left]})

    # -- one step ----------------------------------------------------------------------------------------------

    def train_step(self) -> dict[str, float]:
        """Make one step; return its losses."""
        step, plan = self.step, self.plan
        phase = plan.phase(step)
        rng = np.random.default_rng([self.seed, step])
        torch.manual_seed(self.seed * 1_000_003 + step)
        batch_size, frames = draw_shape(rng)
        target = self._batch(rng, batch_size, frames)
        counts = torch.from_numpy(draw_counts(rng, batch_size)).to(self.device)
        rate = plan.rate(step)
        with self._autocast():
            result = self.codec(target, counts)
        output = result["output"]
        # two of the four resolutions a step, drawn anew: the same gradient on average for half of the time
        windows = rng.choice(list(RESOLUTIONS), 2, replace=False).tolist()
        terms = {**self.spectral(output, target, windows), "envelope": self.envelope(output, target)}
        terms.update(low_band=self.low_band(output, target, counts), commitment=result["commitment"])
        loss = sum(WEIGHTS[name] * term for name, term in terms.items())
        if phase == "adversarial":
            loss = loss + self._adversarial(terms, output, target, rate)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["factor"]
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.codec.model.parameters(), CLIP_NORM)
        if torch.isfinite(norm):
            self.optimizer.step()
        self._average()
        self.step += 1
        if self.step % 5 == 0:
            revive = self.step % 50 == 0 and self.step < plan.steps - plan.decay_steps // 3
            generator = torch.Generator().manual_seed(step)
            terms["revived"] = torch.tensor(float(self.codec.refresh_codebooks(target, generator, revive)))
        values = {"loss": loss, "norm": norm, **terms}
        return {name: float(value.detach()) for name, value in values.items()}

    def _batch(self, rng: np.random.Generator, batch_size: int, frames: int) -> Tensor:
        return torch.from_numpy(self.corpus.batch(rng, batch_size, frames * FRAME_SAMPLES)).to(self.device)

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.half)

    def _adversarial(self, terms: dict[str, Tensor], output: Tensor, target: Tensor, rate: float) -> Tensor:
        """Train the judges on one 1.9 s part of every example, and return their weighted opinion of the codec."""
        frames = min(24, output.shape[1] // FRAME_SAMPLES)
        # two thirds of the shortest examples: the judges cost as much as the codec
        some = slice(0, max(1, len(output) * 2 // 3))
        output, target = output[some, -frames * FRAME_SAMPLES :], target[some, -frames * FRAME_SAMPLES :]
        with self._autocast():
            judged = self.adversary.discriminator_loss(output, target)
        self.judge_optimizer.param_groups[0]["lr"] = JUDGE_FACTOR * rate
        self.judge_optimizer.zero_grad(set_to_none=True)
        judged.backward()
        self.judge_optimizer.step()
        for parameter in self.adversary.parameters():
            parameter.requires_grad_(False)
        with self._autocast():
            fooling, matching = self.adversary.generator_losses(output, target)
        for parameter in self.adversary.parameters():
            parameter.requires_grad_(True)
        terms.update(judged=judged.detach(), fooling=fooling, matching=matching)
        # the judges must know something before they are listened to
        since = self.step - (self.plan.steps - self.plan.adversarial_steps)
        trust = min(1.0, since / 100)
        return trust * (ADVERSARIAL_WEIGHT * fooling + MATCHING_WEIGHT * matching)

    @torch.no_grad()
    def _average(self) -> None:
        """Exponential moving average of the weights: half of the benefit of a decayed learning rate, at any time."""
        decay = min(0.998, (self.step + 1) / (self.step + 10))
        ours = list(self.averaged.parameters())
        torch._foreach_lerp_(ours, [p.detach() for p in self.codec.model.parameters()], 1.0 - decay)

    @torch.no_grad()
    def collect_latents(self, codec: TrainableCodec, num_latents: int) -> Tensor:
        """Latents of fresh speech, at least ``num_latents``, ``[N, hidden]``."""
        rng = np.random.default_rng([self.seed, 2])
        codec.eval()
        latents: list[Tensor] = []
        for _ in range(-(-num_latents // 576)):
            samples = torch.from_numpy(self.corpus.batch(rng, 4, 144 * FRAME_SAMPLES, level_only=True))
            with self._autocast():
                latents.append(codec.latents(samples.to(self.device)).permute(0, 2, 1).flatten(0, 1))
        return torch.cat(latents)

    # -- state -------------------------------------------------------------------------------------------------

    def save(self) -> None:
        """Write ``checkpoint.pt`` beside itself and rename it."""
        state = {
            "step": self.step,
            "seconds": self.seconds,
            "codec": self.codec.state_dict(),
            "averaged": self.averaged.state_dict(),
            "adversary": self.adversary.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "judge_optimizer": self.judge_optimizer.state_dict(),
        }
        temporary = self.out / "checkpoint.pt.new"
        torch.save(state, temporary)
        os.replace(temporary, self.out / "checkpoint.pt")

    def load(self) -> None:
        """Go on from ``checkpoint.pt``."""
        state = torch.load(self.out / "checkpoint.pt", map_location=self.device, weights_only=True)
        self.step, self.seconds = state["step"], state["seconds"]
        self.codec.prepare()
        self.codec.load_state_dict(state["codec"])
        self.averaged = copy.deepcopy(self.codec.model).requires_grad_(False)
        self.averaged.load_state_dict(state["averaged"])
        self.adversary.load_state_dict(state["adversary"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.judge_optimizer.load_state_dict(state["judge_optimizer"])

    def shippable(self) -> TrainableCodec:
        """Return the averaged weights with the codebooks of this moment, in evaluation mode."""
        codec = copy.deepcopy(self.codec)
        codec.model.load_state_dict(self.averaged.state_dict())
        return codec.eval()

    def log(self, entry: dict[str, object]) -> None:
        """Append one line to ``log.jsonl`` and show it."""
        entry = {"step": self.step, "seconds": round(self.seconds), **entry}
        with (self.out / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
        print(json.dumps(entry), flush=True)

    @torch.no_grad()
    def validate(
        self, codec: TrainableCodec | None = None, num_clips: int = 8, clip_s: float = 5.0
    ) -> dict[str, float]:
        """STOI of ``codec`` (the averaged weights) on unseen speakers, and the mel loss, per number of codebooks."""
        from pystoi import stoi

        clips = self.corpus.validation[:: max(1, len(self.corpus.validation) // num_clips)][:num_clips]
        if not clips:
            return {}
        length = int(clip_s * SAMPLE_RATE_HZ) // FRAME_SAMPLES * FRAME_SAMPLES
        batch = np.stack([np.pad(c[:length], (0, max(0, length - len(c)))) for c in clips]).astype(np.float32) / 32768
        target = torch.from_numpy(batch).to(self.device)
        codec = codec or self.shippable()
        scores: dict[str, float] = {}
        for count in (1, 4, 8, 16, 32):
            with self._autocast():
                output = codec(target, torch.full((len(batch),), count, device=self.device))["output"]
            values = [stoi(a, b, SAMPLE_RATE_HZ) for a, b in zip(batch, output.cpu().numpy(), strict=True)]
            scores[f"stoi_{count}"] = round(float(np.mean(values)), 4)
            scores[f"mel_{count}"] = round(float(self.spectral(output, target)["mel"]), 4)
        return scores


def parameter_groups(model: torch.nn.Module) -> list[dict[str, object]]:
    """Encoder, and all the rest: the codebooks must be able to follow the encoder."""
    encoder = list(model.encoder.parameters())
    known = {id(parameter) for parameter in encoder}
    others = [parameter for parameter in model.parameters() if id(parameter) not in known]
    return [{"params": encoder, "factor": ENCODER_FACTOR}, {"params": others, "factor": 1.0}]


def draw_shape(rng: np.random.Generator) -> tuple[int, int]:
    """Batch size and frames of a step."""
    draw = rng.random()
    for share, batch_size, frames in SHAPES[:-1]:
        if draw < share:
            return batch_size, frames
        draw -= share
    return SHAPES[-1][1:]


def draw_counts(rng: np.random.Generator, batch_size: int) -> np.ndarray:
    """Quantizer dropout: how many codebooks each example is decoded from, int64 ``[B]``."""
    counts = np.empty(batch_size, dtype=np.int64)
    for i in range(batch_size):
        draw = rng.random()
        if draw < 0.4:
            counts[i] = 32
        elif draw < 0.75:
            counts[i] = rng.choice([1, 2, 4, 8, 16])
        else:
            counts[i] = rng.integers(1, 33)
    return counts


def main() -> None:
    """Run the plan from the start or from a checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder with recordings of speech")
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoint, log and exported model")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=1150, help="length of the whole run")
    parser.add_argument("--adversarial-steps", type=int, default=0, help="the last ones, with an adversary")
    parser.add_argument("--decay-steps", type=int, default=500)
    parser.add_argument("--peak-rate", type=float, default=3e-5)
    parser.add_argument("--stop-after", type=int, help="leave the plan at this step (to test, or to pause)")
    parser.add_argument("--checkpoint-every", type=int, default=200, help="steps between checkpoints")
    parser.add_argument("--validate-every", type=int, default=500)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()

    torch.set_num_threads(options.threads)
    warnings.filterwarnings("ignore", message="Not enough STFT frames")
    options.out.mkdir(parents=True, exist_ok=True)
    plan = Plan(
        options.steps,
        options.adversarial_steps,
        options.decay_steps,
        peak_rate=options.peak_rate,
    )
    corpus = Corpus(options.data)
    minutes = corpus.num_samples / SAMPLE_RATE_HZ / 60
    print(f"{len(corpus.clips)} clips, {minutes:.0f} min; {len(corpus.validation)} for validation", flush=True)
    trainer = Trainer(corpus, plan, options.out, options.seed, options.device)
    if options.resume and (options.out / "checkpoint.pt").exists():
        trainer.load()
    else:
        trainer.start()
        trainer.save()
        trainer.log(trainer.validate())

    history: list[dict[str, float]] = []
    while trainer.step < min(trainer.plan.steps, options.stop_after or trainer.plan.steps):
        started = time.perf_counter()
        history.append(trainer.train_step())
        trainer.seconds += time.perf_counter() - started
        if trainer.step % 50 == 0 and (options.out / "plan.json").exists():
            # a plan can be made shorter or longer while it runs, where the machine is shared
            changes = json.loads((options.out / "plan.json").read_text(encoding="utf-8"))
            if changes != {name: getattr(trainer.plan, name) for name in changes}:
                trainer.plan = replace(trainer.plan, **changes)
                trainer.log({"plan": changes})
        if trainer.step % 50 == 0 or trainer.step in (5, 10, 20, 30):
            names = {name: None for entry in history for name in entry}
            means = {n: round(float(np.mean([entry.get(n, 0.0) for entry in history])), 4) for n in names}
            trainer.log({"phase": trainer.plan.phase(trainer.step - 1), **means})
            history.clear()
        if trainer.step % options.validate_every == 0:
            trainer.log(trainer.validate())
        if trainer.step % options.checkpoint_every == 0:
            trainer.save()
    trainer.save()
    trainer.log(trainer.validate())
    codec = trainer.shippable()
    if trainer.step == trainer.plan.steps:
        latents = trainer.collect_latents(codec, NUM_LATENTS)
        codec.fit_codebooks(latents, VECTORS_PER_STEP, 1, trainer.seed)
        trainer.log({"refitted": True, **trainer.validate(codec)})
    codec.fill_model()
    export(codec.model, options.out / "model")
    draw_curve(options.out)


def draw_curve(out: Path) -> None:
    """Draw the log as ``curve.png``, where matplotlib is installed: mel loss, and STOI on unseen speakers."""
    try:
        from matplotlib import pyplot
    except ImportError:
        return
    entries = [json.loads(line) for line in (out / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 3.2), layout="constrained")
    training = [entry for entry in entries if "phase" in entry]
    left.plot([e["step"] for e in training], [e["mel"] for e in training], label="log-mel")
    left.plot([e["step"] for e in training], [e["envelope"] for e in training], label="band envelopes")
    left.set(xlabel="step", ylabel="training loss")
    for count in (32, 8, 4, 1):
        points = [(e["step"], e[f"stoi_{count}"]) for e in entries if f"stoi_{count}" in e]
        right.plot(*zip(*points, strict=True), marker=".", label=f"K={count}")
    right.set(xlabel="step", ylabel="STOI, unseen speakers")
    for axes in (left, right):
        axes.legend()
        axes.grid(alpha=0.3)
    figure.savefig(out / "curve.png", dpi=70)
    pyplot.close(figure)


if __name__ == "__main__":
    main()
