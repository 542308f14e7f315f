"""The layouts of CamVid and VOC: what is read, and what is refused in one line."""

import numpy as np
import pytest
from PIL import Image

from dino_jax.config import UserError
from dino_jax.data import camvid, voc
from dino_jax.data.palette import read_indexed, write_indexed
from tests.data.layouts import write_camvid, write_voc
from tests.shared import unpacked

SETS = ("ImageSets", "Segmentation")


def test_camvid_pairs_images_and_masks_by_name(tmp_path):
    source = camvid.open_camvid(write_camvid(tmp_path), "train")
    assert (len(source), source.classes, source.void, source.labels) == (4, 11, 11, None)
    assert source.class_names == camvid.CLASSES
    for index in range(4):
        image, labels = source.pair(index)
        assert image.shape == (32, 48, 3)
        assert source.name(index) == f"train_{index}"
        np.testing.assert_array_equal(
            labels, read_indexed(tmp_path / "trainannot" / f"train_{index}.png")
        )
    assert camvid.is_camvid(tmp_path)
    assert not camvid.is_camvid(tmp_path / "train")


def test_the_content_key_follows_images_and_masks(tmp_path):
    write_camvid(tmp_path)
    first = camvid.open_camvid(tmp_path, "val").content_key()
    assert camvid.open_camvid(tmp_path, "val").content_key() == first
    write_indexed(tmp_path / "valannot" / "val_0.png", np.zeros((32, 48), np.uint8))
    assert camvid.open_camvid(tmp_path, "val").content_key() != first


def test_camvid_s_mistakes(tmp_path):
    write_camvid(tmp_path)
    with pytest.raises(UserError, match=r"no folder .*test.*--val-set"):
        camvid.open_camvid(tmp_path, "test")
    (tmp_path / "valannot" / "val_1.png").unlink()
    with pytest.raises(UserError, match=r"valannot has no mask of val_1.png"):
        camvid.open_camvid(tmp_path, "val")
    (tmp_path / "val" / "val_1.png").unlink()
    (tmp_path / "val" / "val_0.png").unlink()
    with pytest.raises(UserError, match="holds no images"):
        camvid.open_camvid(tmp_path, "val")
    Image.new("RGB", (4, 4)).save(tmp_path / "val" / "new.png")
    with pytest.raises(UserError, match=r"no mask of new\.png"):
        camvid.open_camvid(tmp_path, "val")


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (np.full((32, 48), 12, np.uint8), "holds label 12: expected 0 to 10, or 11 for void"),
        (np.zeros((16, 48), np.uint8), r"is 48 x 32 pixels but its mask .* is 48 x 16"),
    ],
)
def test_masks_that_cannot_be(tmp_path, labels, said):
    write_camvid(tmp_path)
    write_indexed(tmp_path / "trainannot" / "train_2.png", labels)
    with pytest.raises(UserError, match=said):
        camvid.open_camvid(tmp_path, "train").pair(2)


def test_colours_are_no_mask_and_a_damaged_image_is_named(tmp_path):
    write_camvid(tmp_path)
    Image.new("RGB", (48, 32)).save(tmp_path / "trainannot" / "train_0.png")
    (tmp_path / "train" / "train_1.png").write_bytes(b"no image")
    source = camvid.open_camvid(tmp_path, "train")
    with pytest.raises(UserError, match="not labels"):
        source.pair(0)
    with pytest.raises(UserError, match=r"train_1.png cannot be read"):
        source.pair(1)


def test_other_numbers_of_classes(tmp_path):
    write_camvid(tmp_path)
    assert camvid.open_camvid(tmp_path, "train", classes=12).void == 12
    source = camvid.open_camvid(tmp_path, "train", classes=2)
    with pytest.raises(UserError, match="label 11: expected 0 to 1, or 2 for void"):
        source.mask(0)


