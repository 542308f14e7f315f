"""The layout of DAVIS-2017, and one clear line for whatever is wrong with it."""

import numpy as np
import pytest
from PIL import Image

from dino_jax.config import UserError
from dino_jax.data.davis import open_davis, read_frame, read_predictions, read_truth
from dino_jax.data.palette import write_indexed
from tests.data.videos import masks_of, write_masks, write_tree, write_video
from tests.shared import unpacked


@pytest.fixture
def tree(tmp_path):
    return write_tree(tmp_path / "tree", one=masks_of(1, 4), two=masks_of(2, 5))


def truth_of(tree, name):
    video = next(video for video in open_davis(tree) if video.name == name)
    return video, read_truth(video)


def test_sequences_frames_and_masks_are_found_in_order(tree):
    one, two = open_davis(tree)
    assert (one.name, len(one.frames), two.name, len(two.masks)) == ("one", 4, "two", 5)
    assert [path.name for path in one.frames] == [f"{i:05d}.jpg" for i in range(4)]
    assert [path.name for path in one.masks] == [f"{i:05d}.png" for i in range(4)]
    truth = read_truth(two)
    assert truth.objects == 2
    np.testing.assert_array_equal(truth.masks, masks_of(2, 5))
    assert read_frame(two.frames[1]).shape == (48, 80, 3)


def test_sequences_can_be_chosen_and_the_folder_around_named(tree):
    assert [video.name for video in open_davis(tree, ("two",))] == ["two"]
    tree.rename(tree.parent / "DAVIS")
    assert len(open_davis(tree.parent)) == 2


def test_real_sequences_are_read():
    videos = open_davis(unpacked("davis_video.tar"))
    assert {video.name: len(video.frames) for video in videos} == {
        "blackswan": 50, "car-shadow": 40, "libby": 49, "motocross-jump": 40,
    }  # fmt: skip
    truth = read_truth(videos[1])
    assert (truth.objects, truth.masks.shape) == (1, (40, 480, 854))


def test_void_counts_as_background(tree):
    masks = masks_of(2, 5)
    masks[0, :3] = 255
    masks[3, -3:] = 255
    write_video(tree, "two", masks)
    np.testing.assert_array_equal(truth_of(tree, "two")[1].masks, masks_of(2, 5))


def test_an_object_may_be_skipped_and_one_may_leave(tree):
    masks = masks_of(3, 5)
    masks[masks == 2] = 0
    masks[2:][masks[2:] == 3] = 0
    write_video(tree, "two", masks)
    assert truth_of(tree, "two")[1].objects == 3


def test_what_is_missing_of_the_layout_is_named(tree):
    with pytest.raises(UserError, match="not laid out as DAVIS-2017: it has no folder JPEGImages"):
        open_davis(tree.parent / "none")
    with pytest.raises(UserError, match=r"there is no sequence three in .*val\.txt: one, two"):
        open_davis(tree, ("one", "three"))
    listed = tree / "ImageSets/2017/val.txt"
    listed.write_text("one\nthree\n")
    with pytest.raises(UserError, match=r"sequence three is named in .* but there is no"):
        open_davis(tree)
    listed.write_text("\n")
    with pytest.raises(UserError, match="names no sequence"):
        open_davis(tree)
    listed.write_bytes("größe\n".encode("latin-1"))
    with pytest.raises(UserError, match=r"val\.txt is not text: expected UTF-8"):
        open_davis(tree)
    listed.unlink()
    with pytest.raises(UserError, match=r"it has no ImageSets/2017/val\.txt"):
        open_davis(tree)


@pytest.mark.parametrize(
    ("removed", "message"),
    [
        (["Annotations/480p/one/00000.png"], "sequence one has no first mask"),
        (["Annotations/480p/one/00002.png"], "sequence one has 4 frames but 3 masks: there is no"),
        (
            [f"JPEGImages/480p/one/0000{i}.jpg" for i in (1, 2)],
            "sequence one has 2 frames: expected at least 3",
        ),
    ],
)
def test_a_sequence_that_is_not_complete_is_refused(tree, removed, message):
    for name in removed:
        (tree / name).unlink()
    with pytest.raises(UserError, match=message):
        open_davis(tree)


