"""Everything that takes text or files from a person, given inputs that nobody would write.

Only the documented errors may come out, soon and with bounded memory; what is not read is counted; what is accepted
means the same when it is written and read again.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from tests.torture.inputs_evaluation import attack_evaluation
from tests.torture.inputs_files import attack_files
from tests.torture.inputs_processes import attack_in_processes
from tests.torture.inputs_text import attack_filters, attack_text
from tests.torture.outcome import MEMORY, Outcome, Profile


def run(profile: Profile) -> list[Outcome]:
    """Attack readers, analysis and query syntax, filters, and files of evaluation."""
    folder = Path(tempfile.mkdtemp(prefix="inputs-", dir=MEMORY))
    try:
        return [
            attack_files(profile, folder),
            attack_in_processes(profile, folder),
            attack_text(profile),
            attack_filters(profile),
            attack_evaluation(profile, folder),
        ]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
