"""Benchmarks: a claim holds or it does not, and the exit code says so."""

import importlib.util
import json
import math
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def harness() -> ModuleType:
    spec = importlib.util.spec_from_file_location("harness", ROOT / "benchmarks" / "harness.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["harness"] = module
    spec.loader.exec_module(module)
    return module


def test_claims_that_hold_give_exit_code_zero_and_the_documented_json(harness: ModuleType, tmp_path: Path) -> None:
    bench = harness.Benchmark("speed", "how fast", output=tmp_path)
    assert bench.claim("a", 1.0, "ms", at_most=1.0, reference="numpy 2 ms")
    assert bench.claim("b", 0.97, "", at_least=0.97)
    assert bench.claim("c", 3, "frames")
    assert bench.finish() == 0
    document = json.loads((tmp_path / "speed.json").read_text())
    assert document["machine"]["cores"] >= 1
    assert document["claims"][0] == {
        "claim": "a", "value": 1.0, "unit": "ms", "bound": "<= 1", "holds": True, "reference": "numpy 2 ms",
    }  # fmt: skip
    assert document["claims"][2]["bound"] is None


@pytest.mark.parametrize("value", [1.1, math.nan, math.inf])
def test_a_claim_beyond_its_bound_or_not_finite_fails(harness: ModuleType, tmp_path: Path, value: float) -> None:
    bench = harness.Benchmark("speed", "how fast", output=tmp_path)
    assert not bench.claim("a", value, "ms", at_most=1.0)
    assert bench.finish() == 1
    assert json.loads((tmp_path / "speed.json").read_text())["claims"][0]["holds"] is False


def test_a_benchmark_without_claims_fails(harness: ModuleType, tmp_path: Path) -> None:
    assert harness.Benchmark("speed", "how fast", output=tmp_path).finish() == 1


def test_a_claim_with_two_bounds_is_refused(harness: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not both"):
        harness.Benchmark("speed", "how fast", output=tmp_path).claim("a", 1.0, "ms", at_least=0.0, at_most=2.0)


def test_an_unknown_benchmark_is_answered_with_the_nearest() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "benchmarks", "latenzy"], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 1
    assert "nearest: latency" in result.stderr
