"""A run of fine-tuning: from weights and images to a trained classifier, resumable at any step."""

import contextlib
import dataclasses
import logging
import math
import pathlib
import re
import time
from collections.abc import Callable, Generator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from tqdm import tqdm

from dino_jax.config import UserError
from dino_jax.data.randaugment import parse_policy
from dino_jax.data.supervised import Augmentation, Batch, Repeated, supervised_batches
from dino_jax.evals.classes import Labelled
from dino_jax.evals.finetune.metrics import Metrics
from dino_jax.evals.finetune.network import network_of
from dino_jax.evals.finetune.recipe import NONE, Recipe
from dino_jax.evals.finetune.records import CONTENT, Curve, check_asked
from dino_jax.evals.finetune.score import Hits, Scorer
from dino_jax.evals.finetune.step import Training, TuneState, init_state, make_step
from dino_jax.evals.protocol import percent
from dino_jax.files import claimed
from dino_jax.interop.checkpoint import Checkpoints
from dino_jax.interop.encoder import DTYPES, Encoder
from dino_jax.interop.infer import configs_of
from dino_jax.interop.strict import narrow
from dino_jax.interrupt import Interrupted, interruptible
from dino_jax.models.classifier import build_classifier
from dino_jax.types import HostBatch

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Every:
    """Epochs between scores and checkpoints, steps between lines, and how a step is worked off."""

    eval_every: float = 1.0
    save_every: float = 1.0
    log_every: int = 10
    threads: int | None = None
    accumulate: int = 1

    def __post_init__(self) -> None:
        """Refuse what is no interval."""
        for name, value in dataclasses.asdict(self).items():
            if value is not None and not value > 0:
                raise UserError(f"--{name.replace('_', '-')}={value}: expected more than 0")


class Tuned(NamedTuple):
    """A trained classifier, what it scores, and where it lies."""

    state: TuneState
    hits: dict[str, Hits]
    """Of the weights, and of their `average` where there is one."""
    folder: pathlib.Path
    steps: int


