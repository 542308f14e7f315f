"""ViT-S/16 on landmarks (the clean part of Google Landmarks v2, 1.2 million), for retrieval.

Paper: Table 3, row "DINO, ViT-S/16, GLDv2". Values: the boosted run's, from scratch, as the
authors said of it; its length is not published, 300 epochs are taken.
Hardware: not published; the boosted run's was 2 x 8 GPUs, 64 images each.
Command: python -m dino_jax.main --config=configs/vit_s16_gldv2.py --workdir=runs/vit_s16_gldv2
    --config.data.train=folder:gldv2_clean
Expected: mAP on revisited Oxford 51.5 medium, 24.3 hard; on revisited Paris 75.3 medium, 51.6
hard (published; not yet run here).
"""

from dino_jax.config import Config


def get_config() -> Config:
    """Differences from the defaults of main_dino.py."""
    config = Config(batch_size=1024, epochs=300)
    config.head.norm_last_layer = False
    config.teacher.temperature = 0.07
    config.teacher.warmup_temperature_epochs = 30
    config.data.train = "folder:gldv2_clean"
    return config
