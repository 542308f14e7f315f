"""One run from its configuration to its summary: the parts put together, in order."""

import contextlib
import logging
import pathlib
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax

from dino_jax.config import (
    Config,
    Resolved,
    UserError,
    check_resume,
    load_record,
    needs_short_side,
    pin,
    resolve,
    save_record,
    to_dict,
    validate,
)
from dino_jax.data.holdout import train_and_held_out
from dino_jax.data.pipeline import TrainIterator, train_iterator
from dino_jax.data.reading import Reader
from dino_jax.data.source import Source
from dino_jax.data.survey import median_short_side
from dino_jax.files import claimed
from dino_jax.interop.checkpoint import Checkpoints, newest_step
from dino_jax.interop.runs import last_line, read_summary
from dino_jax.interop.spec import open_weights
from dino_jax.interrupt import interruptible
from dino_jax.models.build import Model
from dino_jax.train.ahead import step_ahead
from dino_jax.train.compiled import compiled_step
from dino_jax.train.guards import CollapseWatch
from dino_jax.train.loop import Evaluate, Loop, Plan
from dino_jax.train.method import Method, build_method, init_state
from dino_jax.train.records import Records, write_summary
from dino_jax.train.sharding import laid_out, make_mesh, spread, whole
from dino_jax.train.start import started_from
from dino_jax.train.state import TrainState
from dino_jax.train.step import StepFunction
from dino_jax.types import Evaluator, Params, Reporter

log = logging.getLogger(__name__)


class Run(NamedTuple):
    """What a run is, before its first step: all that an evaluation may need to know of it."""

    resolved: Resolved
    train: Source
    held_out: Source
    method: Method
    mesh: jax.sharding.Mesh
    workdir: pathlib.Path

    @property
    def model(self) -> Model:
        """The network without drop path, which evaluates student and teacher alike."""
        return self.method.teacher


class Outcome(NamedTuple):
    """How a run ended; `finished` is False where a signal stopped it."""

    state: TrainState
    summary: dict[str, Any]
    finished: bool
    saved: pathlib.Path
    """Its checkpoint of this state."""


def prepare(requested: Config, workdir: pathlib.Path, *, force_schedule: bool = False) -> Run:
    """Open the images, resolve the configuration and claim the working directory.

    Raises:
        UserError: whatever in the request, the images or the folder cannot work.
    """
    validate(requested)  # before anything is opened or read
    record = load_record(workdir)
    config = requested if record is None else pin(requested, record)
    train_source, held_out = train_and_held_out(
        config.data.train, config.data.val, channels=config.model.channels
    )
    resolved = resolve(
        config,
        examples=len(train_source),
        platform=jax.default_backend(),
        device_count=jax.device_count(),
        short_side=median_short_side(train_source) if needs_short_side(config) else None,
    )
    if record is not None:
        check_resume(record, resolved, force_schedule=force_schedule)
    _check_checkpoints(workdir, resolved, known=record is not None)
    method = build_method(resolved)
    mesh = make_mesh(resolved.config.devices, resolved.config.fsdp or 1)
    run = Run(resolved, train_source, held_out, method, mesh, workdir)
    if record is None:
        # A mistake found later would leave a folder that its correction could not use.
        for source in (train_source, held_out):
            Reader(source).read(0)
        _check_start(run)
    save_record(workdir, requested, resolved)
    log.info("%s", _described(run))
    for reason in resolved.reasons:
        log.info("%s", reason)
    return run


def _described(run: Run) -> str:
    """What was found, in one line, so that a user sees at once what was taken for what."""
    config, names = run.resolved.config, run.train.class_names
    classes = "no classes"
    if run.train.labels is not None:
        shown = ", ".join(names[:4]) + (", …" if len(names) > 4 else "")
        classes = f"{len(names)} classes ({shown})" if names else "labelled"
    return (
        f"{len(run.train)} images to train on, {len(run.held_out)} held out, {classes}; "
        f"{run.resolved.steps} steps of {config.batch_size} images on "
        f"{config.devices} x {jax.default_backend()}"
    )


def _check_checkpoints(workdir: pathlib.Path, resolved: Resolved, *, known: bool) -> None:
    """Refuse checkpoints of nobody knows what, and those beyond the end of a shortened run."""
    done = newest_step(workdir / "checkpoints")
    if done is not None and not known:
        raise UserError(
            f"{workdir} holds checkpoints but no config.json that says of what: choose another "
            "--workdir, and take their networks by init_from"
        )
    if done is not None and done > resolved.steps:
        raise UserError(
            f"the run in {workdir} is at step {done}, beyond the {resolved.steps} of this "
            "configuration: lengthen it or choose another --workdir"
        )


def _check_start(run: Run) -> None:
    """Raise what the state before the first step would; random weights are not drawn for it."""
    if run.resolved.config.init_from is None:
        jax.eval_shape(run.method.student.init, jax.random.key(0))
    else:
        initial_state(run)


