"""Colour images beside the steps: paired, placed, with their own depth, and of use to what reads a store."""

import json

import numpy as np
import pytest
import zarr

from clar_core.cli import data_convert
from clar_core.data.convert import ConvertConfig, convert
from clar_core.data.datasets import Demonstrations
from clar_core.data.episode import EpisodeError, PosedImage
from clar_core.data.export import export_dp3
from clar_core.data.export_lerobot import VIDEO_KEY, export_lerobot
from clar_core.data.mapping import BagMapping
from clar_core.data.merge import merge
from clar_core.data.pretrain import PretrainDataset, PretrainKey
from clar_core.data.store import Store, StoreError, StoreWriter
from clar_core.data.store_views import StoreViews, open_views
from clar_core.observation.spec import ObservationSpec
from tests.core.data.demonstrations import episode
from tests.core.data.recorded_episode import COLOR_INTRINSICS, T_DEPTH_COLOR, record
from tests.core.observation.scene import T_BASE_CAMERA, render

SPEC = ObservationSpec(network_points=128)
SIZE = 112
COLOR = "/camera/camera/color/image_raw/compressed"
ARRAYS = ("point_cloud", "state", "action", "image", "image_depth", "depth_valid", "intrinsics", "T_base_image")


def config(bags, store, **options):
    given = {"bags": (bags,), "directory": store, "spec": SPEC, "points_per_cloud": 256, "workers": 1}
    return ConvertConfig(**{**given, "image_size": SIZE, **options})


