"""The typed configuration: its tree of fields, its checks, and what is picked from the data.

A recipe (`configs/*.py`) returns a `Config`; `dino_jax.flags.parse` applies the overrides of the
command line; `validate` checks it; `resolve` fills what was left to be picked and turns epochs
into steps. `record` keeps both the requested and the resolved configuration beside a run.
"""

from dino_jax.config.auto import needs_short_side
from dino_jax.config.check import validate
from dino_jax.config.fields import from_dict, get, leaves, set_value, to_dict
from dino_jax.config.kinds import Change, compare, kinds
from dino_jax.config.record import Record, check_resume, load_record, pin, save_record
from dino_jax.config.resolve import Resolved, resolve
from dino_jax.config.tree import (
    AUTO,
    AugmentConfig,
    Config,
    CropsConfig,
    DataConfig,
    EvalConfig,
    HeadConfig,
    LossConfig,
    ModelConfig,
    OptimConfig,
    TeacherConfig,
    UserError,
)

__all__ = [
    "AUTO",
    "AugmentConfig",
    "Change",
    "Config",
    "CropsConfig",
    "DataConfig",
    "EvalConfig",
    "HeadConfig",
    "LossConfig",
    "ModelConfig",
    "OptimConfig",
    "Record",
    "Resolved",
    "TeacherConfig",
    "UserError",
    "check_resume",
    "compare",
    "from_dict",
    "get",
    "kinds",
    "leaves",
    "load_record",
    "needs_short_side",
    "pin",
    "resolve",
    "save_record",
    "set_value",
    "to_dict",
    "validate",
]
