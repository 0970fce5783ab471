"""``clar calibrate collect | verify | check``: the parts that talk to the running stack.

``collect`` is the calibrate node on the command line; the other two ask the scene_check node of the running stack.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from std_srvs.srv import Trigger

from clar import names
from clar.calls import CallError, call
from clar.operate import short_lived_node

_SERVICES = {"check": names.SERVICE_CHECK_SCENE, "verify": names.SERVICE_VERIFY_CALIBRATION}
_TIMEOUT_S = 40.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one of the commands; 0 when all is well, 1 with the reason otherwise."""
    word, *rest = list(sys.argv[1:] if arguments is None else arguments)
    return collect(rest) if word == "collect" else ask_stack(word, rest)


def collect(arguments: list[str]) -> int:
    """Take samples and solve them, with arm and camera that run already."""
    from clar.nodes.calibrate import CalibrateNode
    from clar.process import run_node

    parser = argparse.ArgumentParser(
        prog="clar calibrate collect",
        description="Take views of the board and calibrate, while arm and camera run (ros2 launch clar"
        " calibrate.launch.py brings them up, too). Further options of the node: NAME:=VALUE, see docs/nodes.md.",
    )
    parser.add_argument("session", help="folder for the samples; one that has some is continued")
    parser.add_argument("--cell", required=True, help="the cell file")
    parser.add_argument("options", nargs="*", metavar="NAME:=VALUE", help="for example mode:=guided samples:=30")
    given = parser.parse_args(arguments)
    options = [f"cell:={given.cell}", f"session:={given.session}", *given.options]
    return run_node(
        CalibrateNode, arguments=["--ros-args", *(word for text in options for word in ("-p", text))], threads=4
    )


def ask_stack(word: str, arguments: list[str]) -> int:
    """Ask the scene_check node."""
    parser = argparse.ArgumentParser(
        prog=f"clar calibrate {word}",
        description={
            "check": "Has the camera moved since the calibration? Exit status 1 when it has.",
            "verify": "Does the robot's own arm appear in the depth image where its model says? 1 when it does not.",
        }[word],
    )
    parser.parse_args(arguments)
    with short_lived_node() as node:
        try:
            answer = call(node.create_client(Trigger, _SERVICES[word]), Trigger.Request(), _TIMEOUT_S)
        except CallError as error:
            print(f"clar calibrate {word}: {error}", file=sys.stderr)
            return 1
    print(answer.message)
    return 0 if answer.success else 1