def test_frames_and_masks_of_another_size_are_refused(tree):
    frame = tree / "JPEGImages/480p/one/00002.jpg"
    Image.new("RGB", (81, 48)).save(frame)
    with pytest.raises(UserError, match=r"00002\.jpg is 81 × 48 pixels, but the first frame is 80"):
        truth_of(tree, "one")
    Image.new("RGB", (80, 48)).save(frame)
    write_indexed(tree / "Annotations/480p/one/00003.png", np.ones((40, 80), np.uint8))
    with pytest.raises(UserError, match=r"00003\.png is 80 × 40 pixels, but its first frame 80 ×"):
        truth_of(tree, "one")


def test_a_turned_photograph_is_measured_upright(tree):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (48, 80)).save(tree / "JPEGImages/480p/one/00002.jpg", exif=exif)
    assert read_frame(truth_of(tree, "one")[0].frames[2]).shape == (48, 80, 3)


def test_unknown_objects_and_none_are_refused(tree):
    masks = masks_of(2, 5)
    masks[3, 0, 0] = 7
    write_video(tree, "two", masks)
    with pytest.raises(
        UserError, match=r"00003\.png holds object 7, which the first mask of two l"
    ):
        truth_of(tree, "two")
    write_indexed(tree / "Annotations/480p/one/00000.png", np.zeros((48, 80), np.uint8))
    with pytest.raises(UserError, match=r"the first mask of one, .*00000\.png, holds no object"):
        truth_of(tree, "one")


def test_an_unreadable_frame_is_named(tree):
    video = open_davis(tree)[0]
    video.frames[1].write_text("no picture")
    with pytest.raises(UserError, match=r"the frame .*00001\.jpg cannot be read"):
        read_frame(video.frames[1])
    with pytest.raises(UserError, match=r"the frame .*00001\.jpg cannot be read"):
        read_truth(video)


def test_predictions_are_those_between_the_first_and_the_last(tree, tmp_path):
    video, truth = truth_of(tree, "two")
    write_masks(tmp_path / "p", "two", masks_of(2, 5, speed=1))
    found = read_predictions(tmp_path / "p", video, truth)
    np.testing.assert_array_equal(found, masks_of(2, 5, speed=1)[1:-1])
    (tmp_path / "p/two/00000.png").unlink()
    (tmp_path / "p/two/00004.png").unlink()
    np.testing.assert_array_equal(read_predictions(tmp_path / "p", video, truth), found)


def test_predictions_that_do_not_fit_are_refused(tree, tmp_path):
    video, truth = truth_of(tree, "two")
    folder = tmp_path / "p"

    def refused(message):
        with pytest.raises(UserError, match=message):
            read_predictions(folder, video, truth)

    refused("there is no folder of predictions")
    folder.mkdir()
    refused("has no predictions for two: expected a folder two in it")
    write_masks(folder, "two", masks_of(2, 3))
    refused(r"1 of 3 predictions for two are missing: there is no .*00003\.png")
    write_masks(folder, "two", masks_of(2, 7))
    refused(r"7 predictions for the 5 frames of two: .*00005\.png belongs to none")
    (folder / "two/00005.png").unlink()
    (folder / "two/00006.png").unlink()
    write_indexed(folder / "two/00002.png", np.ones((48, 79), np.uint8))
    refused(r"00002\.png is 79 × 48 pixels, but the true mask 80 × 48")
    write_indexed(folder / "two/00002.png", np.full((48, 80), 3, np.uint8))
    refused(r"00002\.png holds index 3, but the objects of two end at 2")
    write_indexed(folder / "two/00002.png", np.full((48, 80), 255, np.uint8))
    refused(r"00002\.png holds index 255, but the objects of two end at 2")
    Image.new("RGB", (80, 48)).save(folder / "two/00002.png")
    refused(r"00002\.png holds RGB pixels, not labels")
