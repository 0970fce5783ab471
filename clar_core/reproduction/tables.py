"""The paper's tables: every row with its figures, and what a row needs that is not here. Success in percent."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Literal

from clar_core.data.augmentation import AugmentationConfig
from clar_core.data.metaworld_tasks import ABLATION, BASICS, DIFFICULTIES, MULTI_TASK, PERSPECTIVE
from clar_core.models.registry import BASELINES, encoder_preset, image_pixels

Kind = Literal["single", "multi", "perspective", "elsewhere"]
Training = Literal["scratch", "frozen", "frozen_random"]

# The default motions keep within the reach of another arm.
_STILL = AugmentationConfig(yaw_rad=0.0, translation_xy_m=0.0, translation_z_m=0.0)
_SHIFTED = AugmentationConfig(
    yaw_rad=0.0,
    translation_xy_m=0.08,
    translation_z_m=0.03,
    reach_min_m=(-0.5, 0.3, 0.0),
    reach_max_m=(0.5, 1.0, 0.6),
    max_lost=0.3,
)
"""The hand, the things and the action move together; no turning, for the arm is seen, too."""

_VIEWS = "outputs/data/metaworld_views"
_TERMS = {
    "pretrained": "",
    "wo_mae": " --loss.no-mae",
    "wo_local": " --loss.no-local",
    "wo_local_con": " --loss.no-local --loss.no-image --loss.no-text",
    "mae_local": " --loss.no-image --loss.no-text",
}
"""Options of ``clar pretrain`` by the ablation's rows (Table V); the last one is not in the paper."""
_LIFT3D = (
    "weights: of Lift3D's own pre-training, and CLIP's behind it; with a file of CLIP's, `clar train --encoder lift3d "
    "--init-from FILE` trains the row by hand"
)


def _pretrained(choice: str) -> str:
    """What a row lacks until it is given a checkpoint of ``clar pretrain``: the paper published no weights."""
    preset = "small" if choice.startswith("clar_cpu_") else "paper"
    terms = _TERMS[choice.removeprefix("clar_").removeprefix("cpu_")]
    return (
        f"a checkpoint that was pre-trained in MetaWorld's crop box, which --weights {choice}=DIR gives: of "
        f"`clar pretrain {preset} --views {_VIEWS} --teacher.kind rendered{terms}`, on views of "
        "`clar data metaworld-views`"
    )


def _weights(encoder: str) -> str:
    """What a row of a published encoder lacks until it is given its file."""
    source: str = BASELINES[encoder][1].weights_source  # type: ignore[attr-defined]
    return f"weights, which --weights {encoder}=FILE gives: {source}"


@dataclass(frozen=True)
class Row:
    """One row of a table.

    Attributes:
        name: as printed.
        paper: figures by column, in percent.
        encoder: preset that runs it; empty where none does.
        lacks: what it takes that is not here; empty for a row that runs. A row with an encoder that lacks something
            runs once it is given weights.
        command: that runs it where what it lacks is there; empty where there is none.
        frame: of the clouds.
        choice: its name on the command line; the encoder's when left out, as where several rows have the same encoder.
        training: how the encoder learns; one of images stays as published.
    """

    name: str
    paper: dict[str, float]
    encoder: str = ""
    lacks: str = ""
    frame: Literal["world", "view"] = "world"
    command: str = ""
    choice: str = ""
    training: Training = "scratch"

    def __post_init__(self) -> None:
        object.__setattr__(self, "choice", self.choice or self.encoder)
        if self.sees_images:
            object.__setattr__(self, "training", "frozen")

    @property
    def sees_images(self) -> bool:
        """Whether its encoder looks at colour images."""
        return bool(self.encoder) and image_pixels(encoder_preset(self.encoder)) > 0

    def runs_with(self, weights: Collection[str]) -> bool:
        """Whether it runs, given the weights of these choices."""
        return bool(self.encoder) and (not self.lacks or self.choice in weights)


@dataclass(frozen=True)
class Table:
    """One table or figure.

    Attributes:
        title: what it shows.
        kind: how it is run: a policy a task, one for all tasks, a policy a task under two cameras, or not by this
            command.
        tasks: of MetaWorld.
        rows: in the paper's order, ours added at the end.
        differences: how the protocol here differs from the paper's.
        instead: a command that runs what of it can run here, for ``elsewhere``.
        augmentation: how training samples are varied; not moved, as the paper's are not, when left out.
    """

    title: str
    kind: Kind
    tasks: tuple[str, ...]
    rows: tuple[Row, ...]
    differences: str = ""
    instead: str = ""
    augmentation: AugmentationConfig = _STILL


def _row(name: str, columns: str, figures: str, encoder: str = "", lacks: str = "", command: str = "") -> Row:
    values = dict(zip(columns.split(), map(float, figures.split()), strict=False))
    if encoder and image_pixels(encoder_preset(encoder)):
        lacks = _weights(encoder)
    return Row(name, values, encoder, lacks, command=command)


