"""Ground truths as pickle and JSON, and each way in which one may be wrong."""

import json
import pickle

import numpy as np
import pytest

from dino_jax.config import UserError
from dino_jax.evals.instances.ground_truth import read_ground_truth
from tests.evals.instances import trees
from tests.shared import unpacked


@pytest.fixture
def folder(tmp_path):
    trees.landmarks(tmp_path / "scenes")
    return tmp_path / "scenes"


@pytest.fixture
def told(folder):
    return json.loads((folder / "gnd_scenes.json").read_text())


def test_files_and_lists_are_those_of_the_ground_truth(folder, told):
    truth = read_ground_truth(folder)
    assert truth.name == "scenes"
    assert [path.stem for path in truth.images] == told["imlist"]
    assert [path.stem for path in truth.files] == told["qimlist"]
    assert truth.queries[1] == ((3,), (4,), (5,), (4.0, 4.0, 40.0, 36.0))


@pytest.mark.parametrize("protocol", range(5))
def test_a_pickle_says_the_same_as_json_and_goes_before_it(folder, told, protocol):
    wanted = read_ground_truth(folder)
    for entry in told["gnd"]:
        entry["easy"] = np.array(entry["easy"])
        entry["bbx"] = np.array(entry["bbx"])
    (folder / "gnd_scenes.pkl").write_bytes(pickle.dumps(told, protocol))
    (folder / "gnd_scenes.json").write_text("not read")
    assert read_ground_truth(folder) == wanted


def test_images_may_be_png_and_lists_empty_arrays(folder, told):
    (folder / "jpg" / "scene0_0.jpg").rename(folder / "jpg" / "scene0_0.png")
    told["gnd"][0]["easy"] = np.zeros(0)
    del told["gnd"][0]["bbx"]
    (folder / "gnd_scenes.pkl").write_bytes(pickle.dumps(told, 4))
    truth = read_ground_truth(folder)
    assert truth.images[0].name == "scene0_0.png"
    assert truth.queries[0] == ((), (1,), (2,), None)


WRONG = {
    "no dict": (lambda told: [], "holds no dict"),
    "no imlist": (lambda told: told.pop("imlist") and told, "has no list 'imlist'"),
    "no gnd": (lambda told: told | {"gnd": None}, "has no list 'gnd'"),
    "empty": (lambda told: told | {"imlist": []}, "empty imlist"),
    "fewer queries": (lambda told: told | {"gnd": told["gnd"][:3]}, "4 queries in qimlist and 3"),
    "a number": (lambda told: told | {"qimlist": [1, 2, 3, 4]}, "'1', which is no name"),
    "outside": (lambda told: told | {"qimlist": ["../x"] * 4}, "which is no name"),
    "absolute": (lambda told: told | {"qimlist": ["/x"] * 4}, "which is no name"),
    "absent": (lambda told: told | {"imlist": [*told["imlist"], "gone"]}, "1 of 13 .* gone.jpg"),
    "no query": (lambda told: told | {"gnd": [3] * 4}, "query0 has no dict"),
    "of old": (lambda told: told | {"gnd": [{"ok": [], "junk": []}] * 4}, "query0 has ok, junk"),
    "beyond": (lambda told: edit(told, easy=[12]), "image 12 of a database of 12"),
    "negative": (lambda told: edit(told, junk=[-1]), "image -1 of a database"),
    "a word": (lambda told: edit(told, hard=["scene0"]), "no list of whole numbers"),
    "a fraction": (lambda told: edit(told, hard=[1.5]), "no list of whole numbers"),
    "truth": (lambda told: edit(told, hard=[True]), "no list of whole numbers"),
    "no list": (lambda told: edit(told, hard=3), "no list of whole numbers"),
    "three edges": (lambda told: edit(told, bbx=[1, 2, 3]), "not four numbers"),
    "no edge": (lambda told: edit(told, bbx=[1, 2, 3, float("nan")]), "not four numbers"),
}  # fmt: skip


def edit(told, **fields):
    told["gnd"][0] |= fields
    return told


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_with_it_is_one_line(folder, told, case):
    change, expected = WRONG[case]
    trees.write(folder, change(told))
    with pytest.raises(UserError, match=expected) as error:
        read_ground_truth(folder)
    assert "\n" not in str(error.value)


def test_what_is_wrong_with_the_folder_is_one_line(folder, tmp_path):
    with pytest.raises(UserError, match="there is no folder"):
        read_ground_truth(tmp_path / "absent")
    with pytest.raises(UserError, match=r"no gnd_\*\.json; give .*scenes$"):
        read_ground_truth(tmp_path)
    with pytest.raises(UserError, match=r"there is no file .*gnd_x"):
        read_ground_truth(folder, "gnd_x.pkl")
    for outside in ("../gnd_scenes.json", str(folder / "gnd_scenes.json")):
        with pytest.raises(UserError, match="expected the name of a file within --data"):
            read_ground_truth(folder, outside)
    (folder / "gnd_other.json").write_text("{")
    with pytest.raises(UserError, match=r"gnd_other and gnd_scenes; .*--ground-truth"):
        read_ground_truth(folder)
    assert read_ground_truth(folder, "gnd_scenes.json").name == "scenes"
    with pytest.raises(UserError, match=r"cannot read .*gnd_other\.json"):
        read_ground_truth(folder, "gnd_other.json")
    (folder / "jpg").rename(folder / "images")
    with pytest.raises(UserError, match=r"there is no folder .*jpg, where the images"):
        read_ground_truth(folder, "gnd_scenes.json")


def test_a_pickle_that_would_run_something_is_one_line(folder):
    (folder / "gnd_scenes.pkl").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(UserError, match=r"asks for 'os\.system'; nothing of it was run"):
        read_ground_truth(folder)


def test_the_shared_folder_s_pickle_and_json_say_the_same():
    folder = unpacked("retrieval_rdavis.tar") / "rdavis"
    forms = [read_ground_truth(folder, f"gnd_rdavis.{end}") for end in ("pkl", "json")]
    assert forms[0] == forms[1]
    assert (len(forms[0].images), len(forms[0].queries)) == (132, 12)
