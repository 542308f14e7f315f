"""Tensors, references, numpy values and bombs (formats.md 6.8, 31 and 33 to 65)."""

import struct
from collections.abc import Iterator

from dino_jax.interop.pth.write import scalar
from tests.interop.pth.build import (
    ORDERED,
    VALUES,
    archive,
    call,
    entries,
    group,
    name,
    numbers,
    pickle,
    pth,
    storage,
    tensor,
)
from tests.interop.pth.hostile import Case

FLOATS = name("torch", "FloatStorage")
REFERENCES = (
    *(scalar(value) for value in (1, "0", None, 2.5)),
    *(b"]", b"}", b")", FLOATS),
    numbers("storage", 1, 2, 3),
    numbers("storage", *range(6)),
    group(scalar("module"), FLOATS, scalar("a.py"), scalar("code"), scalar(1)),
    group(b"C\7storage", FLOATS, scalar("0"), scalar("cpu"), scalar(6)),
    group(scalar("storage"), b"}", scalar("0"), scalar("cpu"), scalar(6)),
    group(scalar("storage"), FLOATS, scalar("0"), scalar(1), scalar(6)),
)
KEYS = (0, None, "", "../../etc/passwd", "/etc/passwd", "..\\x", "0\0", "1", "0 ", "x" * 300)


def _typed(dtype: str) -> bytes:
    """A tensor of `dtype` in a storage of floats."""
    rest = (scalar(0), numbers(6), numbers(1), scalar(False), ORDERED, name("torch", dtype))
    return call(name("torch._utils", "_rebuild_tensor_v3"), storage(), *rest)


def _empty(first: str, second: str) -> bytes:
    """One storage, which has no elements, in two ways."""
    return group(storage("9", 0, kind=first), storage("9", 0, kind=second))


COUNTS = ((33, 2**31), (33, 2**63 - 1), (33, 7), (34, 5), (34, 0), (35, -1), (35, -(2**63)))
VIEWS = (
    (35, tensor((-1,)), "size of a tensor as -1"),
    (35, tensor((6,), (-1,)), "stride as -1"),
    (35, tensor(offset=-1), "offset as -1"),
    (36, tensor((7,)), "over the end"),
    (36, tensor((6,), offset=1), "over the end"),
    (36, tensor((3, 2), (2, 2)), "over the end"),
    (36, tensor((0,), offset=7), "over the end"),
    (37, tensor((2**31,), (0,)), "repeats"),
    (37, tensor((7,), (0,)), "repeats"),
    (38, tensor((2, 2), (2**62, 1)), "stride"),
    (38, tensor((2, 2), (2**47, 1)), "over the end"),
    (38, tensor((2**47, 2**47), (0, 0)), "the size"),
    (38, tensor((0, 2**47, 2**47), (0, 0, 0)), "the size"),
    (38, tensor((2**47, 2, 0), (0, 0, 0)), "the size"),
    (39, call(name("torch", "Size"), numbers(*[1] * 1000)), "axes"),
    (39, tensor((1,) * 10_000, (1,) * 10_000), "axes"),
    (39, tensor((1,) * 9, (1,) * 9), "axes"),
    (39, tensor((6,), (1, 1)), "size and stride"),
    (40, tensor(held=storage("1")), "lacks the storage"),
    (41, b"(" + tensor() + tensor(held=storage(kind="torch IntStorage")) + b"t", "two ways"),
    (41, b"(" + tensor() + tensor((3,), held=storage(count=3)) + b"t", "two ways"),
    (41, _empty("torch.storage UntypedStorage", "torch DoubleStorage"), "two ways"),
    (41, _empty("torch DoubleStorage", "torch.storage UntypedStorage"), "two ways"),
    (41, _typed("float64"), "another dtype"),
    (41, _typed("float16"), "another dtype"),
    (46, tensor(held=storage(count=24, kind="torch.storage UntypedStorage")), "no dtype"),
    (48, tensor((24,), held=storage(count=24, kind="torch BoolStorage")), "booleans"),
)


