from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from clar_core.models.open_clip_text import OpenClipText
from clar_core.models.text import HashedWords, TextEncoderError, text_encoder
from clar_core.models.vision_libraries import import_open_clip
from clar_core.simulation.tasks import TASKS


def test_features_are_unit_rows_that_depend_on_the_sentence_alone() -> None:
    words = HashedWords()
    features = words.encode(["pick up the banana", "open the drawer"])
    assert features.shape == (2, 256)
    torch.testing.assert_close(features.norm(dim=1), torch.ones(2))
    torch.testing.assert_close(features[1:], HashedWords().encode(["Open the drawer!"]))
    torch.testing.assert_close(text_encoder(words.to_dict()).encode(["open the drawer"]), features[1:])


def test_unseen_sentences_are_nearest_to_those_of_their_own_task() -> None:
    words = HashedWords()
    seen = {name: words.encode(task.instructions) for name, task in TASKS.items()}
    for name, task in TASKS.items():
        for sentence in task.unseen_instructions:
            feature = words.encode([sentence])
            nearest = max(seen, key=lambda other: float((seen[other] @ feature.T).max()))
            assert nearest == name, sentence


def test_a_sentence_that_says_nothing_is_refused() -> None:
    with pytest.raises(TextEncoderError, match="expected a word that says what to do"):
        HashedWords().encode(["of the"])


def test_missing_weights_and_unknown_kinds_are_named(tmp_path: Path) -> None:
    with pytest.raises(TextEncoderError, match=r"no weights at .*clip.safetensors; .*--text-encoder words"):
        text_encoder({"kind": "open_clip", "model": "ViT-B-32", "weights": str(tmp_path / "clip.safetensors")})
    with pytest.raises(TextEncoderError, match="expected 'words' or 'open_clip', got 'bert'"):
        text_encoder({"kind": "bert"})


def test_the_text_tower_of_a_local_clip_file_encodes_sentences(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_clip = import_open_clip()
    small = {
        "embed_dim": 24,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
    }
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "tiny-for-tests", small)
    torch.manual_seed(0)
    weights = tmp_path / "clip.safetensors"
    save_file(open_clip.create_model("tiny-for-tests", pretrained=None).state_dict(), weights)
    encoder = OpenClipText("tiny-for-tests", weights)
    features = encoder.encode(["pick up the banana", "open the drawer"])
    assert (encoder.dim, features.shape) == (24, (2, 24))
    torch.testing.assert_close(features.norm(dim=1), torch.ones(2))
    assert not torch.allclose(features[0], features[1])
    torch.testing.assert_close(text_encoder(encoder.to_dict()).encode(["open the drawer"]), features[1:])
    weights.write_bytes(b"nothing")
    with pytest.raises(TextEncoderError, match="cannot be loaded as tiny-for-tests"):
        OpenClipText("tiny-for-tests", weights)
