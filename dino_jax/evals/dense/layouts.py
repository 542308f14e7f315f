"""Folders of images and masks by the layout they are found to have."""

from dino_jax.config import UserError
from dino_jax.data.camvid import is_camvid, open_camvid
from dino_jax.data.folder import folder_of
from dino_jax.data.masked import MaskedImages
from dino_jax.data.voc import open_voc, voc_root


def open_masked(spec: str, subset: str, *, classes: int | None, channels: int) -> MaskedImages:
    """The images and class masks of one subset, in the layout of CamVid or of VOC.

    Raises:
        UserError: no such folder, one of neither layout, or one that lacks what its layout needs.
    """
    folder = folder_of(spec)
    if not folder.is_dir():
        raise UserError(
            f"there is no folder {folder}: --data is a folder laid out as CamVid or VOC"
        )
    if (root := voc_root(folder)) is not None:
        return open_voc(root, subset, classes=classes, channels=channels)
    if is_camvid(folder):
        return open_camvid(folder, subset, classes=classes, channels=channels)
    held = ", ".join(sorted(each.name for each in folder.iterdir())[:6]) or "nothing"
    raise UserError(
        f"{folder} is laid out neither as CamVid (train, trainannot, val, valannot) nor as VOC "
        f"(JPEGImages, SegmentationClass, ImageSets/Segmentation): it holds {held}"
    )