def _clar(name: str, choice: str, columns: str = "", figures: str = "") -> Row:
    """A row of a pre-trained encoder of ours; ``choice`` tells the size and the terms of the loss."""
    encoder = "clar_cpu" if choice.startswith("clar_cpu_") else "clar"
    row = _row(name, columns, figures, encoder, _pretrained(choice))
    return replace(row, choice=choice)


_SMALL_SCRATCH = Row("CLAR from scratch, 192 x 6", {}, "clar_cpu")
_SMALL_PRETRAINED = _clar("CLAR, 192 x 6", "clar_cpu_pretrained")


_T1 = "easy medium hard mean rlbench"
_T2 = "close_box close_laptop_lid water_plants toilet_seat_down mean"
_T3 = "button-press reach lever-pull mean"
_T4 = "button-press reach box-close mean"

_BASIC = (
    "Success is any step's within 200 steps; the checkpoint is the one of the lowest validation loss and the starts "
    "are fresh, where the paper reports the best of 15 evaluations during training. Encoders of images stay fixed."
)
_SIMULATOR = "RLBench and CoppeliaSim 4.1, which this project does not install (https://github.com/stepjam/RLBench)"

_RVT2 = (
    "RLBench and CoppeliaSim 4.1, an installed RVT-2 (https://github.com/NVlabs/RVT), and its weights for these tasks"
)
_RVT2_COMMAND = (
    "clar eval rlbench RVT/rvt/runs/rvt2/model_99.pth --policy rvt2 --tasks close_box close_laptop_lid water_plants "
    "toilet_seat_down"
)


def _on_rlbench(encoder: str) -> str:
    """The command for one task's run of an encoder."""
    return f"clar eval rlbench outputs/training/close_box_{encoder}"


