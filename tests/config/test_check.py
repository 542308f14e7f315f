"""Values that cannot be, and values that do not fit each other: one line each."""

import pytest

from dino_jax import tree
from dino_jax.config import AUTO, Config, UserError, leaves, resolve, set_value, validate
from dino_jax.config.auto import AUTO_FIELDS
from dino_jax.config.check import RANGES


def changed(**values: object) -> Config:
    """The defaults with fields set by dotted path, a double underscore for the dot."""
    config = Config()
    for name, value in values.items():
        set_value(config, name.replace("__", "."), value)
    return config


MISTAKES: list[tuple[dict[str, object], str]] = [
    ({"batch_size": 0}, "batch_size is 0: expected a whole number from 1 to below 2^31"),
    ({"batch_size": -8}, "batch_size is -8"),
    ({"accumulate": 0}, "accumulate is 0"),
    ({"steps": 0}, "steps is 0"),
    ({"epochs": 0.0}, "epochs is 0.0: expected a number above 0 and at most 1e+06"),
    ({"epochs": 1e15}, "epochs is 1000000000000000.0: expected a number above 0 and at most 1e+06"),
    ({"epochs": 1e308}, "epochs is 1e+308: expected a number above 0 and at most 1e+06"),
    ({"steps": 1 << 31}, "steps is 2147483648: expected a whole number from 1 to below 2^31"),
    ({"checkpoint_every": 1 << 31}, "expected a whole number from 1 to below 2^31"),
    ({"batch_size": 10**30}, "expected a whole number from 1 to below 2^31"),
    ({"log_every": 0}, "log_every is 0"),
    ({"eval_every": -1}, "eval_every is -1"),
    ({"seed": -1}, "seed is -1: expected a whole number from 0 to below 2^32"),
    ({"seed": 1 << 32}, "seed is 4294967296: expected a whole number from 0 to below 2^32"),
    ({"precision": "fp16"}, "precision is fp16: expected one of auto, float32, bfloat16"),
    ({"model__arch": "vit_huge"}, "model.arch is vit_huge: expected one of vit_tiny"),
    ({"model__blocks": "rolled"}, "expected one of auto, unrolled, scanned"),
    ({"model__drop_path": 1.0}, "model.drop_path is 1.0: expected a number from 0 to below 1"),
    ({"model__width": 100, "model__heads": 3}, "model.width 100 is not divisible by model.heads 3"),
    ({"model__arch": "resnet50", "model__width": 100}, "100: expected a multiple of 32"),
    ({"model__arch": "resnet50", "model__depth": 8}, "depth is 8: resnet50 has none to set"),
    ({"model__arch": "resnet50", "model__heads": 8}, "heads is 8: resnet50 has none to set"),
    ({"model__arch": "xcit_small_12", "model__patch_size": 4}, "xcit_small_12 exists with 8 and"),
    ({"model__channels": 1}, "data.mean has 3 values, model.channels is 1"),
    ({"data__std": (0.2, 0.2)}, "data.std has 2 values, model.channels is 3"),
    ({"data__std": (0.2, 0.2, 0.0)}, "data.std is 0.2,0.2,0: expected numbers of at least"),
    ({"data__train": " "}, "data.train is"),
    ({"data__workers": -1}, "data.workers is -1: expected a whole number from 0 to 1024"),
    ({"data__workers": 1025}, "data.workers is 1025: expected a whole number from 0 to 1024"),
    ({"data__threads": 1025}, "data.threads is 1025: expected a whole number from 1 to 1024"),
    ({"data__std": (0.2, 0.2, 1e-7)}, "expected numbers of at least 1e-06"),
    ({"data__std": (0.2, 0.2, 1e7)}, "expected numbers of at least 1e-06 and at most 1e+06"),
    ({"data__mean": (0.2, 0.2, -1e39)}, "expected numbers from -1e+06 to 1e+06"),
    ({"head__prototypes": 1}, "head.prototypes is 1"),
    ({"optim__name": "adam"}, "optim.name is adam: expected one of adamw, sgd, lars"),
    ({"optim__learning_rate": 0.0}, "optim.learning_rate is 0.0: expected a number above 0"),
    ({"optim__learning_rate": 1e7}, "learning_rate is 10000000.0: expected a number above 0 and"),
    ({"optim__min_learning_rate": 1e39}, "expected a number from 0 to 1e+06"),
    ({"optim__weight_decay": -0.1}, "optim.weight_decay is -0.1: expected a number from 0 to"),
    ({"optim__weight_decay_end": 1e39}, "expected a number from 0 to 1e+06"),
    ({"optim__clip": -1.0}, "optim.clip is -1.0"),
    ({"teacher__temperature": 0.0}, "teacher.temperature is 0.0: expected a number from 1e-06 to"),
    ({"teacher__warmup_temperature": 1e-45}, "expected a number from 1e-06 to 1e+06"),
    ({"loss__student_temperature": 1e-50}, "expected a number from 1e-06 to 1e+06"),
    ({"eval__knn_temperature": 1e39}, "expected a number from 1e-06 to 1e+06"),
    ({"teacher__momentum": 1.5}, "teacher.momentum is 1.5: expected a number from 0 to 1"),
    ({"loss__centre_momentum": -0.1}, "loss.centre_momentum is -0.1"),
    ({"crops__global_scale": (1.0, 0.4)}, "crops.global_scale is 1,0.4: expected low,high"),
    ({"crops__global_scale": (0.4, 1.4)}, "at most 1"),
    ({"crops__local_scale": (0.0, 0.4)}, "crops.local_scale is 0,0.4"),
    ({"crops__ratio": (2.0, 1.0)}, "crops.ratio is 2,1"),
    ({"crops__ratio": (1.0, 1e200)}, "crops.ratio is 1,1e+200: expected low,high from 0.001"),
    ({"crops__ratio": (1e-200, 1.0)}, "crops.ratio is 1e-200,1"),
    ({"crops__flip_probability": 2.0}, "crops.flip_probability is 2.0"),
    ({"crops__local_number": -1}, "crops.local_number is -1"),
    ({"crops__global_size": 15}, "crops.global_size is 15 pixels, smaller than a patch of 16"),
    ({"crops__local_size": 15}, "crops.local_size is 15 pixels, smaller than a patch of 16"),
    ({"eval__resize": 200}, "eval.resize is 200, less than crops.global_size 224"),
    ({"augment__hue": 0.6}, "augment.hue is 0.6"),
    ({"augment__brightness": 11.0}, "augment.brightness is 11.0: expected a number from 0 to 10"),
    ({"augment__contrast": 1e39}, "augment.contrast is 1e+39: expected a number from 0 to 10"),
    ({"augment__saturation": -0.1}, "expected a number from 0 to 10"),
    ({"augment__blur_radius": (0.1, 101.0)}, "low,high from 0 and at most 100, in that order"),
    ({"augment__blur_radius": (2.0, 0.1)}, "augment.blur_radius is 2,0.1"),
    ({"augment__blur_probability": (1.0, 0.1, 5.0)}, "augment.blur_probability is 1,0.1,5"),
    ({"augment__where": "gpu"}, "augment.where is gpu: expected one of device, host"),
    ({"accumulate": 3}, "batch_size 512 is not divisible by accumulate 3"),
    ({"epochs": 5.0}, "optim.warmup_epochs is 10, more than the 5 epochs of the run"),
    ({"teacher__warmup_temperature_epochs": 101.0}, "more than the 100 epochs of the run"),
    ({"optim__freeze_last_layer_epochs": 101.0}, "more than the 100 epochs of the run"),
]


