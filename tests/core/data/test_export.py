"""A store in the layouts of others, read back as their readers do."""

import io
import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import zarr
from PIL import Image

from clar_core.data.bag_writer import BagWriter, offered_qos
from clar_core.data.bags import BagError
from clar_core.data.convert import ConvertConfig, convert
from clar_core.data.export import export_dp3
from clar_core.data.export_lerobot import VIDEO_KEY, export_lerobot
from clar_core.data.store import Store, StoreError
from clar_core.observation.spec import ObservationSpec
from tests.core.data.demonstrations import POINTS, write_store
from tests.core.data.recorded import MS, STORE, header
from tests.core.data.recorded_episode import TOPICS, Recipe, messages, serialized

COLOR = "/camera/camera/color/image_raw/compressed"


def test_dp3_gets_its_replay_buffer(tmp_path):
    store = Store(write_store(tmp_path / "store", range(3)))
    export_dp3(store, tmp_path / "buffer.zarr")
    root = zarr.open_group(tmp_path / "buffer.zarr", mode="r", zarr_format=2)
    assert (tmp_path / "buffer.zarr" / ".zgroup").exists()
    assert np.array_equal(root["meta/episode_ends"][:], [12, 24, 36])
    assert root["data/point_cloud"].shape == (36, POINTS, 3)
    assert root["data/point_cloud"].dtype == np.float32
    np.testing.assert_array_equal(root["data/action"][:], store.read("action"))
    np.testing.assert_array_equal(root["data/state"][:], store.read("state"))


def test_an_export_never_overwrites(tmp_path):
    store = Store(write_store(tmp_path / "store", range(1)))
    (tmp_path / "out").mkdir()
    with pytest.raises(StoreError, match="exists already"):
        export_dp3(store, tmp_path / "out")


def test_lerobot_gets_rows_episodes_tasks_and_statistics(tmp_path):
    store = Store(write_store(tmp_path / "store", range(3)))
    export_lerobot(store, tmp_path / "lerobot")
    info = json.loads((tmp_path / "lerobot/meta/info.json").read_text())
    assert info["codebase_version"] == "v3.0"
    assert (info["total_episodes"], info["total_frames"], info["fps"]) == (3, 36, 10)
    data = pq.read_table(tmp_path / "lerobot/data/chunk-000/file-000.parquet")
    assert set(data.column_names) == set(info["features"])
    np.testing.assert_array_equal(np.array(data["action"].to_pylist(), np.float32), store.read("action"))
    assert data["frame_index"].to_pylist()[11:13] == [11, 0]
    assert data["timestamp"].to_pylist()[13] == pytest.approx(0.1)
    episodes = pq.read_table(tmp_path / "lerobot/meta/episodes/chunk-000/file-000.parquet").to_pylist()
    assert [(e["dataset_from_index"], e["dataset_to_index"]) for e in episodes] == [(0, 12), (12, 24), (24, 36)]
    tasks = pq.read_table(tmp_path / "lerobot/meta/tasks.parquet")
    assert tasks.to_pylist() == [{"task_index": 0, "task": "reach the blob"}]
    assert json.loads(tasks.schema.metadata[b"pandas"])["index_columns"] == ["task"]
    stats = json.loads((tmp_path / "lerobot/meta/stats.json").read_text())
    np.testing.assert_allclose(stats["action"]["mean"], store.read("action").mean(axis=0), rtol=1e-4)


def _jpeg(shade):
    buffer = io.BytesIO()
    Image.new("RGB", (64, 48), (shade, 40, 80)).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def _record_with_color(folder):
    recipe = Recipe(ticks=12)
    writer = BagWriter(folder / recipe.name, STORE)
    for topic, kind in {**TOPICS, COLOR: "sensor_msgs/msg/CompressedImage"}.items():
        writer.add_topic(topic, kind, [offered_qos()])
    every = list(messages(recipe))
    for frame in range(14):
        at_ms = 1_000 + 100 * frame
        message = STORE.types["sensor_msgs/msg/CompressedImage"](
            header=header(at_ms * MS), format="rgb8; jpeg compressed bgr8",
            data=np.frombuffer(_jpeg(15 * frame), np.uint8),
        )  # fmt: skip
        every.append((at_ms, COLOR, serialized("sensor_msgs/msg/CompressedImage", message)))
    for at_ms, topic, data in sorted(every, key=lambda m: m[0]):
        writer.write(topic, at_ms * MS, data)
    writer.close()


def test_lerobot_gets_a_video_frame_for_every_step_out_of_the_bags(tmp_path):
    av = pytest.importorskip("av")
    _record_with_color(tmp_path / "bags")
    spec = ObservationSpec(network_points=128)
    convert(
        ConvertConfig(bags=(tmp_path / "bags",), directory=tmp_path / "s", spec=spec, points_per_cloud=128, workers=1)
    )
    store = Store(tmp_path / "s")
    export_lerobot(store, tmp_path / "lerobot", bags=tmp_path / "bags")
    with av.open(str(tmp_path / f"lerobot/videos/{VIDEO_KEY}/chunk-000/file-000.mp4")) as video:
        frames = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
    assert len(frames) == store.steps == 12
    reds = [frame[..., 0].mean() for frame in frames]
    assert np.allclose(reds, [15 * i for i in range(12)], atol=6)
    info = json.loads((tmp_path / "lerobot/meta/info.json").read_text())
    assert info["features"][VIDEO_KEY]["shape"] == [48, 64, 3]
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "other.mcap").touch()
    with pytest.raises(BagError, match="not in the folder given"):
        export_lerobot(store, tmp_path / "again", bags=tmp_path / "empty")
