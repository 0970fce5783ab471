"""Every episode is looked through by itself when it ends, one after the other, and nobody waits for it."""

import json
import time
from pathlib import Path

from clar_core.data.audit import AUDIT_FILE, Auditor, Verdict, read_verdict
from tests.core.data.recorded_episode import record


def verdicts(auditor: Auditor, count: int) -> list[Verdict]:
    found: list[Verdict] = []
    end_s = time.monotonic() + 120.0
    while len(found) < count:
        assert time.monotonic() < end_s, f"{len(found)} of {count} audits ended"
        verdict = auditor.poll()
        if verdict is None:
            time.sleep(0.02)
        else:
            found.append(verdict)
    return found


def test_episodes_are_audited_in_order_and_a_bad_one_says_why(tmp_path: Path) -> None:
    good = record(tmp_path, name="good")
    bad = record(tmp_path, name="bad", frozen_from=6)
    auditor = Auditor()
    begin_s = time.monotonic()
    auditor.submit(good)
    auditor.submit(bad)
    assert time.monotonic() - begin_s < 1.0, "handing over waited for the audit"
    assert auditor.busy
    first, second = verdicts(auditor, 2)
    assert (first.bag, first.level) == (good, "ok")
    assert "good: ok, 24 steps" in first.text
    assert (second.bag, second.level) == (bad, "bad")
    assert "frozen frames" in second.text
    assert not auditor.busy
    document = json.loads((bad / AUDIT_FILE).read_text())
    checks = {finding["check"]: finding["level"] for finding in document["episodes"][0]["findings"]}
    assert checks["frozen frames"] == "bad"


def test_a_bag_that_cannot_be_read_or_was_moved_away_has_a_verdict_too(tmp_path: Path) -> None:
    damaged = record(tmp_path, ticks=12, name="damaged")
    file = next(damaged.glob("*.mcap"))
    file.write_bytes(file.read_bytes()[:20_000])
    auditor = Auditor()
    auditor.submit(damaged)
    (verdict,) = verdicts(auditor, 1)
    assert verdict.level == "bad"
    assert "clar data recover" in verdict.text
    gone = read_verdict(tmp_path / "undone_meanwhile")
    assert gone.level == "failed"
    assert "clar data validate" in gone.text


def test_closing_ends_a_running_audit(tmp_path: Path) -> None:
    auditor = Auditor()
    for _ in range(3):
        auditor.submit(tmp_path)
    auditor.close()
    assert not auditor.busy
    assert auditor.poll() is None