@pytest.mark.parametrize(("values", "line"), MISTAKES)
def test_mistake_is_one_line(values: dict[str, object], line: str) -> None:
    with pytest.raises(UserError) as error:
        validate(changed(**values))
    assert line in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "values",
    [
        {"crops__local_number": 0, "crops__local_size": 1},
        {"optim__clip": None},
        {"optim__clip": 0.0},
        {"crops__global_size": 16},
        {"model__arch": "resnet50", "model__width": 64, "crops__local_size": 1},
        {"model__arch": "xcit_medium_24", "crops__local_size": 15},
        {"model__arch": "xcit_small_12", "model__patch_size": AUTO},
        {"optim__warmup_epochs": 100.0},
        {"epochs": 0.5, "optim__warmup_epochs": 0.1, "optim__freeze_last_layer_epochs": 0.0},
        {"model__channels": 1, "data__mean": (0.5,), "data__std": (0.5,)},
        {"crops__global_scale": (0.3, 0.3)},
        {"epochs": 1e6, "steps": (1 << 31) - 1, "data__workers": 1024},
        {"optim__learning_rate": 1e6, "optim__min_learning_rate": 0.0},
        {"teacher__temperature": 1e-6, "data__std": (1e-6, 1.0, 1e6), "data__mean": (0.0, -1, 1e6)},
        {"augment__brightness": 10.0, "augment__blur_radius": (0.0, 100.0)},
        {"crops__ratio": (0.001, 1000.0)},
        dict.fromkeys((path.replace(".", "__") for path in AUTO_FIELDS), AUTO),
    ],
)
def test_what_can_be_is_accepted_and_left_as_it_is(values: dict[str, object]) -> None:
    config = changed(**values)
    validate(config)
    assert config == changed(**values)


def test_every_field_has_a_range_and_every_range_a_field() -> None:
    found = tree.matching(RANGES, leaves())
    assert found.keys() == leaves().keys()
    assert {id(expected) for _, expected in RANGES} == {id(value) for value in found.values()}


@pytest.mark.parametrize(
    ("values", "devices", "line"),
    [
        ({"batch_size": 12}, 8, "divisible by devices x accumulate = 8 x 1: use 8 or 16"),
        ({"batch_size": 4}, 8, "divisible by devices x accumulate = 8 x 1: use 8"),
        ({"batch_size": 24, "accumulate": 2}, 8, "devices x accumulate = 8 x 2: use 16 or 32"),
        ({"devices": 9}, 8, "devices is 9: this run has 8"),
        ({"batch_size": 2048}, 8, "batch_size 2048 is more than the 1000 images of"),
    ],
)
def test_batch_that_the_devices_or_the_data_refuse(
    values: dict[str, object], devices: int, line: str
) -> None:
    with pytest.raises(UserError) as error:
        resolve(changed(**values), examples=1000, platform="cpu", device_count=devices)
    assert line in str(error.value)


def test_devices_may_be_fewer_than_there_are() -> None:
    config = changed(batch_size=12, devices=4)
    assert resolve(config, examples=100, platform="cpu", device_count=8).config.devices == 4
