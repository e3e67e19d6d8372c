"""`python -m tests.torture.one ATTACK PROFILE SEED FILE`: run one attack and write its outcomes as JSON."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from importlib import import_module
from pathlib import Path

from tests.torture.outcome import Profile

if __name__ == "__main__":
    # Workers are forked, and OpenMP's threads do not survive that.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    attack, profile, seed, file = sys.argv[1:]
    outcomes = import_module(f"tests.torture.{attack}").run(Profile(profile, int(seed)))
    Path(file).write_text(json.dumps([asdict(outcome) for outcome in outcomes]), encoding="utf-8")
