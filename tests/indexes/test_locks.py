import errno
import os
import signal
import stat
import subprocess
import sys
import textwrap

import pytest

from indexes import locks
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


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_a_killed_holder_leaves_no_lock_to_its_forked_worker(tmp_path):
    program = HOLD.replace(
        'print("held", flush=True)', "import os; worker = os.fork(); worker and print(worker, flush=True)"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    worker = int(holder.stdout.readline())
    try:
        holder.kill()
        holder.wait()
        os.kill(worker, 0)  # it is still there
        with WriterLock(tmp_path / "lock"):
            pass
    finally:
        os.kill(worker, signal.SIGKILL)
        holder.communicate()


@pytest.mark.parametrize(
    "content",
    [b"process 1 on elsewhere\n", f"process {os.getpid()} on here\n".encode(), b"", b"\xff\x00" * 50_000, b"1"],
    ids=["dead process", "living process", "empty", "binary", "number"],
)
def test_stale_content_means_nothing(tmp_path, content):
    (tmp_path / "lock").write_bytes(content)
    with WriterLock(tmp_path / "lock"):
        assert f"process {os.getpid()} on" in (tmp_path / "lock").read_text()


def test_whatever_stands_in_a_held_lock_it_is_held(tmp_path, holder):
    # Another process's writing cannot release the lock; what it wrote cannot break the message.
    (tmp_path / "lock").write_bytes(b"\xff\xfe" * 500)
    with pytest.raises(LockedError, match="try again"), WriterLock(tmp_path / "lock"):
        pass


def test_an_exception_releases_the_lock(tmp_path):
    with pytest.raises(RuntimeError), WriterLock(tmp_path / "lock"):
        raise RuntimeError
    command = [sys.executable, "-c", HOLD, str(tmp_path / "lock")]
    assert subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=True).stdout == b"held\n"


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


def test_a_link_to_the_directory_leads_to_the_same_lock(tmp_path, holder):
    (tmp_path / "other-way").symlink_to(tmp_path, target_is_directory=True)
    with pytest.raises(LockedError, match=f"process {holder.pid} on"), WriterLock(tmp_path / "other-way" / "lock"):
        pass


def test_a_lock_file_that_is_a_link_is_refused_and_its_target_untouched(tmp_path):
    # A crafted directory must not make a writer truncate a file that lies elsewhere.
    target = tmp_path / "precious"
    target.write_text("work of hours")
    (tmp_path / "lock").symlink_to(target)
    with pytest.raises(StorageError, match="lock"), WriterLock(tmp_path / "lock"):
        pass
    assert target.read_text() == "work of hours"
    target.unlink()
    with pytest.raises(StorageError, match="lock"), WriterLock(tmp_path / "lock"):
        pass
    assert not target.exists(), "a dangling link creates nothing"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this platform")
def test_a_lock_file_that_is_a_pipe_is_refused(tmp_path):
    os.mkfifo(tmp_path / "lock")
    with pytest.raises(StorageError, match="lock"), WriterLock(tmp_path / "lock"):
        pass
    assert stat.S_ISFIFO((tmp_path / "lock").stat().st_mode)


def test_a_lock_file_that_is_a_directory_is_refused(tmp_path):
    (tmp_path / "lock").mkdir()
    with pytest.raises(StorageError), WriterLock(tmp_path / "lock"):
        pass


@pytest.mark.skipif(os.name == "nt", reason="POSIX locks")
@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL])
def test_a_file_system_without_locks_is_refused(tmp_path, monkeypatch, number):
    import fcntl

    def without_locks(*_):
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "lockf", without_locks)
        with pytest.raises(StorageError, match="without locks") as caught, WriterLock(tmp_path / "lock"):
            pass
        assert not isinstance(caught.value, LockedError)
        assert os.strerror(number) in str(caught.value)
    with WriterLock(tmp_path / "lock"):
        pass


def test_unwritable_directory_is_one_clear_error(tmp_path):
    with pytest.raises(StorageError, match="cannot write"), WriterLock(tmp_path / "missing" / "lock"):
        pass


def test_a_lock_file_removed_while_it_was_opened_locks_nothing(tmp_path, monkeypatch):
    """Whoever has the old file would hold a lock beside the one who makes a new file."""
    path = tmp_path / "lock"
    path.touch()
    take, removed = locks._lock, []

    def lock_too_late(descriptor):
        if not removed:
            removed.append(path.unlink())
        take(descriptor)

    monkeypatch.setattr(locks, "_lock", lock_too_late)
    with WriterLock(path) as held:
        assert held.is_current()
        held_by = subprocess.run([sys.executable, "-c", HOLD, str(path)], capture_output=True, text=True, check=False)
        assert f"process {os.getpid()}" in held_by.stderr


def test_the_content_of_a_file_with_a_second_name_is_left_alone(tmp_path):
    (tmp_path / "precious").write_text("content")
    (tmp_path / "lock").hardlink_to(tmp_path / "precious")
    with WriterLock(tmp_path / "lock"):
        pass
    assert (tmp_path / "precious").read_text() == "content"


def test_asking_for_the_holder_takes_nothing_and_gives_nothing_up(tmp_path, holder):
    assert locks.holding_process(tmp_path / "lock") in (holder.pid, None)
    assert locks.holding_process(tmp_path / "none") is None
    with WriterLock(tmp_path / "own"):
        assert locks.holding_process(tmp_path / "own") is None
        refused = subprocess.run(
            [sys.executable, "-c", HOLD, str(tmp_path / "own")], capture_output=True, text=True, check=False
        )
        assert "LockedError" in refused.stderr