@pytest.fixture(scope="module")
def bags(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bags")
    for number in range(2):
        record(folder, ticks=12 + number, color=True, name=f"20260131T120000_{number:04d}")
    return folder


@pytest.fixture(scope="module")
def store(bags, tmp_path_factory):
    directory = tmp_path_factory.mktemp("stores") / "one"
    results = convert(config(bags, directory))
    assert [(r.steps, r.error) for r in results] == [(12, ""), (13, "")]
    return Store(directory)


def content(store):
    return [store.read(name).tobytes() for name in ARRAYS], [e.info for e in store.episodes]


def test_each_step_has_the_image_nearest_to_it_with_the_lens_and_place_of_its_camera(store):
    images = [image for e in store.episodes for image in store.images(e)]
    assert len(images) == 25
    reds = [image.image[..., 0].mean() for image in images]
    np.testing.assert_allclose(reds, [8.0 * i for i in [*range(12), *range(13)]], atol=4)
    assert images[0].image.shape == (SIZE, SIZE, 3)
    assert images[0].intrinsics == COLOR_INTRINSICS.scaled(SIZE, SIZE)
    np.testing.assert_allclose(images[0].T_base_image, T_BASE_CAMERA @ T_DEPTH_COLOR, atol=1e-9)


def test_depth_in_the_image_is_what_the_colour_camera_would_measure(store):
    (image, *_) = store.images(store.episodes[0])
    expected = render(intrinsics=image.intrinsics, T_base_camera=image.T_base_image).astype(np.int64)
    within = (expected > 300) & (expected < 1990)
    both = within & (image.depth > 0)
    assert both.sum() > 0.9 * within.sum()
    # The nearest of what falls into a pixel, and pixels here are three times as wide as the depth camera's.
    assert np.median(np.abs(image.depth[both] - expected[both])) <= 5
    assert np.mean(np.abs(image.depth[both] - expected[both]) > 20) < 0.1
    np.testing.assert_array_equal(store.read("depth_valid"), store.read("image_depth") > 0)


def test_the_store_is_the_same_for_one_and_for_several_workers_and_after_an_interruption(bags, store, tmp_path):
    def interrupt(result):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(config(bags, tmp_path / "two"), interrupt)
    convert(config(bags, tmp_path / "two", workers=2))
    assert content(Store(tmp_path / "two")) == content(store)


def test_steps_and_clouds_are_those_of_a_store_without_images(bags, store, tmp_path):
    convert(config(bags, tmp_path / "plain", image_size=0))
    plain = Store(tmp_path / "plain")
    assert plain.image_size == 0
    for name in ("point_cloud", "state", "action"):
        assert plain.read(name).tobytes() == store.read(name).tobytes()
    with pytest.raises(StoreError, match="image_size is 0 in this store, asked for 112"):
        convert(config(bags, tmp_path / "plain"))
    with pytest.raises(StoreError, match=r"image_size is 112, but 0 in .*--image-size"):
        merge([plain.directory, store.directory], tmp_path / "both")
    assert Demonstrations.load([plain.directory, store.directory]).states.shape == (50, 10)


def test_stores_with_images_merge_with_them(store, tmp_path):
    assert merge([store.directory], tmp_path / "all") == (2, 0)
    merged = Store(tmp_path / "all")
    assert content(merged)[0] == content(store)[0]
    assert merged.episodes[0].info["lens"] == "none"


def test_steps_whose_image_is_missing_or_broken_are_left_out_by_name(tmp_path):
    record(tmp_path / "bags", ticks=12, color=True, undecodable=(3, 4))
    (result,) = convert(config(tmp_path / "bags", tmp_path / "store"))
    assert (result.steps, result.skipped[f"{COLOR}: the image cannot be decoded"]) == (10, 2)


@pytest.mark.parametrize(
    ("without", "found"),
    [(COLOR, f"no colour images on {COLOR}"), ("/camera/camera/color/camera_info", "colour has no intrinsics")],
)
def test_a_bag_without_colour_or_its_intrinsics_is_named(tmp_path, without, found):
    record(tmp_path / "bags", ticks=12, color=True, name="bad", without=(without,))
    (result,) = convert(config(tmp_path / "bags", tmp_path / "store"))
    assert str(tmp_path / "bags/bad") in result.error
    assert found in result.error


def test_the_camera_can_be_placed_by_the_mapping(tmp_path):
    record(tmp_path / "bags", ticks=12, color=True, without=("/tf_static",))
    depth, color = (tuple(map(tuple, T.tolist())) for T in (T_BASE_CAMERA, T_BASE_CAMERA @ T_DEPTH_COLOR))
    unplaced = convert(config(tmp_path / "bags", tmp_path / "a", mapping=BagMapping(T_base_camera=depth)))
    assert "no transform fr3_link0 <- colour camera" in unplaced[0].error
    placed = convert(
        config(tmp_path / "bags", tmp_path / "b", mapping=BagMapping(T_base_camera=depth, T_base_color=color))
    )
    assert placed[0].steps == 12


def test_a_step_without_the_image_that_a_store_keeps_is_refused_and_costs_nothing(tmp_path):
    writer = StoreWriter(tmp_path / "store", ObservationSpec(network_points=32), points_per_cloud=64, image_size=SIZE)
    with pytest.raises(StoreError, match="step 0: image: expected one of 112 pixels as in all the store, got none"):
        writer.append(episode(0))
    assert Store(tmp_path / "store").steps == 0
    with pytest.raises(EpisodeError, match="depth: expected uint16 of shape"):
        PosedImage(
            np.zeros((SIZE, SIZE, 3), np.uint8), np.zeros((2, 2)), COLOR_INTRINSICS.scaled(SIZE, SIZE), np.eye(4)
        )


def test_lerobot_takes_its_video_from_the_store(store, tmp_path):
    av = pytest.importorskip("av")
    export_lerobot(store, tmp_path / "lerobot")
    with av.open(str(tmp_path / f"lerobot/videos/{VIDEO_KEY}/chunk-000/file-000.mp4")) as video:
        reds = [frame.to_ndarray(format="rgb24")[..., 0].mean() for frame in video.decode(video=0)]
    np.testing.assert_allclose(reds, [8.0 * i for i in [*range(12), *range(13)]], atol=8)
    info = json.loads((tmp_path / "lerobot/meta/info.json").read_text())
    assert info["features"][VIDEO_KEY]["shape"] == [SIZE, SIZE, 3]


def test_dp3_gets_the_images_as_img(store, tmp_path):
    export_dp3(store, tmp_path / "buffer.zarr")
    root = zarr.open_group(tmp_path / "buffer.zarr", mode="r", zarr_format=2)
    np.testing.assert_array_equal(root["data/img"][:], store.read("image"))


def test_pretraining_reads_the_store_as_views_and_finds_patches_in_the_image(store):
    views = open_views(store.directory)
    assert isinstance(views, StoreViews)
    assert (views.episodes, views.views, views.instants) == (2, 25, 25)
    assert set(views.read("camera")) == {0}
    assert views.sentences[0] == "put the cube into the basin"
    np.testing.assert_array_equal(views.read("image", 3, 5), store.read("image")[3:5])
    data = PretrainDataset(views, None, np.arange(2), groups=16, image_geometry=True)
    samples = [data[PretrainKey(0, step, 1)] for step in range(5)]
    assert np.mean([sample.valid for sample in samples]) > 0.9, "the colour camera stands 6 cm beside the other"
    assert all(12 <= sample.view < 25 for sample in samples)


def test_a_store_without_images_says_how_to_get_them(tmp_path):
    StoreWriter(tmp_path / "store", SPEC)
    with pytest.raises(StoreError, match=r"clouds and no images.*--image-size 224"):
        open_views(tmp_path / "store")


def test_the_command_keeps_images_where_it_is_asked(bags, tmp_path, capsys):
    words = [str(bags), "--output", str(tmp_path / "mine"), "--workers", "1", "--image-size", "32"]
    assert data_convert.main(words) == 0
    assert Store(tmp_path / "mine").read("image").shape == (25, 32, 32, 3)