def _numpy() -> Iterator[Case]:
    ndarray, reconstruct = name("numpy", "ndarray"), name("numpy.core.multiarray", "_reconstruct")
    raw = name("numpy", "dtype")
    double = call(raw, scalar("f8"), scalar(False), scalar(True))
    made = call(reconstruct, ndarray, numbers(0), b"C\1b")
    single = name("numpy.core.multiarray", "scalar")
    for kind in (FLOATS, name("collections", "OrderedDict"), b"N", scalar("ndarray")):
        yield Case(49, "subtype", pth(call(reconstruct, kind, numbers(0), b"C\1b")), "numpy array")
    yield Case(49, "shape", pth(call(reconstruct, ndarray, numbers(9), b"C\1b")), "numpy array")
    yield Case(49, "unset", pth(made), "as a value")
    for code in (
        "O",
        "O8",
        "V1000000000",
        "S1000000000",
        "U9",
        "M8",
        "m8",
        "c16",
        "f16",
        "i3",
        ">f8",
    ):
        yield Case(
            50, code, pth(call(raw, scalar(code), scalar(False), scalar(True))), "of the type"
        )
    fields = b"](" + numbers("a", "f8") + b"e"
    yield Case(50, "structured", pth(call(raw, fields, scalar(False), scalar(True))), "of the type")
    yield Case(50, "flags", pth(call(raw, scalar("f8"), scalar("x"))), "unknown way")
    for state in (
        b"N",
        numbers(3, ">", None, None, None, -1, -1, 0),
        numbers(3, "<", None, "f", None, -1, -1, 0),
        numbers(3, "<", None, None, None, 8, 1, 27),
        numbers(4, "<", None, None, None, -1, -1, 63),
    ):
        body = call(single, double + state + b"b", b"C\10" + b"\0" * 8)
        yield Case(50, "state", pth(body), "unknown way|little-endian")
    for shape, count in (
        *(((2,), 8), ((1,), 9), ((-1,), 8), ((1,) * 9, 8)),
        *(((2**47, 2**47), 8), ((0, 2**47, 2**47), 0), ((2**47, 2, 0), 0)),
    ):
        data = b"C" + bytes([count]) + b"\0" * count
        state = group(scalar(1), numbers(*shape), double, scalar(False), data)
        yield Case(
            51, f"shape-{count}", pth(made + state + b"b"), "bytes of a numpy|size of|the size|axes"
        )
    for data in (b"C\4\0\0\0\0", b"C\0", b"N", b"]"):
        yield Case(52, "scalar", pth(call(single, double, data)), "bytes of a numpy")
    yield Case(52, "dtype", pth(call(single, scalar("f8"), b"C\10" + b"\0" * 8)), "numpy number")
    flag = call(raw, scalar("b1"), scalar(False), scalar(True))
    yield Case(52, "bool", pth(call(single, flag, b"C\1\7")), "neither 0 nor 1")


