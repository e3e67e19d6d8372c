import contextlib
import io
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexes.array_writer import save_array
from indexes.arrays import ArrayFolder, load_array
from indexes.errors import CorruptIndexError
from indexes.storage import seal


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


def header_of(kind, order, lengths, padding):
    text = f"{{'descr': '{kind}', 'fortran_order': {order}, 'shape': {lengths}, }}{' ' * padding}\n".encode()
    return len(text).to_bytes(2, "little") + text


TYPES = st.from_regex(r"[<>|=][a-zA-Z?][0-9]{1,2}", fullmatch=True)
LENGTHS = st.one_of(st.lists(st.integers(-1, 2**70), max_size=4).map(tuple), st.text("(),0123 abc", max_size=12))
HEADERS = st.builds(header_of, TYPES, st.booleans(), LENGTHS, st.integers(0, 130))


@given(st.one_of(st.binary(max_size=120), HEADERS), st.binary(max_size=40))
def test_damaged_headers_never_escape_as_something_else(tmp_path_factory, header, content):
    directory = tmp_path_factory.getbasetemp()
    (directory / "noise.npy").write_bytes(b"\x93NUMPY\x01\x00" + header + content)
    with contextlib.suppress(CorruptIndexError):
        load_array(directory, "noise", np.int64, (None,))


@given(place=st.integers(0, 127), byte=st.integers(0, 255))
def test_no_byte_of_a_header_can_be_another(tmp_path_factory, place, byte):
    directory = tmp_path_factory.getbasetemp()
    save_array(directory, "byte", np.arange(7)) if not (directory / "byte.npy").exists() else None
    content = bytearray((directory / "byte.npy").read_bytes())
    same = content[place] == byte
    content[place] = byte
    (directory / "changed.npy").write_bytes(content)
    if same:
        assert load_array(directory, "changed", np.int64, (7,)).tolist() == list(range(7))
    else:
        with pytest.raises(CorruptIndexError, match=r"changed\.npy"):
            load_array(directory, "changed", np.int64, (7,))


@pytest.mark.parametrize("kind", ["|f1", "|b2", "<b4", "<f1", "|u8", ">i8", "<f2"])
def test_types_that_are_none_or_not_expected(tmp_path, kind):
    header = header_of(kind, False, "(0,)", 0)
    header = header_of(kind, False, "(0,)", -(8 + len(header)) % 64)
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY\x01\x00" + header)
    with pytest.raises(CorruptIndexError, match=r"a\.npy"):
        load_array(tmp_path, "a", np.int64, (None,))


def with_header(directory, header, content=b""):
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {header}, }}".encode()
    text += b" " * (64 - (len(text) + 11) % 64) + b"\n"
    (directory / "a.npy").write_bytes(b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + content)


@pytest.mark.parametrize(
    "shape", [f"(0, {2**62})", f"({2**62}, 0)", f"(0, {2**70})", "(True, 1)", "(1, True)", "(-1, -1)"]
)
def test_lengths_that_no_array_has_are_refused(tmp_path, shape):
    with_header(tmp_path, shape, bytes(4))
    with pytest.raises(CorruptIndexError, match=r"a\.npy"):
        load_array(tmp_path, "a", np.float32, (None, None))
    with_header(tmp_path, shape)
    with pytest.raises(CorruptIndexError, match=r"a\.npy"):
        load_array(tmp_path, "a", np.float32, (None, None))


def test_a_header_that_numpy_would_not_mind_is_noticed_before_anything_is_read(tmp_path):
    save_array(tmp_path, "a", np.zeros(100_000, np.float32))
    seal(tmp_path)
    path = tmp_path / "a.npy"
    content = bytearray(path.read_bytes())
    content[100:101] = b"\t"  # a space between the shape and the end of the line: numpy reads the same
    path.write_bytes(content)
    for opening in (ArrayFolder(tmp_path).checked, ArrayFolder(tmp_path).unread):
        with pytest.raises(CorruptIndexError, match=r"a\.npy"):
            opening("a", np.float32, (None,))


def test_vectors_are_compared_with_checksums_only_when_they_are_asked_for(tmp_path):
    save_array(tmp_path, "a", np.arange(100_000, dtype=np.float32))
    seal(tmp_path)
    path = tmp_path / "a.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    array = ArrayFolder(tmp_path).unread("a", np.float32, (None,))
    assert array.span(0, 1000)[999] == 999
    with pytest.raises(CorruptIndexError, match=r"a\.npy"):
        array.span(99_000, 100_000)
    with pytest.raises(CorruptIndexError, match=r"a\.npy"):
        array.whole()


def test_block_checksums_of_absurd_size_are_not_read(tmp_path):
    save_array(tmp_path, "a", np.arange(3))
    with (tmp_path / "block-checksums.json").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(CorruptIndexError, match="larger than"):
        ArrayFolder(tmp_path)
