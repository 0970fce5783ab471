"""Weights that a policy's training starts from: another policy, or an encoder that was pre-trained."""

from __future__ import annotations

from pathlib import Path

from clar_core.models.baselines.published import load_published, missing_weights, takes_published_weights
from clar_core.models.clar import Clar, ClarConfig
from clar_core.models.encoder import PointEncoderConfig
from clar_core.models.image_encoder import ImageEncoder
from clar_core.models.policy import BasePolicy
from clar_core.models.registry import PolicyConfig
from clar_core.observation.spec import ObservationSpec
from clar_core.training.checkpoints import CheckpointError, check_observation, load_checkpoint
from clar_core.training.config import ImitationConfig
from clar_core.training.normalizer import Normalizer
from clar_core.training.pretrain_checkpoints import is_pretrained, load_pretrained
from clar_core.training.pretrain_start import initialise


def start_from(
    policy: BasePolicy, wanted: PolicyConfig, config: ImitationConfig, spec: ObservationSpec
) -> Normalizer | None:
    """Load what ``config.init_from`` holds into a policy; without it the policy stays as it is.

    Args:
        policy: changed in place.
        wanted: its architecture.
        config: the run; its ``init_from`` is a policy's checkpoint, one of ``clar pretrain``, or a file of Point-MAE
            or of the weights that others published for this encoder.
        spec: how the demonstrations were observed.

    Returns:
        The units of a whole policy that is continued; ``None`` otherwise.

    Raises:
        CheckpointError: it cannot be read, or has another architecture or observation.
        ImportedWeightsError, PublishedWeightsError: the weights do not fit the encoder, or an encoder of images, which
            nothing here could train, was given none.
    """
    source = config.init_from
    if source is None:
        if isinstance(policy.encoder, ImageEncoder) and config.encoder_training != "frozen_random":
            raise missing_weights(policy.encoder)
        return None
    if takes_published_weights(policy.encoder) and not source.is_dir():
        load_published(policy.encoder, source)
        return None
    if source.is_file() or is_pretrained(source):
        _start_from_encoder(policy, wanted, source, spec)
        return None
    checkpoint = load_checkpoint(source)
    check_observation(checkpoint, spec)
    parts = ("encoder",) if config.init_encoder_only else ("encoder", "head")
    for part in parts:
        _check_same(source, part, wanted.to_dict()[part], checkpoint.config.to_dict()[part])
    weights = checkpoint.policy.state_dict()
    if config.init_encoder_only:
        weights = {name: value for name, value in weights.items() if name.startswith("encoder.")}
    policy.load_state_dict(weights, strict=not config.init_encoder_only)
    return None if config.init_encoder_only else checkpoint.normalizer


def _start_from_encoder(policy: BasePolicy, wanted: PolicyConfig, source: Path, spec: ObservationSpec) -> None:
    if not isinstance(wanted.encoder, PointEncoderConfig) or policy.encoder is None:
        raise CheckpointError(
            f"{source}: holds a pre-trained point encoder, and the run asks for another kind; choose the encoder that "
            "it was made for, for example --encoder clar_small"
        )
    if source.is_dir():
        pretrained = load_pretrained(source)
        if lines := pretrained.spec.differences(spec):
            raise CheckpointError(
                f"{source}/config.json: pre-trained on another observation than the demonstrations (checkpoint, "
                f"demonstrations): {'; '.join(lines)}; pre-train or collect with the other one's"
            )
        theirs = PolicyConfig(encoder=pretrained.config.encoder).to_dict()["encoder"]
        _check_same(source, "encoder", wanted.to_dict()["encoder"], theirs)
        # the encoder alone: the rest has the width of a teacher that no policy needs
        policy.encoder.load_state_dict(pretrained.model.encoder.state_dict())
        return
    model = Clar(ClarConfig(encoder=wanted.encoder))
    initialise(model, source)
    policy.encoder.load_state_dict(model.encoder.state_dict())


def _check_same(source: Path, part: str, mine: dict[str, object], theirs: dict[str, object]) -> None:
    for name in sorted(set(mine) | set(theirs)):
        if mine.get(name) != theirs.get(name):
            raise CheckpointError(
                f"{source}/config.json: model.{part}.{name} is {theirs.get(name)!r}, the run asks for "
                f"{mine.get(name)!r}; choose the encoder and head that the checkpoint has"
            )
