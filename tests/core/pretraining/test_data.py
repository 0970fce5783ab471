from pathlib import Path

import cv2
import numpy as np
import pytest

from clar_core.data.pretrain import (
    CloudAugmentation,
    EpisodeSampler,
    PretrainDataset,
    PretrainKey,
    collate_pretrain,
    split_episodes,
)
from clar_core.data.store import StoreError, StoreWriter
from clar_core.data.teacher_features import TeacherFeatures, load_teacher_features
from clar_core.data.views import Instant, Views, ViewWriter
from clar_core.geometry.camera import Intrinsics, project
from clar_core.geometry.poses import inverse, transform_points
from clar_core.models.teachers import TeacherConfig
from tests.core.pretraining.made_views import LABELS, SIZE, SPEC, make_instant, make_views

RENDERED = TeacherConfig(kind="rendered")


@pytest.fixture(scope="module")
def views(tmp_path_factory: pytest.TempPathFactory) -> Views:
    return Views(make_views(tmp_path_factory.mktemp("views") / "set"))


@pytest.fixture(scope="module")
def features(views: Views) -> TeacherFeatures:
    return load_teacher_features(views, RENDERED)


def dataset(views: Views, features: TeacherFeatures | None, **options: object) -> PretrainDataset:
    settings: dict[str, object] = {"groups": 16, "augmentation": CloudAugmentation(), **options}
    return PretrainDataset(views, features, np.arange(views.episodes), **settings)  # type: ignore[arg-type]


def test_views_come_back_as_they_were_written(views: Views) -> None:
    instant = make_instant(3)
    assert views.episodes == views.instants == 12
    assert views.views == 24
    np.testing.assert_array_equal(views.read("image", 6, 8), np.stack([v.image for v in instant.views]))
    np.testing.assert_array_equal(views.read("labels", 6, 8), np.stack([v.labels for v in instant.views]))
    np.testing.assert_allclose(views.read("T_base_image", 7, 8)[0], instant.views[1].T_base_image)
    assert views.intrinsics()[7] == instant.views[1].intrinsics
    assert views.sentences[3] == "take the red cube 0"
    assert views.read("camera").tolist() == [0, -1] * 12
    assert views.labels == LABELS


def test_augmented_patch_centres_project_back_to_where_the_image_shows_them(
    views: Views, features: TeacherFeatures
) -> None:
    jitter_free = CloudAugmentation(jitter_m=0.0)
    data = dataset(views, features, augmentation=jitter_free)
    intrinsics, poses = views.intrinsics(), views.read("T_base_image")
    for episode in range(6):
        sample = data[PretrainKey(0, 5, episode)]
        centres = views.spec.denormalise(sample.points[:16])
        restored = sample.motion.undo(centres)
        assert np.abs(restored - centres).max() > 1e-3
        pixels = project(
            transform_points(inverse(poses[sample.view]), restored.astype(np.float64)), intrinsics[sample.view]
        )
        reference = (pixels + 0.5) / SIZE
        np.testing.assert_allclose(sample.reference[sample.valid], reference[sample.valid], atol=1e-4)


def test_projection_agrees_with_opencv() -> None:
    instant = make_instant(0)
    view = instant.views[1]
    lens = Intrinsics(640, 480, 600.0, 602.0, 318.0, 242.0, "brown_conrady", (-0.05, 0.06, -0.0005, 0.0004, -0.02))
    T_image_base = inverse(view.T_base_image)
    rotation, _ = cv2.Rodrigues(T_image_base[:3, :3])
    points = view.cloud.astype(np.float64)
    expected, _ = cv2.projectPoints(points, rotation, T_image_base[:3, 3], lens.matrix, np.array(lens.coefficients))
    np.testing.assert_allclose(project(transform_points(T_image_base, points), lens), expected[:, 0], atol=1e-6)


