"""Photographs of several labels: VOC's lists of classes, its masks, and what is refused."""

import numpy as np
import pytest
from PIL import Image

from dino_jax.config import UserError
from dino_jax.data.multilabel import multi_labels, open_labelled


@pytest.fixture
def voc(tmp_path):
    """Four photographs, two classes; the third shows only a difficult dog."""
    (tmp_path / "JPEGImages").mkdir()
    for number in range(4):
        pixels = np.full((9, 12, 3), 40 * number, np.uint8)
        Image.fromarray(pixels).save(tmp_path / "JPEGImages" / f"00{number}.jpg")
    main = tmp_path / "ImageSets" / "Main"
    main.mkdir(parents=True)
    (main / "cat_trainval.txt").write_text("000  1\n001 -1\n002 -1\n")
    (main / "dog_trainval.txt").write_text("000  1\n001  1\n002  0\n")
    (main / "cat_test.txt").write_text("003  1\n")
    (main / "dog_test.txt").write_text("003 -1\n")
    (main / "trainval.txt").write_text("000\n001\n002\n")
    return tmp_path


def test_lists_of_classes_give_labels_and_what_is_ignored(voc):
    source = open_labelled(f"voc:{voc}:trainval")
    assert source.class_names == ("cat", "dog")
    np.testing.assert_array_equal(multi_labels(source), [[1, 1], [0, 1], [0, 0]])
    np.testing.assert_array_equal(source.ignored, [[0, 0], [0, 0], [0, 1]])
    assert [source.name(i) for i in range(3)] == ["000", "001", "002"]
    assert source.load(1).shape == (9, 12, 3)
    assert source.labels is None
    assert source.content_key() != open_labelled(f"voc:{voc}:test").content_key()


def test_masks_give_the_labels_where_there_are_no_lists(tmp_path):
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (tmp_path / folder).mkdir(parents=True)
    mask = np.zeros((6, 6), np.uint8)
    mask[0], mask[1], mask[2] = 255, 15, 1
    Image.fromarray(np.zeros((6, 6, 3), np.uint8)).save(tmp_path / "JPEGImages" / "a.png")
    Image.fromarray(mask).save(tmp_path / "SegmentationClass" / "a.png")
    (tmp_path / "ImageSets" / "Segmentation" / "val.txt").write_text("a\n")
    source = open_labelled(f"voc:{tmp_path}")
    shown = [source.class_names[i] for i in np.flatnonzero(source.relevant[0])]
    assert shown == ["aeroplane", "person"]
    assert not source.ignored.any()


def test_other_specs_have_one_label_or_none():
    assert multi_labels(open_labelled("embedded:photos")) is None


def test_mistakes_are_one_line(voc, tmp_path_factory):
    with pytest.raises(UserError, match="several splits: it has test, trainval"):
        open_labelled(f"voc:{voc}")
    with pytest.raises(UserError, match="no split 'val'"):
        open_labelled(f"voc:{voc}:val")
    with pytest.raises(UserError, match="names no folder"):
        open_labelled("voc:")
    with pytest.raises(UserError, match="has no JPEGImages"):
        open_labelled(f"voc:{tmp_path_factory.mktemp('empty')}")
    main = voc / "ImageSets" / "Main"
    (main / "dog_test.txt").write_text("001 -1\n")
    with pytest.raises(UserError, match="same photographs"):
        open_labelled(f"voc:{voc}:test")
    (main / "dog_test.txt").write_text("003 yes\n")
    with pytest.raises(UserError, match="not NAME and 1, -1 or 0"):
        open_labelled(f"voc:{voc}:test")
    (main / "dog_test.txt").write_bytes(b"\xff\xfe0")
    with pytest.raises(UserError, match=r"dog_test\.txt is not text: expected UTF-8"):
        open_labelled(f"voc:{voc}:test")
    for name in ("cat", "dog"):
        (main / f"{name}_test.txt").write_text(f"003 {-1 if name == 'cat' else 0}\n")
    with pytest.raises(UserError, match=r"no photograph of voc:.*:test shows any class"):
        open_labelled(f"voc:{voc}:test")
    for name in ("cat", "dog"):
        (main / f"{name}_test.txt").write_text("009 1\n")
    with pytest.raises(UserError, match="names 009"):
        open_labelled(f"voc:{voc}:test")
