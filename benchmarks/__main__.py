"""``python -m benchmarks [name ...]``: run the benchmarks and check their claims."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from harness import available, run

parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Run the benchmarks and check their claims.")
parser.add_argument("names", nargs="*", help=f"which ones; all when left out: {', '.join(available())}")
sys.exit(run(parser.parse_args().names))