def folder_of(out: pathlib.Path, encoder: Encoder) -> pathlib.Path:
    """Where the run of these weights lies: a folder of its own for each."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", encoder.name).strip("-.")[-60:]
    return out / f"finetune-{name}-{encoder.identity[:8]}"


class Run:
    """One run, put together; `train` goes on from its newest checkpoint."""

    def __init__(
        self,
        encoder: Encoder,
        data: Labelled,
        recipe: Recipe,
        *,
        folder: pathlib.Path,
        mesh: Mesh,
        seed: int,
        every: Every,
    ) -> None:
        """Build everything and check it; nothing is trained yet.

        Raises:
            UserError: what cannot be trained, or another run lies in the folder.
        """
        self.encoder, self.data, self.recipe = encoder, data, recipe
        self.folder, self.mesh, self.seed, self.every = folder, mesh, seed, every
        if recipe.batch_size % (mesh.size * every.accumulate):
            raise UserError(
                f"--batch-size={recipe.batch_size} is not divisible by {mesh.size} devices times "
                f"--accumulate={every.accumulate}: choose a multiple"
            )
        self.order = Repeated(
            len(data.train), recipe.batch_size,
            seed=seed, repeats=recipe.repeats, groups=recipe.groups,
        )  # fmt: skip
        per_epoch = self.order.steps_per_epoch
        self.steps = max(1, round(recipe.epochs * per_epoch))
        self.network = network_of(encoder)
        self.training = self._training(min(round(recipe.warmup_epochs * per_epoch), self.steps))
        self.score = Scorer(
            self.training.classifier, encoder, data.val, data.val_labels,
            mesh=mesh, batch_size=_scored_at_once(recipe.batch_size, mesh),
        )  # fmt: skip
        self.content = data.train.content_key()
        folder.mkdir(parents=True, exist_ok=True)
        check_asked(folder, self.asked())

    def _training(self, warmup_steps: int) -> Training:
        classifier = build_classifier(
            configs_of(self.network)[0],
            classes=len(self.data.classes),
            image_size=self.encoder.size,
            dtype=DTYPES[self.encoder.precision],
            drop_path=self.recipe.drop_path,
        )
        mean, std = tuple(self.encoder.mean), tuple(self.encoder.std)
        return Training(
            classifier, self.recipe, self.steps, warmup_steps, self.seed, mean, std,
            self.every.accumulate,
        )  # fmt: skip

    def asked(self) -> dict[str, Any]:
        """What a continuation must agree with."""
        told = {"weights": self.encoder.identity, "size": self.encoder.size, "seed": self.seed}
        told |= {"images": len(self.data.train), "classes": list(self.data.classes)}
        told |= {"mean": list(self.encoder.mean), "std": list(self.encoder.std)}
        told |= {CONTENT: self.content, "accumulate": self.every.accumulate}
        return told | dataclasses.asdict(self.recipe)

    def start(self) -> TuneState:
        """The state before the first step, on every device of the mesh."""
        head = self.training.classifier.fresh_head(
            jax.random.key(self.seed), self.recipe.head_scale
        )
        params = {k: jnp.asarray(v) for k, v in self.network.params.items()}
        stats = {k: jnp.asarray(v) for k, v in narrow(self.network.stats).items()}
        state = init_state(self.training, params | head, stats)
        return jax.device_put(state, NamedSharding(self.mesh, PartitionSpec()))

    def train(self) -> Tuned:
        """Train to the end from wherever the folder says that the run is, and score it.

        Raises:
            Interrupted: a signal came; the state is saved.
            UserError: a checkpoint that cannot be read, or weights that diverged.
        """
        with contextlib.ExitStack() as stack:
            stack.enter_context(claimed(self.folder))
            checkpoints = Checkpoints(self.folder / "state", config={})
            stack.callback(checkpoints.close)
            state = self.start()
            if checkpoints.latest is not None:
                state = checkpoints.restore(state)
                log.info("going on after step %d of %d", int(state.step), self.steps)
            if (done := int(state.step)) < self.steps:
                stop = stack.enter_context(interruptible())
                curve = Curve(self.folder, resumed_at=done)
                state = self._loop(state, checkpoints, curve, stop)
                if int(state.step) < self.steps:
                    checkpoints.wait()
                    raise Interrupted(str(self.folder))
        return Tuned(state, self._hits(state), self.folder, self.steps)

    def _loop(
        self, state: TuneState, checkpoints: Checkpoints, curve: Curve, stop: Callable[[], bool]
    ) -> TuneState:
        step, start = compiled_step(self.training, self.mesh), int(state.step)
        told = Metrics(self.steps, self.order.steps_per_epoch)
        began = time.perf_counter()
        with (
            contextlib.closing(self.batches(start, self.steps)) as batches,
            tqdm(total=self.steps, initial=start, unit="step", mininterval=1.0) as bar,
        ):
            for done, batch in enumerate(batches, start + 1):
                self._name_unreadable(batch)
                state, metrics = step(state, put(batch, self.mesh))
                told.add(metrics)
                bar.update()
                stopping = stop()
                scored = self._due(done, self.every.eval_every)
                if scored or done % self.every.log_every == 0 or done == self.steps:
                    line = told.line(done)
                    line |= self._scores(state) if scored else {}
                    line["seconds"] = round(time.perf_counter() - began, 2)
                    curve.write(line)
                    bar.set_description(_shown(line), refresh=False)
                if stopping or self._due(done, self.every.save_every):
                    checkpoints.save(state, done)
                if stopping:
                    break
        return state

    def _due(self, step: int, epochs: float) -> bool:
        every = max(1, round(epochs * self.order.steps_per_epoch))
        return step == self.steps or step % every == 0

    def batches(self, start: int, stop: int) -> Generator[Batch, None, None]:
        """The batches of the steps [start, stop), each of this process's rows."""
        recipe, fill = self.recipe, [min(255, round(255 * x)) for x in self.encoder.mean]
        policy = None if recipe.randaugment == NONE else parse_policy(recipe.randaugment, fill)
        augmentation = Augmentation(
            self.encoder.size, (recipe.least_area, 1.0),
            flip_probability=recipe.flip, policy=policy, jitter=recipe.jitter,
        )  # fmt: skip
        return supervised_batches(
            self.data.train, self.data.train_labels, augmentation, self.order,
            seed=self.seed, start_step=start, stop_step=stop,
            process=(jax.process_index(), jax.process_count()), threads=self.every.threads,
        )  # fmt: skip

    def _name_unreadable(self, batch: Batch) -> None:
        for index in batch["replaced"][batch["replaced"] >= 0]:
            self.data.train.name_unreadable(int(index))

    def _scores(self, state: TuneState) -> dict[str, float]:
        found: dict[str, float] = {}
        for name, hits in self._hits(state).items():
            prefix = "" if name == "weights" else f"{name}_"
            found |= {prefix + figure: percent(units) for figure, units in hits.items()}
        return found

    def _hits(self, state: TuneState) -> dict[str, Hits]:
        scored = {"weights": state.params | state.stats} | (
            {"average": state.average} if state.average else {}
        )
        return {name: self.score(leaves) for name, leaves in scored.items()}


def compiled_step(training: Training, mesh: Mesh) -> Callable[..., tuple[TuneState, Any]]:
    """The step over a mesh: the batch split, the state on every device and donated."""
    everywhere, split = NamedSharding(mesh, PartitionSpec()), _split(mesh)
    return jax.jit(
        make_step(training),
        in_shardings=(everywhere, split),
        out_shardings=(everywhere, everywhere),
        donate_argnums=0,
    )


def put(batch: HostBatch, mesh: Mesh) -> dict[str, jax.Array]:
    """Lay one process's rows of a global batch out over the mesh; int64 becomes int32."""
    return {
        name: jax.make_array_from_process_local_data(
            _split(mesh), value.astype(np.int32) if value.dtype == np.int64 else value
        )
        for name, value in batch.items()
    }


def _split(mesh: Mesh) -> NamedSharding:
    return NamedSharding(mesh, PartitionSpec(mesh.axis_names))


def _scored_at_once(batch_size: int, mesh: Mesh) -> int:
    return math.ceil(min(batch_size, 256) / mesh.size) * mesh.size


def _shown(line: dict[str, Any]) -> str:
    top1 = f" · top-1 {line['top1']:.1f}" if "top1" in line else ""
    return f"loss {line['loss']:.4f}{top1}"