def initial_state(run: Run) -> TrainState:
    """The state before the first step, over the mesh: a function of the seed, or of `init_from`.

    Raises:
        UserError: what `init_from` names cannot be had, or does not fit the configuration.
    """
    config, mesh = run.resolved.config, run.mesh
    if config.init_from is None:
        return spread(lambda: init_state(run.method, run.resolved), mesh)
    weights = open_weights(config.init_from, optimiser=config.init_optimiser)
    return laid_out(started_from(init_state(run.method, run.resolved), weights, config), mesh)


def train(run: Run, evaluator: Evaluator, reporter: Reporter | None = None) -> Outcome:
    """Train from the newest checkpoint in the working directory, or from the start.

    Raises:
        UserError: the checkpoint cannot be read, or another process trains there.
    """
    config = run.resolved.config
    folder = run.workdir / "checkpoints"
    began = time.perf_counter()
    with contextlib.ExitStack() as stack:
        stack.enter_context(claimed(run.workdir, flag="--workdir"))
        checkpoints = Checkpoints(folder, keep=config.keep_checkpoints, config=to_dict(config))
        stack.callback(checkpoints.close)
        ended = (checkpoints.latest or 0) >= run.resolved.steps
        how = run.method, run.resolved, run.mesh
        step = compiled_step(run.method, run.mesh) if ended else step_ahead(*how)
        state = _newest_state(run, checkpoints)
        start = int(state.step)
        records = stack.enter_context(contextlib.closing(Records(run.workdir, resumed_at=start)))
        loop = _loop(run, step, evaluator, records, checkpoints, reporter)
        if start < run.resolved.steps:
            with _batches(run, start) as batches, interruptible() as stop:
                state = loop.run(state, batches, stop=stop)
    summary, done = read_summary(run.workdir), int(state.step)
    if start < done or summary.get("step") != done:  # that of a call that was killed is not of now
        summary = {
            **last_line(run.workdir),
            **loop.troubles(),
            "steps": run.resolved.steps,
            "seconds": round(time.perf_counter() - began, 1),
            "shares": loop.shares(),
        }
    write_summary(run.workdir, summary)
    if reporter is not None:
        reporter.end()
    return Outcome(state, summary, done == run.resolved.steps, folder / str(done))


def networks(run: Run, outcome: Outcome) -> dict[str, Params]:
    """The networks that a finished run compares: the one of step 0, `student` and `teacher`.

    The first is `untrained`, or `start` where the run began from weights: their teacher, left out
    where they cannot be had any more. Each comes with its batch statistics.
    """
    source, last = run.resolved.config.init_from, outcome.state
    compared = {}
    try:
        first = initial_state(run)
        compared["untrained" if source is None else "start"] = whole(
            first.teacher | first.teacher_stats, run.mesh
        )
    except UserError as error:
        log.warning("the comparison leaves out the network of the start: %s", error)
    return compared | {
        "student": whole(last.student | last.student_stats, run.mesh),
        "teacher": whole(last.teacher | last.teacher_stats, run.mesh),
    }


def _newest_state(run: Run, checkpoints: Checkpoints) -> TrainState:
    """The state to go on from, over the mesh: of the newest checkpoint, or the first."""
    if checkpoints.latest is None:
        return initial_state(run)
    state = checkpoints.restore(spread(lambda: init_state(run.method, run.resolved), run.mesh))
    log.info("resuming after step %d of %d", int(state.step), run.resolved.steps)
    return state


def _loop(
    run: Run,
    step: StepFunction,
    evaluator: Evaluator,
    records: Records,
    checkpoints: Checkpoints,
    reporter: Reporter | None,
) -> Loop:
    return Loop(
        step,
        run.mesh,
        _plan(run.resolved),
        records=records,
        checkpoints=checkpoints,
        watch=CollapseWatch(run.resolved.config.head.prototypes),
        evaluate=_both_networks(
            evaluator, run.mesh, one_start=run.resolved.config.init_from is None
        ),
        source=run.train,
        reporter=reporter,
    )


def _batches(run: Run, start: int) -> TrainIterator:
    config = run.resolved.config
    return train_iterator(
        run.train,
        config.crops,
        config.data,
        seed=config.seed,
        batch_size=config.batch_size,
        start_step=start,
        stop_step=run.resolved.steps,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
        augment=config.augment,
    )


def _both_networks(evaluator: Evaluator, mesh: jax.sharding.Mesh, *, one_start: bool) -> Evaluate:
    """Score the teacher under the plain names and the student under `student_`.

    With `one_start` they are the same network before the first step, and scored once.
    """

    def evaluate(state: TrainState, final: bool) -> Mapping[str, Any]:
        teacher = whole(state.teacher | state.teacher_stats, mesh)
        scores = dict(evaluator(teacher, final=final))
        if int(state.step) or not one_start:
            student = whole(state.student | state.student_stats, mesh)
            of_student = evaluator(student, final=final)
            scores |= {f"student_{name}": value for name, value in of_student.items()}
        return scores

    return evaluate


def _plan(resolved: Resolved) -> Plan:
    config = resolved.config
    return Plan(
        total_steps=resolved.steps,
        steps_per_epoch=resolved.steps_per_epoch,
        batch_size=config.batch_size,
        log_every=config.log_every,
        eval_every=config.eval_every or 0,
        checkpoint_every=config.checkpoint_every or 0,
    )
