"""The command line: what is accepted, and that each mistake is exactly one clear line."""

import pathlib

import pytest
from absl import flags as absl_flags

from dino_jax import flags
from dino_jax.config import Config, UserError, get
from dino_jax.data.sources import FORMS
from tests.config.recipes import FOLDER

RECIPE = f"--config={FOLDER / 'vit_s16.py'}"
WORKDIR = "--workdir=runs/x"


def parse(*arguments: str) -> flags.Parsed:
    return flags.parse(["dino_jax", *arguments])


@pytest.mark.parametrize(
    ("argument", "path", "value"),
    [
        ("--config.epochs=20", "epochs", 20.0),
        ("--config.epochs=None", "epochs", None),
        ("--config.steps=None", "steps", None),
        ("--config.steps=7", "steps", 7),
        ("--config.optim.clip=none", "optim.clip", None),
        ("--config.optim.learning_rate=5e-4", "optim.learning_rate", 5e-4),
        ("--config.data.val=None", "data.val", None),
        ("--config.data.train=folder:/a b=c,(d", "data.train", "folder:/a b=c,(d"),
        ("--config.eval.baselines", "eval.baselines", True),
        ("--config.eval.baselines=true", "eval.baselines", True),
        ("--noconfig.eval.final_full", "eval.final_full", False),
        ("--config.eval.final_full=0", "eval.final_full", False),
        ("--config.crops.global_scale=0.5,1", "crops.global_scale", (0.5, 1.0)),
        ("--config.crops.global_scale=(0.5, 1)", "crops.global_scale", (0.5, 1.0)),
        ("--config.augment.blur_probability=[1,0,.5]", "augment.blur_probability", (1.0, 0.0, 0.5)),
        ("--config.data.mean=0.5", "data.mean", (0.5,)),
        ("-config.seed=3", "seed", 3),
    ],
)
def test_override_reaches_the_tree_with_its_type(argument: str, path: str, value: object) -> None:
    config, workdir, others = parse(RECIPE, WORKDIR, argument)
    assert get(config, path) == value
    assert type(get(config, path)) is type(value)
    assert others.overrides == {path: value}
    assert workdir == pathlib.Path("runs/x")
    assert not others.force_schedule


def test_value_may_follow_as_its_own_argument_and_the_last_wins() -> None:
    config, _, others = parse(
        "--config.seed", "1", WORKDIR, "--config.steps=None", RECIPE, "--config.steps", "9",
        "--config.seed=-0", "--force_schedule",
    )  # fmt: skip
    assert (config.seed, config.steps) == (0, 9)
    assert others.force_schedule


def test_recipe_is_not_changed_by_another_parse() -> None:
    parse(RECIPE, WORKDIR, "--config.model.depth=3")
    assert parse(RECIPE, WORKDIR).config.model.depth is None


def test_held_out_images_go_with_their_training_images() -> None:
    assert parse(RECIPE, WORKDIR).config.data.val == "tfds:imagenet2012:validation"
    mine = "--config.data.train=folder:/mine"
    assert parse(RECIPE, WORKDIR, mine).config.data.val is None
    assert parse(RECIPE, WORKDIR, mine, "--config.data.val=tar:b").config.data.val == "tar:b"


def test_absl_flags_count_as_parsed_afterwards() -> None:
    absl_flags.FLAGS.unparse_flags()
    parse(RECIPE, WORKDIR)
    assert absl_flags.FLAGS.is_parsed()


def test_a_command_may_have_flags_of_its_own() -> None:
    parsed = flags.parse(
        ["x", RECIPE, WORKDIR, "--depth=3"],
        define=lambda values: absl_flags.DEFINE_integer("depth", 1, "", flag_values=values),
    )
    assert parsed.flags.values.depth == 3