def _bombs() -> Iterator[Case]:
    doubled = b"N" + b"".join(b"q\0h\0\x86" for _ in range(40))
    yield Case(53, "tuples", pth(doubled), "unfold")
    grown = (f"]q{chr(i + 1)}(h{chr(i)}h{chr(i)}e" for i in range(40))
    yield Case(53, "lists", pth(b"(]q\0" + "".join(grown).encode() + b"t"), "unfold")
    yield Case(54, "list", pth(b"]q\0h\0a"), "contains itself")
    yield Case(54, "dict", pth(b"}q\0" + scalar("a") + b"h\0s"), "contains itself")
    yield Case(54, "longer", pth(b"]q\0]q\1h\0a\x85a"), "contains itself")
    yield Case(55, "tuples", pth(b")" + b"\x85" * 10_000), "deep")
    yield Case(55, "lists", pth(b"]" * 20_000 + b"a" * 19_999), "deep|stacks")
    yield Case(55, "a-million", pth(b")" + b"\x85" * 1_000_000), "deep|twice its size")
    yield Case(56, "marks", pth(b"(" * 1_000_000), "groups within")
    yield Case(56, "stack", pth(b"N" * 1_000_000), "stacks over")
    yield Case(57, "BINUNICODE", pth(b"X\xff\xff\xff\xff"), "a string of 4294967295")
    yield Case(57, "BINUNICODE-short", pth(b"X\0\0\1\0x"), "ends too early")
    yield Case(57, "BINSTRING", pth(b"T\xff\xff\xff\xff"), "a string of -1")
    yield Case(57, "BINBYTES", pth(b"B\xff\xff\xff\x7f"), "a string of 2147483647")
    yield Case(57, "not-UTF-8", pth(b"X\2\0\0\0\xff\xff"), "not UTF-8")
    yield Case(57, "surrogate", pth(b"X\3\0\0\0\xed\xa0\x80"), "not UTF-8")
    yield Case(60, "LONG_BINPUT", pth(b"r\xff\xff\xff\xff"), "takes more from the stack")
    for body, said in (
        (b"t", "not begun"),
        (b"]Ne", "not begun"),
        (b"}" + scalar("a") + b"Nu", "not begun"),
        (b"]a", "takes more"),
        (b"(\x85", "takes more"),
        (b"R", "takes more"),
        (b"}(" + scalar("a") + b"u", "without a value"),
        (b"h\0", "recalls"),
        (b"N(", "one value"),
        (b"NN", "one value"),
        (b"", "one value"),
    ):
        yield Case(61, "stack", pth(body), said)
    for key in (b"]", b")", b"}", b"N", scalar(1.5), scalar(True), scalar(2**61 - 1), ORDERED):
        yield Case(62, "key", pth(b"}" + key + b"Ns"), "as a key")
    colliding = b"".join(
        b"\x8a\x10" + (k * (2**61 - 1)).to_bytes(16, "little") + b"N" for k in range(9)
    )
    yield Case(63, "collisions", pth(b"}(" + colliding + b"u"), "as a key")
    yield Case(63, "twice", pth(b"}" + (scalar("a") + b"Ns") * 2), "twice")
    for data, said in (
        (b"", "ends too early"),
        (b"\x80", "ends too early"),
        (b"\x80\x02", "ends too early"),
        (b"\x80\x02N", "ends too early"),
        (b"N.", "protocol of 2 to 5"),
        (b"\x80\x01N.", "protocol of 2 to 5"),
        (b"\x80\x06N.", "protocol of 2 to 5"),
        (b"\x80\x02.", "one value"),
        (b"\x80\x02N.N.", "behind its end"),
        (b"\x80\x02N.\x80\x02cos\nsystem\n.", "behind its end"),
        (b"\x80\x04\x95" + struct.pack("<Q", 2**40) + b"N.", "ends too early"),
        (b"\x80\x02N\x80\x02.", "opcode PROTO"),
    ):
        yield Case(65 if b"\x95" in data else 64, "pickle", archive(entries(data)), said)
    for body in (b"}u", b"]e", b"N}s", b"]" + scalar("a") + b"Ns", tensor() + b"Na", b")Na"):
        yield Case(61, "target", pth(body), "not begun|takes more|sets an item|appends to")
    for target in (tensor(), b"]", b")", scalar("a"), call(name("torch", "Size"), b")")):
        yield Case(61, "item", pth(target + scalar("a") + b"Ns"), "sets an item")


def cases() -> Iterator[Case]:
    """Every row."""
    for identity in REFERENCES:
        yield Case(31, "reference", pth(identity + b"Q"), "outside|pickled module|names a storage")
    for key in KEYS:
        yield Case(31, "key", pth(tensor(held=storage(key))), "names a storage|lacks the storage")
    for number, count in COUNTS:
        yield Case(number, str(count), pth(tensor((1,), held=storage(count=count))), "storage")
    for number, body, said in VIEWS:
        held = {"0": VALUES[:-1] + b"\xff", "9": b""}
        yield Case(number, "view", pth(body, held), said)
    yield _copies()
    for order in (b"big", b"middle", b"", b"little\n", b"x" * 1_000_000):
        held = entries(pickle(b"N"))
        held[1].data = order
        yield Case(47, "byteorder", archive(held), "byte order|byteorder")
    for version in (b"", b"0", b"11", b"x", b"-3", b"3" * 40, b"3" * 100, "²".encode()):
        held = entries(pickle(b"N"))
        held[-1].data = version
        yield Case(47, "version", archive(held), "version")
    yield from _numpy()
    yield from _bombs()


def _copies() -> Case:
    """A storage of 8 MB seen whole in fourteen different shapes, each of which would be a copy."""
    count = 1 << 21
    shapes = [((1 << left, count >> left), (count >> left, 1)) for left in range(14)]
    views = b"".join(tensor(*shape, held=storage(count=count)) for shape in shapes)
    return Case(43, "copies", pth(group(views), {"0": bytes(4 * count)}), "twice its size")
