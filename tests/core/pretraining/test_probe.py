import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from clar_core.data.views import Views
from clar_core.evaluation.probe import ProbeData, Score, encode, paired_difference, probe
from clar_core.evaluation.probe_report import probe_table, verdict, write_report
from clar_core.models.encoder import PointEncoder, PointFeatures
from tests.core.pretraining.made_views import make_views
from tests.core.pretraining.tiny import tiny_config


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> ProbeData:
    directory = make_views(tmp_path_factory.mktemp("views") / "set", episodes=40)
    return ProbeData.load(Views(directory), held_out=["plank"])


def made_features(data: ProbeData, noise: float) -> PointFeatures:
    """Features that hold the truth, and noise beside and upon it."""
    rng = np.random.default_rng(0)
    truth = np.concatenate([data.position, data.gripper, np.eye(len(data.kinds))[data.kind]], axis=1)
    rest = rng.standard_normal((len(truth), 6))
    known = truth + noise * rng.standard_normal(truth.shape)
    pooled = torch.from_numpy(np.concatenate([known, rest], axis=1)).float()
    return PointFeatures(pooled[:, None].repeat(1, 4, 1), torch.zeros(len(truth), 4, 3), pooled)


def test_samples_know_their_objects_and_their_scene(data: ProbeData) -> None:
    assert data.kinds == ("cube", "plank")
    assert data.points.shape == (80, 128, 3)
    assert (data.held_out == (data.kind == 1)).all()
    assert data.scene.tolist() == [s for s in range(40) for _ in range(2)]


def test_no_scene_is_on_both_sides_of_the_split(data: ProbeData) -> None:
    train, test = data.split(0)
    assert not set(data.scene[train]) & set(data.scene[test])
    assert (train ^ test).all()


def test_what_the_features_hold_is_read_out_and_what_they_lack_is_not(data: ProbeData) -> None:
    good, poor = probe(made_features(data, 0.001), data), probe(made_features(data, 1.0), data)
    columns = itertools.product(("position", "class", "gripper"), ("linear", "attentive"), ("seen", "held_out"))
    assert set(good) == {"/".join(parts) for parts in columns}
    assert good["position/linear/seen"].mean < 15.0
    assert good["class/linear/seen"].mean > 95.0
    assert good["position/linear/seen"].mean < 0.5 * poor["position/linear/seen"].mean
    assert good["class/attentive/seen"].mean > poor["class/attentive/seen"].mean
    for score in good.values():
        assert score.low <= score.mean <= score.high


def test_a_difference_is_paired_and_stated_only_where_it_is_one(data: ProbeData) -> None:
    rng = np.random.default_rng(0)
    errors, scenes = rng.normal(30, 20, 200), np.repeat(np.arange(100), 2)
    first, better = Score(30, 0, 0, errors, scenes), Score(25, 0, 0, errors - 5, scenes)
    assert paired_difference(better, first) == pytest.approx((-5, -5, -5))
    assert verdict("position/linear/seen", better, first) == "better"
    assert verdict("class/linear/seen", better, first) == "worse"
    assert verdict("position/linear/seen", first, first) == "equal"


def test_the_report_is_a_table_a_figure_and_json(data: ProbeData, tmp_path: Path) -> None:
    scores = {"random": probe(made_features(data, 1.0), data), "pre-trained": probe(made_features(data, 0.001), data)}
    path = write_report(tmp_path / "probe", scores, {"samples": 80})
    table = path.read_text()
    assert table.strip() == probe_table(scores)
    assert "| pre-trained | **" in table
    assert (tmp_path / "probe/probe.png").stat().st_size > 10_000
    assert (tmp_path / "probe/probe.json").exists()


def test_an_encoder_is_probed_as_it_would_be_deployed(data: ProbeData) -> None:
    torch.manual_seed(0)
    encoder = PointEncoder(tiny_config(Path(), Path()).encoder)
    features = encode(encoder, data.points[:40])
    torch.testing.assert_close(features.pooled[:3], encoder.eval()(torch.from_numpy(data.points[:3])).pooled)
    assert features.tokens.shape == (40, 16, 24)