def test_voc_by_list_in_any_of_its_folders(tmp_path):
    root = write_voc(tmp_path / "VOCdevkit" / "VOC2012")
    for folder in (tmp_path, tmp_path / "VOCdevkit", root):
        assert voc.voc_root(folder) == root
    assert voc.voc_root(root / "JPEGImages") is None
    source = voc.open_voc(root, "val")
    assert (source.classes, source.void, source.name(1)) == (21, 255, "val_1")
    assert set(np.unique(source.mask(0))) == {0, 15}
    objects = voc.open_voc(root, "val", masks=(voc.BY_OBJECT, voc.BY_CLASS))
    assert set(np.unique(objects.mask(0))) == {0, 1, 255}
    assert objects.classes is None


def test_a_file_of_names_is_a_list_too(tmp_path):
    root = write_voc(tmp_path / "voc")
    (tmp_path / "mine.txt").write_text("val_2 1\n\ntrain_0\n")
    source = voc.open_voc(root, str(tmp_path / "mine.txt"))
    assert [source.name(index) for index in range(len(source))] == ["val_2", "train_0"]
    assert len(voc.open_voc(root, "train,val")) == 6
    with pytest.raises(UserError, match=r"names val_2 twice"):
        voc.open_voc(root, f"val,{tmp_path}/mine.txt")


def test_voc_s_mistakes(tmp_path):
    root = write_voc(tmp_path)
    lists = root.joinpath(*SETS)
    with pytest.raises(UserError, match=r"no list .*test\.txt: this folder has train, val"):
        voc.open_voc(root, "test")
    for name, content, said in (
        ("empty", "\n", "names no image"),
        ("twice", "val_0\nval_0\n", "names val_0 twice"),
        ("absent", "val_0\nval_9\n", "the list absent names val_9, but .* no such image"),
    ):
        (lists / f"{name}.txt").write_text(content)
        with pytest.raises(UserError, match=said):
            voc.open_voc(root, name)
    (lists / "odd.txt").write_bytes("größe\n".encode("latin-1"))
    with pytest.raises(UserError, match=r"odd\.txt is not text: expected UTF-8"):
        voc.open_voc(root, "odd")
    (root / "SegmentationClass" / "val_0.png").unlink()
    with pytest.raises(UserError, match=r"val names val_0, but .* no SegmentationClass/val_0.png"):
        voc.open_voc(root, "val")


def test_boxes_count_from_zero_and_exclude_their_end(tmp_path):
    (tmp_path / "Annotations").mkdir()
    box = "<xmin>1</xmin><ymin>11</ymin><xmax>20.0</xmax><ymax>30</ymax>"
    part = "<part><bndbox><xmin>5</xmin></bndbox></part>"
    path = tmp_path / "Annotations" / "a.xml"
    path.write_text(f"<annotation><object><bndbox>{box}</bndbox>{part}</object></annotation>")
    np.testing.assert_array_equal(voc.annotated_boxes(tmp_path, "a"), [[0, 10, 20, 30]])
    assert voc.annotated_boxes(tmp_path, "b") is None
    path.write_text("<annotation/>")
    assert voc.annotated_boxes(tmp_path, "a").shape == (0, 4)
    for content in ("<annotation><object/></annotation>", "<annotation>", ""):
        path.write_text(content)
        with pytest.raises(UserError, match=r"a\.xml cannot be understood"):
            voc.annotated_boxes(tmp_path, "a")


def test_the_real_folders_are_read_whole():
    folder = unpacked("camvid12.tar") / "camvid12"
    for subset, count in (("train", 60), ("val", 24)):
        source = camvid.open_camvid(folder, subset)
        assert len(source) == count
        assert source.pair(count - 1)[0].shape == (360, 480, 3)
    root = voc.voc_root(unpacked("voc_like.tar"))
    real = voc.open_voc(root, "real_voc2011", masks=(voc.BY_OBJECT,))
    assert [len(np.unique(real.pair(index)[1])) - 1 for index in range(3)] == [3, 6, 3]
    assert len(voc.open_voc(root, "val")) == 36