TABLES: dict[str, Table] = {
    "table1": Table(
        "Table I: representations on MetaWorld and RLBench",
        "single",
        tuple(task for group in DIFFICULTIES.values() for task in group),
        (
            _row("CLIP", _T1, "58.0 62.4 48.8 56.4 48.0", "clip"),
            _row("R3M", _T1, "80.0 68.8 56.4 68.4 53.0", "r3m"),
            _row("VC-1", _T1, "50.8 72.4 47.2 56.8 43.0", "vc1"),
            _row("VGGT", _T1, "16.8 17.6 2.4 12.2", "vggt"),
            _row("PointNet", _T1, "70.4 52.4 44.0 55.6 55.5", "pointnet"),
            _row("PointNet++", _T1, "82.0 60.8 57.6 66.8 60.0", "pointnet2"),
            _row("PointNext", _T1, "76.8 63.6 39.2 59.8 56.0", "pointnext"),
            _row("DP3", _T1, "79.2 51.2 50.5 60.3", "dp3"),
            Row("DP3 with its diffusion head", {}, "dp3_diffusion"),
            _row("SPA", _T1, "65.2 76.8 57.6 66.5 63.0", "spa"),
            _row("Lift3D", _T1, "89.2 80.4 60.8 76.8 77.0", lacks=_LIFT3D),
            _clar("CLAR", "clar_pretrained", _T1, "96.0 80.8 71.2 82.6 82.0"),
            Row("CLAR from scratch", {}, "clar"),
            _SMALL_PRETRAINED,
            _SMALL_SCRATCH,
            Row("blind", {}, "blind"),
        ),
        _BASIC
        + " DP3 is its encoder behind the common head; the row below it has DP3's own head. The RLBench column lacks "
        f"{_SIMULATOR}; Table II has its commands, with `--encoder` of a row.",
    ),
    "table2": Table(
        "Table II: policies on RLBench",
        "elsewhere",
        (),
        (
            _row("PointNet", _T2, "52 88 20 96 64", lacks=_SIMULATOR, command=_on_rlbench("pointnet")),
            _row("RVT-2(M)", _T2, "88 100 12 100 75", lacks=_RVT2, command=_RVT2_COMMAND),
            _row("RVT-2", _T2, "96 76 16 96 71", lacks=f"{_RVT2}, and a training of one camera"),
            _row("Lift3D", _T2, "92 92 24 100 77", lacks=f"{_SIMULATOR}; and {_LIFT3D}"),
            _row(
                "CLAR",
                _T2,
                "96 100 32 100 82",
                lacks=f"{_SIMULATOR}; and an encoder that was pre-trained on its crop box, else it is from scratch",
                command=_on_rlbench("clar"),
            ),
        ),
        "The rows are the paper's own figures, RVT-2's included. PointNet's mean is 64 here and 55.5 in Table I. Here "
        "trials begin at random starts, of which the paper says nothing; 25 keyframes at most; the planner ignores "
        "collisions. One policy a task, from the front camera.",
        "\n".join(
            (
                "clar data import rlbench RLBench/close_box --action keyframe --output outputs/data/close_box",
                "clar train --stores outputs/data/close_box --output outputs/training/close_box_pointnet "
                "--encoder pointnet",
                "clar eval rlbench outputs/training/close_box_pointnet --demos RLBench_test/close_box",
            )
        ),
    ),
    "table3": Table(
        "Table III: one policy, three tasks, told by sentences",
        "multi",
        MULTI_TASK,
        (
            _row("CLIP", _T3, "60 20 20 33.3", "clip"),
            _row("R3M", _T3, "40 60 60 53.3", "r3m"),
            _row("VC-1", _T3, "60 60 80 66.6", "vc1"),
            _row("PointNet", _T3, "60 40 60 53.3", "pointnet"),
            _row("PointNet++", _T3, "80 20 20 40.0", "pointnet2"),
            _row("PointNext", _T3, "60 40 20 40.0", "pointnext"),
            _row("SPA", _T3, "80 0 100 60.0", "spa"),
            _row("Lift3D", _T3, "60 40 80 60.0", lacks=_LIFT3D),
            _clar("CLAR", "clar_pretrained", _T3, "60 60 100 73.3"),
            _SMALL_PRETRAINED,
            _SMALL_SCRATCH,
        ),
        _BASIC
        + " Sentences are hashed words, not CLIP's text features, and those of the trials are in no demonstration.",
    ),
    "table4": Table(
        "Table IV: trained under corner, tested under corner2",
        "perspective",
        PERSPECTIVE,
        (
            _row("CLIP", _T4, "50 28 4 27.3", "clip"),
            _row("R3M", _T4, "0 8 4 18.6", "r3m"),
            _row("VC-1", _T4, "8 28 4 13.3", "vc1"),
            _row("Lift3D", _T4, "100 80 56 78.6", lacks=_LIFT3D),
            _clar("CLAR", "clar_pretrained", _T4, "100 80 72 84"),
            Row("PointNet", {}, "pointnet"),
            Row("PointNet, every view normalised by itself", {}, "pointnet", frame="view"),
            Row("DP3", {}, "dp3"),
            Row("DP3, every view normalised by itself", {}, "dp3", frame="view"),
            Row("DP3 with its diffusion head", {}, "dp3_diffusion"),
            _SMALL_PRETRAINED,
            _SMALL_SCRATCH,
        ),
        _BASIC
        + " Both cameras are expressed in the one frame of the world. The control has no such frame: every cloud "
        "is turned into its camera's frame, centred and scaled. R3M's tasks have a mean of 4.0, not the printed 18.6.",
    ),
    "table5": Table(
        "Table V: what each part of pre-training gives",
        "single",
        ABLATION,
        (
            _clar("CLAR", "clar_pretrained", "mean", "83"),
            _clar("CLAR w/o MAE", "clar_wo_mae", "mean", "73"),
            _clar("CLAR w/o Local", "clar_wo_local", "mean", "77"),
            _clar("CLAR w/o Local and Con.", "clar_wo_local_con", "mean", "70"),
            _row("CLAR w/o Pre.", "mean", "65", "clar"),
            _SMALL_PRETRAINED,
            _clar("CLAR w/o MAE, 192 x 6", "clar_cpu_wo_mae"),
            _clar("CLAR w/o Local, 192 x 6", "clar_cpu_wo_local"),
            _clar("CLAR w/o Local and Con., 192 x 6", "clar_cpu_wo_local_con"),
            _clar("CLAR w/o Con., 192 x 6", "clar_cpu_mae_local"),
            Row("CLAR w/o Pre., 192 x 6", {}, "clar_cpu"),
        ),
        f"{_BASIC} The row without contrast (Con.) alone is not in the paper.",
    ),
    "basics": Table(
        "Four tasks, not a table of the paper: sized for two CPU cores",
        "single",
        BASICS,
        (
            Row("PointNet", {}, "pointnet"),
            _SMALL_PRETRAINED,
            _SMALL_SCRATCH,
            Row(
                "a random encoder that stays as it is, 192 x 6",
                {},
                "clar_cpu",
                choice="frozen_random",
                training="frozen_random",
            ),
            Row("blind", {}, "blind"),
        ),
        f"{_BASIC} Training samples are shifted by up to 8 cm sideways and 3 cm in height, cloud, state and action "
        "together, where the paper moves nothing.",
        augmentation=_SHIFTED,
    ),
    "fig4": Table(
        "Fig. 4: five tasks on the robot",
        "elsewhere",
        (),
        (Row("CLAR", {}, lacks="a Franka arm with a RealSense D455; the simulated cell stands in for it"),),
        "The paper draws bars without figures.",
        "clar train suite",
    ),
    "fig6": Table(
        "Fig. 6: where the encoder looks",
        "elsewhere",
        (),
        (Row("CLAR", {}, lacks="the weights and scenes of the paper"),),
        "An encoder of clar pretrain, on scenes of the simulated cell.",
        "clar attention",
    ),
}