def test_resized_intrinsics_project_into_the_resized_image() -> None:
    whole = Intrinsics(640, 480, 382.8, 382.3, 318.4, 241.2)
    points = np.random.default_rng(0).uniform((-0.4, -0.3, 0.5), (0.4, 0.3, 1.2), (50, 3))
    relative = (project(points, whole) + 0.5) / (640, 480)
    resized = (project(points, whole.scaled(224, 224)) + 0.5) / 224
    np.testing.assert_allclose(relative, resized, atol=1e-9)


def test_hidden_and_cropped_centres_are_not_valid(views: Views, features: TeacherFeatures) -> None:
    data = dataset(views, features)
    poses, depth, intrinsics = views.read("T_base_image"), views.read("image_depth"), views.intrinsics()
    seen = hidden = 0
    for number in range(36):
        sample = data[PretrainKey(1, number, number % 12)]
        cloud = views.spec.denormalise(sample.points[:16])
        optical = transform_points(inverse(poses[sample.view]), sample.motion.undo(cloud).astype(np.float64))
        pixels = project(optical, intrinsics[sample.view])
        for (u, v), z, valid in zip(pixels, optical[:, 2], sample.valid, strict=True):
            inside = 0 <= u < SIZE - 0.6 and 0 <= v < SIZE - 0.6
            if not inside:
                continue
            rows, columns = slice(max(round(v) - 1, 0), round(v) + 2), slice(max(round(u) - 1, 0), round(u) + 2)
            nearby = depth[sample.view, rows, columns] / 1e3
            if z > nearby.max() + 0.03:
                hidden += 1
                assert not valid
            if z < nearby.min() + 0.01:
                seen += 1
                assert valid
    assert seen > 20
    assert hidden > 0


