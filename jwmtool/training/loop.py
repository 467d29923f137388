"""The training loop: AdamW on a task's loss until the budget is spent, resumable at any step."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from jwmtool import console
from jwmtool.artifacts.atomic import atomic_file
from jwmtool.artifacts.images import write_png
from jwmtool.artifacts.weights import load_weights, read_metadata, weights_file, write_weights
from jwmtool.console import Progress
from jwmtool.errors import JwmError, OutputExistsError, UsageError
from jwmtool.interrupt import stop_between_steps
from jwmtool.training.checkpoint import BEST, LAST, latest_state, read_state, write_state
from jwmtool.training.distributed import Ranks, joined, shard
from jwmtool.training.log import RunLog
from jwmtool.training.run import Run, TrainResult
from jwmtool.training.settings import TrainSettings, write_settings
from jwmtool.training.state import BUILD, EVALUATE, TRAIN, Counters, TrainState, seed_everything
from jwmtool.training.task import Task

SETTINGS, SHEETS = "settings.json", "sheets"


def train(task: Task, settings: TrainSettings, run: Run) -> TrainResult:
    """Train a model; alone, or under torchrun with the others.

    With `max_steps`, on a CPU, the same number of threads and ranks gives the same weights bit for bit, killed and
    resumed or not. Which evaluation is best depends on when evaluations fell.

    Raises:
        UsageError: the run makes no sense (`Run`), the batch does not divide among the ranks, nothing to resume.
        OutputExistsError: the folder holds a training already.
        InputError: the state or the weights to start from do not fit.
        JwmError: too many steps in a row without a finite loss, or the data ended.
    """
    started = time.monotonic()
    if not run.resume and latest_state(run.folder) is not None:
        raise OutputExistsError(run.folder)
    with joined(run.device) as ranks:
        return _Loop(task, settings, run, ranks, started).run()


class _Loop:
    def __init__(self, task: Task, settings: TrainSettings, run: Run, ranks: Ranks, started: float) -> None:
        if settings.batch % ranks.world_size:
            raise UsageError(f"training: a batch of {settings.batch} does not divide among {ranks.world_size} ranks")
        self.task, self.settings, self.to, self.ranks = task, settings, run, ranks
        seed_everything(settings, BUILD)
        model = task.build()
        if run.init is not None:
            load_weights(model, weights_file(run.init))
        model.to(ranks.device).train()
        shard(model, ranks)
        self.state = TrainState(model, settings)
        if run.resume:
            read_state(run.folder, self.state, task.name, ranks)
            console.detail(f"resumed at step {self.counters.step}, {self.counters.elapsed_s:.0f} s used")
        self.started = started - self.counters.elapsed_s
        self.bf16 = settings.precision == "bf16" and ranks.device.type == "cuda"
        if settings.precision == "bf16" and not self.bf16:
            console.notice("bf16 is for CUDA; training in fp32")
        self.best = self._best_before(run.folder / BEST) if run.resume else None
        self.recent: list[dict[str, float]] = []  # steps since the last line of the log
        self.loss = math.nan  # smoothed, for the eye
        self.rate = 0.0
        self.line_at = (time.monotonic(), self.counters.step)
        self.log: RunLog | None = None

    @property
    def counters(self) -> Counters:
        return self.state.counters

    @property
    def progress(self) -> float:
        """Share of the run that is over; decides the learning rate."""
        if self.to.max_steps is not None:
            return self.counters.step / self.to.max_steps
        return self.counters.elapsed_s / (self.to.budget_s or math.inf)

    def run(self) -> TrainResult:
        folder, ranks = self.to.folder, self.ranks
        if ranks.is_main:
            if not self.to.resume:
                (folder / BEST).unlink(missing_ok=True)
            self.log = RunLog(folder, self.counters.step if self.to.resume else -1)
            write_settings(folder / SETTINGS, self.settings)
        try:
            # torchrun passes on the signal that the terminal has sent already, so the second one is no second wish.
            with stop_between_steps(second_stops=ranks.world_size == 1) as asked_to_stop:
                with console.progress(f"training {self.task.name}", 1.0) as bar:
                    finished = self._steps(bar, asked_to_stop)
                if finished and self.counters.evaluated_step != self.counters.step:
                    self._evaluate()
                if self.recent:
                    self._write_line()
                write_state(folder, self.state, self.task.name, ranks)
                self._write_weights(folder / LAST)
        finally:
            if self.log is not None:
                self.log.close()
        counters = self.counters
        return TrainResult(finished, counters.step, counters.skipped, dict(counters.held_out), self.best)

    def _steps(self, bar: Progress, asked_to_stop: Callable[[], bool]) -> bool:
        """Train; returns whether the run came to its end."""
        counters, settings, ranks = self.counters, self.settings, self.ranks
        size = settings.batch // ranks.world_size
        batches = self.task.batches(counters.samples, size, ranks.rank, ranks.world_size)
        if counters.evaluated_step < 0:
            self._evaluate()  # what the first weights score is what all later figures stand beside
        while True:
            # One rank's clock and signals must not send ranks different ways.
            counters.elapsed_s, stop = ranks.largest([time.monotonic() - self.started, float(asked_to_stop())])
            if stop:
                return False
            if self.progress >= 1.0 or counters.elapsed_s >= (self.to.budget_s or math.inf):
                return True
            if counters.elapsed_s - counters.evaluated_at_s >= settings.eval_every_s and self._moved:
                self._evaluate()
                continue  # look again at the clock
            if counters.elapsed_s - counters.saved_at_s >= settings.save_every_s and counters.step:
                write_state(self.to.folder, self.state, self.task.name, ranks)
            try:
                batch = next(batches)
            except StopIteration:
                raise JwmError(f"training: the data ended after {counters.samples} samples") from None
            self._step(batch)
            bar.update(min(1.0, self.progress), self._note())

    @property
    def _moved(self) -> bool:
        return self.counters.evaluated_step != self.counters.step

    def _step(self, batch: Any) -> None:
        counters, settings = self.counters, self.settings
        generator = seed_everything(settings, TRAIN, counters.step, self.ranks.rank)
        with self._autocast():
            loss, terms = self.task.loss(self.state.model, _moved_to(batch, self.ranks.device), generator)
        loss.backward()
        value = self.ranks.mean(float(loss.detach()))
        lr = settings.learning_rate(counters.step, self.progress)
        norm = self.state.apply_gradients(value, lr)
        counters.samples += settings.batch
        if counters.skipped_in_a_row >= settings.max_bad_steps:
            raise JwmError(
                f"training: no finite loss and gradient in {settings.max_bad_steps} steps in a row, up to step "
                f"{counters.step} (loss {value}, gradient {norm}); a lower lr or another seed may help"
            )
        if math.isfinite(value):
            self.loss = value if math.isnan(self.loss) else 0.95 * self.loss + 0.05 * value
        plain = {name: float(term.detach()) if isinstance(term, Tensor) else term for name, term in terms.items()}
        self.recent.append({"loss": value, **plain, "grad_norm": norm, "lr": lr})
        if counters.step % settings.log_every == 0:
            self._write_line()

    def _write_line(self) -> None:
        """Log the means of the steps since the last line; a term that some steps lack is averaged over the others."""
        now, step = time.monotonic(), self.counters.step
        self.rate = (step - self.line_at[1]) / max(now - self.line_at[0], 1e-9)
        self.line_at = (now, step)
        names = dict.fromkeys(name for values in self.recent for name in values)
        means = {}
        for name in names:
            values = [step_values[name] for step_values in self.recent if name in step_values]
            means[name] = sum(values) / len(values)
        self.recent = []
        if self.log is not None:
            extra = {"elapsed_s": self.counters.elapsed_s, "samples": self.counters.samples}
            extra |= {"steps_per_s": self.rate, "skipped": self.counters.skipped}
            self.log.write("train", step, {**means, **extra})

    def _evaluate(self) -> None:
        """Score the averaged weights; keep them if they are the best so far."""
        counters, task = self.counters, self.task
        seed_everything(self.settings, EVALUATE, rank=self.ranks.rank)
        with self.state.with_averaged() as model, torch.no_grad(), self._autocast():
            scores = {name: float(value) for name, value in task.evaluate(model).items()}
            picture = task.sheet(model)
        if task.headline not in scores:
            raise ValueError(f"{task.name}: evaluate gave {sorted(scores)}, without its headline {task.headline}")
        counters.held_out = scores
        counters.evaluated_step, counters.evaluated_at_s = counters.step, counters.elapsed_s
        # Under torchrun rank 0's figure decides for all.
        headline = float(self.ranks.from_main(repr(scores[task.headline])))
        sign = 1.0 if task.higher_is_better else -1.0
        if math.isfinite(headline) and (self.best is None or sign * headline > sign * self.best):
            self.best = headline
            self._write_weights(self.to.folder / BEST)
        if self.log is not None:
            self.log.write("held_out", counters.step, {**scores, "elapsed_s": counters.elapsed_s})
            console.detail(f"step {counters.step}: {', '.join(f'{k} {v:.4g}' for k, v in scores.items())}")
            if picture is not None:
                with atomic_file(self.to.folder / SHEETS / f"{counters.step:09d}.png", force=True) as temporary:
                    write_png(temporary, picture)

    def _write_weights(self, path: Path) -> None:
        tensors = self.state.averaged_weights()  # all ranks take part
        if self.ranks.is_main:
            counters = self.counters
            metadata = {
                **getattr(self.task, "told", {}),
                "task": self.task.name,
                "config": dict(self.task.config),
                "settings": self.settings.to_dict(),
                "step": counters.step,
                "samples": counters.samples,
                "headline": self.task.headline,
                "evaluated_step": counters.evaluated_step,
                # A score that is not finite is no JSON.
                "held_out": {name: value for name, value in counters.held_out.items() if math.isfinite(value)},
            }
            write_weights(path, tensors, metadata, force=True)

    def _best_before(self, path: Path) -> float | None:
        """The file knows better than the state, which may be older."""
        value = read_metadata(path).get("held_out", {}).get(self.task.headline) if path.exists() else None
        shared = self.ranks.from_main(json.dumps(value))
        return json.loads(shared)

    def _autocast(self) -> Any:
        return torch.autocast("cuda", torch.bfloat16) if self.bf16 else nullcontext()

    def _note(self) -> str:
        held_out = self.counters.held_out.get(self.task.headline, math.nan)
        rate = f", {self.rate:.2f} steps/s" if self.rate else ""
        return f"step {self.counters.step}, loss {self.loss:.4g}, {self.task.headline} {held_out:.4g}{rate}"


def _moved_to(batch: Any, device: torch.device) -> Any:
    """Tensors in dicts, lists and tuples on the device; anything else as it is."""
    if isinstance(batch, Tensor):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, dict):
        return {key: _moved_to(value, device) for key, value in batch.items()}
    if isinstance(batch, (list, tuple)):
        values = [_moved_to(value, device) for value in batch]
        return type(batch)(*values) if hasattr(batch, "_fields") else type(batch)(values)  # a NamedTuple has fields
    return batch
