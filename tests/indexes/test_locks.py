import os
import signal
import subprocess
import sys
import textwrap

import pytest

from indexes.errors import LockedError, StorageError
from indexes.locks import WriterLock

HOLD = textwrap.dedent(
    """
    import sys
    from pathlib import Path
    from indexes.locks import WriterLock
    with WriterLock(Path(sys.argv[1])):
        print("held", flush=True)
        sys.stdin.read()
    """
)


@pytest.fixture
def holder(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_second_process_is_told_who_holds_the_lock(tmp_path, holder):
    with pytest.raises(LockedError, match=f"process {holder.pid} on"), WriterLock(tmp_path / "lock"):
        pass


def test_a_killed_holder_leaves_no_lock_behind(tmp_path, holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with WriterLock(tmp_path / "lock"):
        pass


def test_stale_content_means_nothing(tmp_path):
    (tmp_path / "lock").write_text("process 1 on elsewhere\n")
    with WriterLock(tmp_path / "lock"):
        pass


def test_two_writers_in_one_process_exclude_each_other(tmp_path):
    with WriterLock(tmp_path / "lock"), pytest.raises(LockedError, match="this process"), WriterLock(tmp_path / "lock"):
        pass
    with WriterLock(tmp_path / "lock"):
        pass


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_a_forked_child_does_not_inherit_the_lock(tmp_path):
    with WriterLock(tmp_path / "lock"):
        child = os.fork()
        if child == 0:
            try:
                with WriterLock(tmp_path / "lock"):
                    os._exit(1)
            except LockedError:
                os._exit(0)
            except BaseException:
                os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        # The child has opened and closed the file: the parent must still hold the lock.
        command = [sys.executable, "-c", HOLD, str(tmp_path / "lock")]
        attempt = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        assert "LockedError" in attempt.stderr


def test_unwritable_directory_is_one_clear_error(tmp_path):
    with pytest.raises(StorageError, match="cannot write"), WriterLock(tmp_path / "missing" / "lock"):
        pass