def test_of_two_config_files_the_last_counts() -> None:
    absent = "--config=configs/absent.py"
    assert parse(absent, WORKDIR, RECIPE).flags.config_file == RECIPE.split("=")[1]
    assert parse("--config", "absent", WORKDIR, *RECIPE.split("=")).config.model.patch_size == 16
    with pytest.raises(UserError, match="does not exist"):
        parse(RECIPE, WORKDIR, absent)


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], [RECIPE, WORKDIR, "--help"]])
def test_help_says_how(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        parse(*arguments)
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert "--config=configs/NAME.py --workdir=DIR" in text
    assert "--config=configs/auto.py --workdir=DIR --config.data.train=folder:PATH" in text
    assert all(form in text for form in FORMS.split(", "))
    assert text.count("\n") <= 15
    assert all(len(line) <= 100 for line in text.splitlines())


def test_workdir_of_a_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert parse(RECIPE, "--workdir=~/x").workdir == pathlib.Path("/home/me/x")
    with pytest.raises(UserError) as error:
        parse(RECIPE, "--workdir=~nouser/x")
    assert str(error.value) == (
        "--workdir=~nouser/x: there is no user nouser here; name the folder without the ~, or as "
        "./~nouser/x if it is called so"
    )


MISTAKES = [
    ("--config.batchsize=3", "no config field batchsize: did you mean batch_size?"),
    ("--config.model.archh=x", "did you mean model.arch?"),
    ("--config.learning_rate=1", "did you mean optim.learning_rate?"),
    ("--config.lr=1", "did you mean optim.learning_rate?"),
    ("--config.optim.lerning_rate=1", "did you mean optim.learning_rate?"),
    ("--config.zzz=1", "docs/configuration.md lists all"),
    ("--config.model=vit_base", "model is a group of fields: set one of model.arch"),
    ("--config.epochs=many", "--config.epochs=many: expected a number"),
    ("--config.optim.learning_rate=nan", "expected a number"),
    ("--config.optim.learning_rate=None", "expected a number"),
    ("--config.seed=1.5", "--config.seed=1.5: expected a whole number"),
    ("--config.seed=True", "expected a whole number"),
    ("--config.seed=", "expected a whole number"),
    ("--config.head.batch_norm=maybe", "expected true or false"),
    ("--config.head.batch_norm=None", "expected true or false"),
    ("--noconfig.seed", "only a field of true or false takes --no"),
    ("--config.crops.ratio=1", "expected 2 numbers such as"),
    ("--config.crops.ratio=1,2,3", "expected 2 numbers such as"),
    ("--config.crops.ratio=a,b", "expected 2 numbers such as"),
    ("--config.crops.ratio=(1,", "expected 2 numbers such as"),
    ("--config.crops.ratio=1,True", "expected 2 numbers such as"),
    ("--config.data.mean='x'", "expected numbers such as"),
    ("--config.steps", "--config.steps has no value"),
    ("--epochs=50", "no flag --epochs=50: did you mean --config.epochs=50?"),
    ("-seed=1", "did you mean --config.seed=1?"),
    ("--optim.learning_rate=1", "did you mean --config.optim.learning_rate=1?"),
    ("--learning-rate=1", "did you mean --config.optim.learning_rate=1?"),
    ("--config_seed=1", "did you mean --config.seed=1?"),
    ("--lr=1", "did you mean --config.optim.learning_rate=1?"),
    ("--data_path=a=b", "did you mean --config.data.train=a=b?"),
    ("--batch_norm", "no flag --batch_norm: did you mean --config.head.batch_norm?"),
    ("--zzz=1", "Unknown command line flag 'zzz'"),
    ("--output_dir=1", "Unknown command line flag 'output_dir'"),
    ("--wrokdir=x", "Unknown command line flag 'wrokdir'. Did you mean: workdir"),
    ("folder:/photos", "unexpected argument folder:/photos"),
    ("--force_schedule=perhaps", "force_schedule"),
    ("--flagfile=absent.txt", "absent.txt"),
]


@pytest.mark.parametrize(("argument", "line"), MISTAKES)
def test_mistake_on_the_command_line_is_one_line(argument: str, line: str) -> None:
    with pytest.raises(UserError) as error:
        parse(RECIPE, WORKDIR, argument)
    assert line in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ([WORKDIR], "--config is missing"),
        ([WORKDIR, "--config="], "--config is missing"),
        ([WORKDIR, "--config"], "--config is missing"),
        ([RECIPE, WORKDIR, "--config"], "--config is missing"),
        (["--config", WORKDIR], "--config is missing"),
        ([RECIPE], "--workdir is missing"),
        ([RECIPE, "--workdir="], "--workdir is missing"),
        ([WORKDIR, f"--config={FOLDER / 'vit_s17.py'}"], "vit_s17.py does not exist: "),
        ([WORKDIR, f"--config={FOLDER}"], "is not a Python file: "),
        ([WORKDIR, f"--config={__file__}"], "it has no function get_config()"),
    ],
)
def test_mistake_in_the_file_name_is_one_line(arguments: list[str], line: str) -> None:
    with pytest.raises(UserError) as error:
        parse(*arguments)
    assert line in str(error.value)
    assert "\n" not in str(error.value)


BEGIN = "from dino_jax.config import Config\n\n\ndef get_config():\n    config = Config()\n"


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("", "it has no function get_config()"),
        ("def get_config(:", "line 1: invalid syntax"),
        ("import absent_module", "line 1: ModuleNotFoundError: No module named 'absent_module'"),
        ("def get_config():\n    return None", "get_config() returned NoneType: expected a"),
        ("def get_config():\n    return {'seed': 1}", "get_config() returned dict"),
        ("def get_config():\n    return open('absent')", "line 2: FileNotFoundError"),
        ("def get_config():\n    return 1 / 0", "line 2: ZeroDivisionError: division by zero"),
        ("def get_config():\n    return int('x')", "line 2: ValueError: invalid literal"),
        (BEGIN + "    config.modell.arch = 1", "line 6: AttributeError"),
        (BEGIN + "    config.batchsize = 1\n    return config", "did you mean batch_size?"),
        (BEGIN + "    config.crops.size = 1\n    return config", "no config field crops.size"),
        (
            BEGIN + "    config.seed = '1'\n    return config",
            "seed is '1': expected a whole number",
        ),
        (BEGIN + "    config.crops.ratio = (1,)\n    return config", "expected 2 numbers such as"),
        (BEGIN + "    config.model = 'vit'\n    return config", "expected a ModelConfig"),
    ],
)
def test_mistake_in_a_config_file_is_one_line_and_says_where(
    tmp_path: pathlib.Path, source: str, line: str
) -> None:
    file = tmp_path / "mine.py"
    file.write_text(source + "\n")
    with pytest.raises(UserError) as error:
        parse(f"--config={file}", WORKDIR, "--config.seed=3")
    assert line in str(error.value)
    assert str(file) in str(error.value)
    assert "\n" not in str(error.value)


def test_numbers_of_a_config_file_become_floats(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        BEGIN + "    config.epochs, config.data.std = 3, [1, 1, 1]\n    return config\n"
    )
    config = parse(f"--config={file}", WORKDIR).config
    assert config == Config(epochs=3.0, data=config.data)
    assert isinstance(config.epochs, float)
    assert config.data.std == (1.0, 1.0, 1.0)
