from pathlib import Path

import numpy as np
import pytest
import torch

from clar_core.data.convert import ConvertConfig, convert
from clar_core.data.store_views import open_views
from clar_core.data.teacher_features import load_teacher_features
from clar_core.models.teachers import TeacherConfig, TeacherError, build_teacher
from clar_core.models.teachers.rendered import COLOR_NAMES, color_index
from clar_core.models.vision_libraries import import_open_clip
from clar_core.observation.spec import ObservationSpec
from clar_core.simulation.objects import COLORS
from tests.core.data.recorded_episode import record
from tests.core.pretraining.made_views import LABELS, make_instant


@pytest.fixture(scope="module")
def clip_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A randomly initialised CLIP on disk, of the smallest architecture with patches that open_clip has."""
    open_clip = import_open_clip()
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("clip") / "weights.pt"
    torch.save(open_clip.create_model("ViT-S-32-alt", pretrained=None).state_dict(), path)
    return path


def test_clip_gives_pooled_features_a_map_and_sentences(clip_weights: Path) -> None:
    teacher = build_teacher(TeacherConfig(clip_model="ViT-S-32-alt", clip_weights=clip_weights), ())
    instant = make_instant(0)
    images = np.stack([view.image for view in instant.views])
    pooled, maps = teacher.images(images, images[..., 0])
    assert pooled.shape == (2, teacher.width)
    assert maps.shape == (2, teacher.cells, teacher.cells, teacher.map_width)
    assert teacher.cells == 7
    np.testing.assert_allclose(np.linalg.norm(pooled, axis=1), 1, atol=1e-4)
    text = teacher.sentences(["take the cube", "open the drawer"])
    assert text.shape == (2, teacher.width)
    np.testing.assert_allclose(np.linalg.norm(text, axis=1), 1, atol=1e-4)
    assert teacher.identity()["model"] == "ViT-S-32-alt"


def test_the_map_is_the_last_block_after_its_norm(clip_weights: Path) -> None:
    teacher = build_teacher(TeacherConfig(clip_model="ViT-S-32-alt", clip_weights=clip_weights), ())
    _, maps = teacher.images(np.zeros((1, 224, 224, 3), np.uint8), np.zeros((1, 224, 224), np.uint8))
    visual = teacher._model.visual  # type: ignore[attr-defined]
    weight, bias = visual.ln_post.weight.detach().numpy(), visual.ln_post.bias.detach().numpy()
    normalised = (maps[0] - bias) / weight
    np.testing.assert_allclose(normalised.mean(-1), 0, atol=1e-4)
    np.testing.assert_allclose(normalised.std(-1), 1, atol=1e-2)


def test_weights_of_another_architecture_are_refused(clip_weights: Path, tmp_path: Path) -> None:
    with pytest.raises(TeacherError, match=r"not the weights of ViT-M-32-alt.*--teacher.clip-model"):
        build_teacher(TeacherConfig(clip_model="ViT-M-32-alt", clip_weights=clip_weights), ())
    cut = tmp_path / "cut.pt"
    cut.write_bytes(clip_weights.read_bytes()[:1000])
    with pytest.raises(TeacherError, match="not the weights of"):
        build_teacher(TeacherConfig(clip_model="ViT-S-32-alt", clip_weights=cut), ())
    with pytest.raises(TeacherError, match="open_clip knows no"):
        build_teacher(TeacherConfig(clip_model="nonsense", clip_weights=clip_weights), ())


def test_the_rendered_teacher_sees_classes_and_colours_where_they_are() -> None:
    teacher = build_teacher(TeacherConfig(kind="rendered"), LABELS)
    view = make_instant(0).views[0]
    assert view.labels is not None
    _, maps = teacher.images(view.image[None], view.labels[None])
    cube = teacher._projection[LABELS.index("cube")]  # type: ignore[attr-defined]
    rows, columns = np.nonzero(view.labels == 3)
    row, column = int(rows.mean() // 4), int(columns.mean() // 4)
    response = maps[0] @ cube
    assert response[row, column] > 0.6
    assert np.median(response) < 0.2


def test_sentences_that_name_the_same_things_are_alike() -> None:
    teacher = build_teacher(TeacherConfig(kind="rendered"), LABELS)
    features = teacher.sentences(["take the red cube", "grasp the red cube", "take the white plank", "do something"])
    similarity = features @ features.T
    assert similarity[0, 1] > 0.99
    assert similarity[0, 2] < 0.5
    assert np.isfinite(features).all()


def test_every_colour_of_the_scenes_is_called_by_its_name_in_light_and_shade() -> None:
    for name, rgb in COLORS.items():
        for light in (0.8, 1.0):
            pixel = (np.clip(np.array(rgb) * light, 0, 1) * 255).astype(np.uint8)[None, None, None]
            assert COLOR_NAMES[int(color_index(pixel)[0, 0, 0])] == name


def test_the_rendered_teacher_needs_a_segmentation() -> None:
    with pytest.raises(TeacherError, match="needs the segmentation of simulated views"):
        build_teacher(TeacherConfig(kind="rendered"), ())
    teacher = build_teacher(TeacherConfig(kind="rendered"), LABELS)
    with pytest.raises(TeacherError, match="a view without segmentation"):
        teacher.images(np.zeros((1, 28, 28, 3), np.uint8), np.full((1, 28, 28), 255, np.uint8))


def test_features_of_a_stores_images_are_computed_once_and_lie_in_the_store(clip_weights: Path, tmp_path: Path) -> None:
    record(tmp_path / "bags", ticks=12, color=True)
    spec = ObservationSpec(network_points=128)
    bags = (tmp_path / "bags",)
    convert(ConvertConfig(bags=bags, directory=tmp_path / "store", spec=spec, image_size=56, workers=1))
    config = TeacherConfig(clip_model="ViT-S-32-alt", clip_weights=clip_weights)
    batches: list[int] = []
    features = load_teacher_features(
        open_views(tmp_path / "store"), config, map_dim=8, progress=lambda done, of: batches.append(done)
    )
    assert features.maps.shape == (12, 7, 7, 8)
    assert features.text.shape == (12, features.width)
    np.testing.assert_allclose(np.linalg.norm(features.pooled, axis=1), 1, atol=1e-3)
    assert len(list((tmp_path / "store/teachers").iterdir())) == 1
    again = load_teacher_features(
        open_views(tmp_path / "store"), config, map_dim=8, progress=lambda done, of: batches.append(done)
    )
    assert batches == [12]
    assert again.pooled.tobytes() == features.pooled.tobytes()
    with pytest.raises(TeacherError, match="needs the segmentation of simulated views"):
        load_teacher_features(open_views(tmp_path / "store"), TeacherConfig(kind="rendered"))
