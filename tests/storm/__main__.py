"""Command `./dev chaos --minutes N [--seed S]`: a storm that lasts longer than a test may."""

import argparse
import asyncio
import random
import sys
import tempfile
from pathlib import Path

from tests.storm.trial import trial


def main() -> int:
    """Run one storm; return 0 if nothing was lost or shown twice."""
    parser = argparse.ArgumentParser(prog="./dev chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--nodes", type=int, default=2)
    options = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="chaos-"))
    problems, report = asyncio.run(trial(options.seed, options.minutes * 60, options.nodes, directory))
    print(report)
    print("\n".join(problems) or "nothing lost, nothing twice")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
