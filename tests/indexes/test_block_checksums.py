"""A block is compared with its checksum exactly when something in it is used."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexes.block_checksums import BLOCK, BlockChecksums, encode_checksums
from indexes.errors import CorruptIndexError
from indexes.storage import seal

N_BLOCKS = 40
SIZE = N_BLOCKS * BLOCK - 5
PLACES = st.lists(st.tuples(st.integers(0, SIZE), st.integers(0, 3 * BLOCK)), max_size=40)


@pytest.fixture(scope="module")
def sealed(tmp_path_factory):
    directory = tmp_path_factory.mktemp("part")
    content = np.random.default_rng(0).integers(0, 256, SIZE, dtype=np.uint8)
    (directory / "a.npy").write_bytes(content.tobytes())
    seal(directory)
    return directory, content


@given(damaged=st.sets(st.integers(0, N_BLOCKS - 1), max_size=3), calls=st.lists(PLACES, max_size=4))
def test_damage_is_found_where_it_is_touched_and_only_there(sealed, damaged, calls):
    directory, content = sealed
    content = content.copy()
    for number in damaged:
        content[number * BLOCK + 17] ^= 1
    guard = BlockChecksums(directory).guard("a.npy", content)
    for places in calls:
        spans = [(begin, min(begin + length, SIZE)) for begin, length in places]
        touched = {
            number for begin, end in spans if end > begin for number in range(begin // BLOCK, (end - 1) // BLOCK + 1)
        }
        begins = np.array([begin for begin, _ in spans], np.int64)
        ends = np.array([end for _, end in spans], np.int64)
        if touched & damaged:
            with pytest.raises(CorruptIndexError, match=r"a\.npy, bytes [\d,]+ to"):
                guard.check(begins, ends)
        else:
            guard.check(begins, ends)
    if damaged:
        with pytest.raises(CorruptIndexError):
            guard.check_all()
        assert not guard.finished
    else:
        guard.check_all()
        assert guard.finished


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b'{"crc32": "00000000", "blocks": {}}\n',
        encode_checksums({"a.npy": [1]}).replace(b"a.npy", b"b.npy"),
        encode_checksums({"a.npy": [1]}) + b" ",
        b'{"a":' * 20_000,
        b"\xff" * 50,
    ],
)
def test_checksums_that_are_damaged_themselves_are_named(tmp_path, content):
    (tmp_path / "block-checksums.json").write_bytes(content)
    with pytest.raises(CorruptIndexError, match=r"block-checksums\.json"):
        BlockChecksums(tmp_path)


@pytest.mark.parametrize("blocks", [{}, {"a.npy": []}, {"a.npy": [1, 2]}, {"b.npy": [1]}])
def test_checksums_for_another_size_do_not_fit(tmp_path, blocks):
    (tmp_path / "block-checksums.json").write_bytes(encode_checksums(blocks))
    with pytest.raises(CorruptIndexError, match=r"a\.npy or block-checksums\.json"):
        BlockChecksums(tmp_path).guard("a.npy", np.zeros(10, np.uint8))
