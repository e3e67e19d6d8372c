from __future__ import annotations

import numpy as np
import pytest

from indexes.array_writer import ArrayWriter, save_array
from indexes.arrays import load_array


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.uint32, np.int64])
@pytest.mark.parametrize("sizes", [[], [0], [1], [3, 0, 5], [4096, 1]])
def test_bytes_are_those_of_numpy_save(tmp_path, dtype, sizes):
    values = np.arange(sum(sizes)).astype(dtype)
    with ArrayWriter(tmp_path, "written", dtype) as writer:
        begin = 0
        for size in sizes:
            writer.append(values[begin : begin + size])
            begin += size
    np.save(tmp_path / "saved.npy", values)
    assert (tmp_path / "written.npy").read_bytes() == (tmp_path / "saved.npy").read_bytes()
    np.testing.assert_array_equal(load_array(tmp_path, "written", dtype, (len(values),)), values)


def test_blocks_are_converted_and_strided_ones_made_flat(tmp_path):
    with ArrayWriter(tmp_path, "a", np.int32) as writer:
        writer.append(np.arange(10, dtype=np.int64)[::2])
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), np.arange(0, 10, 2, dtype=np.int32))


def test_file_of_an_interrupted_writer_has_no_elements(tmp_path):
    def interrupted():
        with ArrayWriter(tmp_path, "a", np.int32) as writer:
            writer.append(np.arange(5))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert len(np.load(tmp_path / "a.npy")) == 0


def test_save_array(tmp_path):
    save_array(tmp_path, "a", np.arange(7))
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), np.arange(7))
