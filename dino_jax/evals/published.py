"""What the paper and its repository report, by protocol and network, in percent.

Sources: README of facebookresearch/dino (k-NN, linear); the paper's tables 3, 4, 5, 10, figure 4.
The names of the figures are those of our reports.
"""

from collections.abc import Mapping

from dino_jax.interop.official import OFFICIAL

_KNN = {"knn_top1": "knn20_top1"}
_LINEAR = {"linear_top1": "linear_top1"}

_OTHERS: Mapping[tuple[str, str, int], Mapping[str, float]] = {
    # Table 10: ViT-S and ResNet-50
    ("logistic", "vit_small", 16): {
        "logistic_100_map": 89.2,  # VOC 2007
        "logistic_100_top1": 75.7,
        "logistic_10_top1": 72.2,
        "logistic_1_top1": 64.5,
    },
    ("logistic", "resnet50", 32): {
        "logistic_100_map": 88.9,
        "logistic_100_top1": 72.1,
        "logistic_10_top1": 67.8,
        "logistic_1_top1": 55.1,
    },
    # Table 6, ImageNet
    ("finetune", "vit_small", 16): {"top1": 81.5},
    ("finetune", "vit_base", 16): {"top1": 82.8},
    # Table 5, DAVIS-2017
    ("video", "vit_small", 16): {"jf_mean": 61.8, "j_mean": 60.2, "f_mean": 63.4},
    ("video", "vit_base", 16): {"jf_mean": 62.3, "j_mean": 60.7, "f_mean": 63.9},
    ("video", "vit_small", 8): {"jf_mean": 69.9, "j_mean": 66.6, "f_mean": 73.1},
    ("video", "vit_base", 8): {"jf_mean": 71.4, "j_mean": 67.9, "f_mean": 74.9},
    # VOC 2012: at 80 % of the mass (appendix D); figure 4, at 60 %
    ("jaccard", "vit_small", 16): {"jaccard_80": 45.9},
    ("jaccard", "vit_small", 8): {"jaccard_60": 44.7},
    # Table 3: weights trained on ImageNet, not the better ones trained on landmarks
    ("retrieval", "vit_small", 16): {
        "roxford5k_medium_map": 41.8,
        "roxford5k_hard_map": 13.7,
        "rparis6k_medium_map": 63.1,
        "rparis6k_hard_map": 34.4,
    },
    ("retrieval", "resnet50", 32): {
        "roxford5k_medium_map": 35.4,
        "roxford5k_hard_map": 11.1,
        "rparis6k_medium_map": 55.9,
        "rparis6k_hard_map": 27.5,
    },
    # Table 4: at 224 pixels, at 320
    ("copy-detection", "vit_base", 16): {"copydays_strong_map": 81.7},
    ("copy-detection", "vit_base", 8): {"copydays_strong_map": 85.5},
}  # fmt: skip


def published(protocol: str, arch: str, patch_size: int) -> dict[str, float]:
    """Figures by our names, of the network of that architecture trained on ImageNet; or none."""
    found = dict(_OTHERS.get((protocol, arch, patch_size), {}))
    renamed = {"knn": _KNN, "linear": _LINEAR}.get(protocol, {})
    for name, official in OFFICIAL.items():
        if name.startswith("dino_") and (official.arch, official.patch_size) == (arch, patch_size):
            found |= {ours: official.scores[theirs] for theirs, ours in renamed.items()}
    return found
