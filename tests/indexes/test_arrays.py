import contextlib
import io
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexes.array_writer import save_array
from indexes.arrays import load_array
from indexes.errors import CorruptIndexError


@pytest.mark.parametrize("array", [np.arange(5), np.empty((0, 3), np.float32), np.ones((2, 3), np.uint8)])
def test_what_is_saved_is_loaded_read_only(tmp_path, array):
    save_array(tmp_path, "a", array)
    loaded = load_array(tmp_path, "a", array.dtype, (None, *array.shape[1:]))
    assert np.array_equal(loaded, array)
    assert loaded.dtype == array.dtype
    with pytest.raises(ValueError, match="read-only"):
        loaded[...] = 0


def test_another_type_or_shape_is_refused(tmp_path):
    save_array(tmp_path, "a", np.arange(5))
    with pytest.raises(CorruptIndexError, match=r"a\.npy holds int64 \(5,\)"):
        load_array(tmp_path, "a", np.int32, (5,))
    with pytest.raises(CorruptIndexError, match="expected"):
        load_array(tmp_path, "a", np.int64, (4,))
    with pytest.raises(CorruptIndexError, match=r"b\.npy"):
        load_array(tmp_path, "b", np.int64, (5,))


def test_archives_and_pickles_are_refused(tmp_path):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("x.npy", b"")
    objects = io.BytesIO()
    np.save(objects, np.array([{}], object), allow_pickle=True)
    for content in (archive.getvalue(), objects.getvalue(), b"", b"\x80\x04N."):
        (tmp_path / "a.npy").write_bytes(content)
        with pytest.raises(CorruptIndexError, match=r"a\.npy"):
            load_array(tmp_path, "a", np.int64, (1,))


@given(st.binary(max_size=120))
def test_damaged_headers_never_escape_as_something_else(tmp_path_factory, noise):
    directory = tmp_path_factory.getbasetemp()
    (directory / "noise.npy").write_bytes(b"\x93NUMPY\x01\x00" + noise)
    with contextlib.suppress(CorruptIndexError):
        load_array(directory, "noise", np.int64, (None,))