def test_a_sample_depends_on_its_key_alone(views: Views, features: TeacherFeatures) -> None:
    first, second = dataset(views, features), dataset(views, features)
    first[PretrainKey(0, 3, 2)]
    a, b = first[PretrainKey(0, 4, 7)], second[PretrainKey(0, 4, 7)]
    for name in ("points", "mask", "reference", "priority", "feature_map"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    assert a.mask.sum() == 10
    assert not np.array_equal(a.points, first[PretrainKey(0, 5, 7)].points)


def test_no_episode_is_twice_in_a_batch_and_processes_share_it_evenly() -> None:
    whole = list(EpisodeSampler(10, 4, seed=1, start=0, stop=6))
    for keys in whole:
        assert len({key.episode for key in keys}) == 4
    parts = [list(EpisodeSampler(10, 4, seed=1, start=0, stop=6, rank=r, processes=2)) for r in range(2)]
    for step, keys in enumerate(whole):
        assert sorted(parts[0][step] + parts[1][step]) == sorted(keys)
    assert list(EpisodeSampler(10, 4, seed=1, start=4, stop=6)) == whole[4:]
    with pytest.raises(ValueError, match="at most one sample an episode, 10, got 16"):
        EpisodeSampler(10, 16, seed=1, start=0, stop=1)
    with pytest.raises(ValueError, match="multiple of the 3 processes"):
        EpisodeSampler(10, 4, seed=1, start=0, stop=1, processes=3)


def test_training_and_validation_share_no_episode() -> None:
    training, validation = split_episodes(20, 0.1, 0)
    assert sorted([*training, *validation]) == list(range(20))
    assert len(validation) == 2
    with pytest.raises(ValueError, match="at least 4 episodes"):
        split_episodes(3, 0.1, 0)


def test_teacher_features_are_computed_once_and_keep_cosines(views: Views, features: TeacherFeatures) -> None:
    from clar_core.models.teachers import build_teacher

    calls: list[int] = []
    again = load_teacher_features(views, RENDERED, progress=lambda done, _: calls.append(done))
    assert calls == []
    np.testing.assert_array_equal(again.maps, features.maps)
    raw = build_teacher(RENDERED, LABELS).images(views.read("image"), views.read("labels")).maps.reshape(-1, 512)
    kept = features.maps.reshape(len(raw), -1).astype(np.float32)
    rows = np.random.default_rng(0).integers(0, len(raw), (200, 2))

    def cosine(values: np.ndarray) -> np.ndarray:
        unit = values / np.linalg.norm(values, axis=1, keepdims=True)
        return np.einsum("ij,ij->i", unit[rows[:, 0]], unit[rows[:, 1]])

    np.testing.assert_allclose(cosine(kept), cosine(raw), atol=5e-3)


def test_a_fixed_camera_has_a_mean_of_its_own_at_every_position(views: Views, features: TeacherFeatures) -> None:
    fixed = features.maps[views.read("camera") == 0].astype(np.float32)
    np.testing.assert_allclose((fixed - features.means[0]).mean(0), 0.0, atol=1e-3)
    assert np.ptp(features.means[-1], axis=(0, 1)).max() == 0.0
    assert not load_teacher_features(views, RENDERED, subtract_mean=False).means.any()


def test_feature_computation_that_was_cut_off_goes_on(tmp_path: Path) -> None:
    views = Views(make_views(tmp_path / "set", episodes=10))

    def cut_off(done: int, _: int) -> None:
        if done == 16:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load_teacher_features(views, RENDERED, progress=cut_off)
    calls: list[int] = []
    resumed = load_teacher_features(views, RENDERED, progress=lambda done, _: calls.append(done))
    assert calls == [20]
    whole = load_teacher_features(Views(make_views(tmp_path / "other", episodes=10)), RENDERED)
    np.testing.assert_array_equal(resumed.maps, whole.maps)


def test_a_store_of_demonstrations_has_no_images(tmp_path: Path) -> None:
    StoreWriter(tmp_path / "demos", SPEC)
    with pytest.raises(StoreError, match=r"holds clouds and no images.*clar data views"):
        Views(tmp_path / "demos")
    with pytest.raises(StoreError, match="no set of views here"):
        Views(tmp_path / "nothing")


def test_an_episode_that_was_being_written_is_not_there(tmp_path: Path) -> None:
    directory = make_views(tmp_path / "set", episodes=4)
    writer = ViewWriter(directory, SPEC, image_size=SIZE, labels=LABELS, points_per_cloud=256)
    writer._put("cloud", 8, np.zeros((2, 256, 3), np.float16))
    assert Views(directory).episodes == 4
    ViewWriter(directory, SPEC, image_size=SIZE, labels=LABELS, points_per_cloud=256).append([make_instant(4)])
    assert Views(directory).views == 10
    with pytest.raises(StoreError, match="labels is"):
        ViewWriter(directory, SPEC, image_size=SIZE, labels=("other",), points_per_cloud=256)


def test_malformed_views_are_refused_by_field(tmp_path: Path) -> None:
    writer = ViewWriter(tmp_path / "set", SPEC, image_size=32, labels=LABELS)
    with pytest.raises(StoreError, match=r"view.image: expected uint8 of shape \(32, 32, 3\)"):
        writer.append([make_instant(0)])
    instant = make_instant(0)
    small = ViewWriter(tmp_path / "other", SPEC, image_size=SIZE, labels=LABELS)
    bad = Instant(instant.views, instant.state, "x" * 600, "id")
    with pytest.raises(StoreError, match="at most 512 bytes"):
        small.append([bad])


def test_batches_hold_what_the_samples_hold(views: Views, features: TeacherFeatures) -> None:
    data = dataset(views, features)
    samples = [data[PretrainKey(0, 0, e)] for e in range(3)]
    batch = collate_pretrain(samples)
    assert batch.points.shape == (3, 128, 3)
    assert batch.feature_map.shape[:3] == (3, 14, 14)
    assert batch.instruction.tolist() == [0, 1, 2]
    without = collate_pretrain([dataset(views, None)[PretrainKey(0, 0, 0)]])
    assert without.feature_map.shape == (1, 1, 1, 0)
    assert not without.valid.any()
