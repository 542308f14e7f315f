"""Plain pickles by the allow-list: every protocol, Python 2's, and what is refused."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dino_jax.config import UserError
from dino_jax.interop.pth.bare import read_pickle

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text("abc\nü'\"\\"), inner) | st.tuples(inner)
    ),
    max_leaves=12,
)
ARRAY = np.arange(3)
OF_PYTHON_2 = {
    "binary": b"\x80\x02}q\x01U\x01aq\x02cnumpy.core.multiarray\n_reconstruct\nq\x03cnumpy\nnd"
    b"array\nq\x04K\x00\x85U\x01b\x87Rq\x05(K\x01K\x03\x85cnumpy\ndtype\nq\x06U\x02i8K\x00K\x01\x87Rq\x07"
    b"(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x18" + ARRAY.tobytes()
    + b"tbs.",
    "text": b"(dp0\nS'a'\np1\ncnumpy.core.multiarray\n_reconstruct\np2\n(cnumpy\nndarray\np3\n(I0\n"
    b"tp4\nS'b'\np5\ntp6\nRp7\n(I1\n(I3\ntp8\ncnumpy\ndtype\np9\n(S'i8'\np10\nI0\nI1\ntp11\nRp12\n"
    b"(I3\nS'<'\np13\nNNNI-1\nI-1\nI0\ntp14\nbI00\nS" + repr(ARRAY.tobytes())[1:].encode()
    + b"\np15\ntp16\nbs.",
}  # fmt: skip


class Calls:
    """What a hostile pickle calls when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.fixture
def read(tmp_path):
    def write_and_read(content: bytes):
        path = tmp_path / "gnd.pkl"
        path.write_bytes(content)
        return read_pickle(path)

    return write_and_read


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("pickles")


@given(value=VALUES, protocol=st.integers(0, 5))
def test_values_come_back_from_every_protocol(folder, value, protocol):
    path = folder / "value.pkl"
    path.write_bytes(pickle.dumps(value, protocol))
    found = read_pickle(path)
    assert found == value
    assert repr(found) == repr(value)


@pytest.mark.parametrize("protocol", range(5))
def test_arrays_and_numbers_of_numpy_come_back(read, protocol):
    value = {"a": np.arange(4), "b": np.zeros(0), "c": np.float64(1.5), "d": [np.int64(3)]}
    found = read(pickle.dumps(value, protocol))
    np.testing.assert_array_equal(found["a"], value["a"])
    assert found["b"].shape == (0,)
    assert (found["c"], found["d"]) == (1.5, [3])


@pytest.mark.parametrize("form", OF_PYTHON_2)
def test_arrays_of_python_2_come_back(read, form):
    np.testing.assert_array_equal(read(OF_PYTHON_2[form])["a"], ARRAY)


@pytest.mark.parametrize("protocol", range(6))
def test_nothing_is_called(read, tmp_path, protocol):
    with pytest.raises(UserError, match=r"open.*nothing of it was run") as error:
        read(pickle.dumps({"gnd": Calls(tmp_path / "witness")}, protocol))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "witness").exists()


@pytest.mark.parametrize(
    "content",
    [
        b"", b".", b"(", b"no pickle", b"\x80\x02.", b"(dp0\n", b"I1\n.more", b"\x80\x02N.more",
        b"(S'a'\nI1\nd.", b"(I1\nl.", b"N0.", b"\x80\x09N.", b"I" + b"9" * 5000 + b"\n.",
        b"cos\nsystem\n(S'true'\ntR.", b"P1\n.", b"L" + b"9" * 4000 + b"L\n.", b"p99999999999\n.",
        b"\x80\x02(K\x01K\x02K\x03", b"\x80\x02]q\x00h\x00a.",
    ],
)  # fmt: skip
def test_what_is_no_plain_pickle_is_one_line(read, content):
    with pytest.raises(UserError) as error:
        read(content)
    assert str(error.value).startswith("cannot read ")
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r"cannot read .*: No such file"):
        read_pickle(tmp_path / "gnd.pkl")
