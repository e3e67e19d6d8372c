import errno
import os

import pytest

from indexes.errors import CorruptIndexError
from indexes.file_operations import remove_tree, sync, watch
from indexes.storage import check_contents, check_sizes, replace_file, seal, sha256_of


def test_sealed_part_is_recorded_with_size_and_checksum(tmp_path):
    (tmp_path / "b.bin").write_bytes(b"abc")
    (tmp_path / "a.bin").write_bytes(b"")
    records = seal(tmp_path)
    assert list(records) == ["a.bin", "b.bin", "block-checksums.json"]
    # The digest of "abc" is the first test vector of FIPS 180-2.
    assert records["b.bin"].sha256 == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert records["b.bin"].size == 3
    check_sizes(tmp_path, records)
    assert check_contents(tmp_path, records) == []


@pytest.mark.parametrize("damage", ["missing", "truncated", "longer"])
def test_open_notices_missing_and_resized_files(tmp_path, damage):
    path = tmp_path / "vectors.npy"
    path.write_bytes(b"0123456789")
    records = seal(tmp_path)
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(b"0" * (5 if damage == "truncated" else 20))
    with pytest.raises(CorruptIndexError, match=r"vectors\.npy"):
        check_sizes(tmp_path, records)
    assert "vectors.npy" in check_contents(tmp_path, records)[0]


def test_one_flipped_bit_is_found_by_content_only(tmp_path):
    path = tmp_path / "x.bin"
    path.write_bytes(bytes(1000))
    records = seal(tmp_path)
    content = bytearray(path.read_bytes())
    content[567] ^= 4
    path.write_bytes(bytes(content))
    check_sizes(tmp_path, records)
    assert "SHA-256" in check_contents(tmp_path, records)[0]


def test_replace_leaves_the_old_file_when_writing_fails(tmp_path):
    path = tmp_path / "manifest.json"
    replace_file(path, b"old")

    def disk_full(operation):
        if operation.kind == "sync":
            raise OSError(28, "No space left on device")

    with watch(disk_full), pytest.raises(OSError, match="No space left"):
        replace_file(path, b"new")
    assert path.read_bytes() == b"old"


def test_digest_reads_files_of_any_length(tmp_path):
    path = tmp_path / "empty"
    path.write_bytes(b"")
    assert sha256_of(path) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_what_is_nested_beyond_the_limit_of_recursion_is_removed(tmp_path):
    (tmp_path / "kept").write_text("content")
    top = here = tmp_path / "top"
    here.mkdir()
    folder = os.open(here, os.O_RDONLY)
    for _ in range(1500):  # by descriptors: the whole path is longer than a system takes
        os.mkdir("d", dir_fd=folder)
        below = os.open("d", os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = below
    os.close(folder)
    (top / "link").symlink_to(tmp_path / "kept")
    remove_tree(top)
    assert not top.exists()
    assert (tmp_path / "kept").read_text() == "content"


@pytest.mark.parametrize("reason", [errno.EINVAL, errno.ENOTSUP])
def test_a_file_system_need_not_sync_directories(tmp_path, monkeypatch, reason):
    def refuses(descriptor):
        raise OSError(reason, os.strerror(reason))

    monkeypatch.setattr(os, "fsync", refuses)
    sync(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=os.strerror(reason)):
        sync(tmp_path / "file")
