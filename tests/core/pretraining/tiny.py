"""A pre-training run small enough for tests; as a module it trains: `python -m ….tiny VIEWS OUTPUT SAMPLES`"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from clar_core.models.clar import LossConfig
from clar_core.models.encoder import PointEncoderConfig
from clar_core.models.masked_autoencoder import DecoderConfig
from clar_core.models.teachers import TeacherConfig
from clar_core.training.pretrain_config import PretrainConfig


def tiny_config(views: Path, output: Path, **changes: Any) -> PretrainConfig:
    settings: dict[str, Any] = {
        "encoder": PointEncoderConfig(
            dim=24, depth=2, heads=3, centres=16, neighbours=8, patch_widths=(8, 12, 16), drop_path=0.0
        ),
        "decoder": DecoderConfig(depth=1, heads=3, drop_path=0.0),
        "teacher": TeacherConfig(kind="rendered"),
        "loss": LossConfig(),
        "samples": 48,
        "batch_size": 8,
        "validate_every": 16,
        "save_every": 8,
        "device": "cpu",
        "precision": "fp32",
        "threads": 1,
        **changes,
    }
    return PretrainConfig(views=views, output=output, **settings)


if __name__ == "__main__":
    from clar_core.training.pretrain import pretrain

    pretrain(tiny_config(Path(sys.argv[1]), Path(sys.argv[2]), samples=int(sys.argv[3]), freeze_batch_norm=True))
