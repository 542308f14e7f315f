"""Files that want code to run: names, calls, objects, states (formats.md 6.8, 1 to 32, 44)."""

import pickle as python_pickle
import struct
from collections.abc import Iterator

from dino_jax.interop.pth.write import scalar
from tests.interop.pth.build import (
    NAMESPACE,
    ORDERED,
    V2,
    archive,
    call,
    entries,
    group,
    legacy,
    name,
    numbers,
    pickle,
    pth,
    stack_name,
    storage,
    tensor,
)
from tests.interop.pth.hostile import Case

CANARY = "canary-of-the-hostile-files"
COMMAND = scalar(f"touch {CANARY}")
ASKS = "asks for"
EXECUTES: tuple[tuple[int, str, str, bytes], ...] = (
    (1, "os", "system", COMMAND),
    (2, "posix", "system", COMMAND),
    (3, "builtins", "eval", scalar(f"open('{CANARY}', 'w')")),
    (3, "builtins", "exec", scalar(f"open('{CANARY}', 'w')")),
    (4, "builtins", "__import__", scalar("antigravity")),
    (5, "builtins", "getattr", name("os", "path") + scalar("join")),
    (5, "operator", "attrgetter", scalar("__class__.__base__")),
    (6, "subprocess", "Popen", scalar("touch") + scalar(CANARY)),
    (6, "subprocess", "check_output", COMMAND),
    (7, "runpy", "_run_code", scalar("1") + b"}"),
    (8, "importlib", "import_module", scalar("antigravity")),
    (8, "importlib.machinery", "SourceFileLoader", scalar("x")),
    (9, "torch", "load", scalar("other.pth")),
    (9, "torch.serialization", "load", scalar("other.pth")),
    (10, "torch.hub", "load", scalar("someone/something")),
    (10, "torch.hub", "load_state_dict_from_url", scalar("http://localhost")),
    (11, "torch.jit._script", "script", scalar("x")),
    (11, "torch._dynamo", "optimize", scalar("x")),
    (11, "torch.utils.cpp_extension", "load", scalar("x")),
    (11, "torch.serialization", "_get_layout", scalar("x")),
    (12, "numpy", "load", scalar("x.npy")),
    (12, "numpy.testing._private.utils", "runstring", COMMAND + b"}"),
    (12, "numpy.f2py.crackfortran", "myeval", COMMAND),
    (12, "numpy.core.numeric", "_frombuffer", scalar("x")),
    (13, "pickle", "loads", scalar("x")),
    (13, "_pickle", "loads", scalar("x")),
    (14, "codecs", "encode", scalar("x") + scalar("rot13")),
    (15, "__builtin__", "eval", scalar("1")),
    (15, "commands", "getoutput", COMMAND),
    (15, "copy_reg", "_reconstructor", name("os", "system")),
    (44, "torch._utils", "_rebuild_qtensor", b""),
    (44, "torch._utils", "_rebuild_sparse_tensor", b""),
    (44, "torch._utils", "_rebuild_nested_tensor", b""),
    (44, "torch._utils", "_rebuild_meta_tensor_no_storage", b""),
    (44, "torch._tensor", "_rebuild_from_type_v2", name("torch", "Tensor")),
    (44, "torch._utils", "_rebuild_parameter_with_state", b""),
    (45, "torch._utils", "_rebuild_device_tensor_from_numpy", b""),
    (45, "torch._utils", "_rebuild_wrapper_subclass", b""),
    (46, "torch", "QInt8Storage", b""),
    (46, "torch", "ComplexFloatStorage", b""),
    (31, "builtins", "set", b"]"),
    (31, "collections", "defaultdict", b")"),
    (31, "webbrowser", "open", scalar("http://localhost")),
    (31, "socket", "create_connection", scalar("localhost")),
    (31, "shutil", "rmtree", scalar(CANARY)),
    (31, "ctypes", "CDLL", scalar("libc.so.6")),
)
"""A name that is not allowed, called with what would harm."""

LOOKALIKES = (
    (16, stack_name("torch._utils", "_rebuild_tensor_v2.__globals__")),
    (16, stack_name("os", "system")),
    (16, stack_name("collections", "OrderedDict.fromkeys")),
    (17, name("collections.OrderedDict", "__init__")),
    (17, name("collections", "OrderedDict.__reduce__")),
    (18, name("collections", "OrderedDict ")),
    (18, name(" collections", "OrderedDict")),
    (18, name("collections", "OrderedDict\0")),
    (18, name("collectıons", "OrderedDict")),
    (18, stack_name("collections", "OrderedDict\n")),
    (18, stack_name("cоllections", "OrderedDict")),
    (18, b"ccollections\r\nOrderedDict\r\n"),
    (18, b"cos\n" + b"x" * 10_000_000 + b"\n"),
    (18, scalar("os") + scalar(1) + b"\x93"),
    (18, b"]" + scalar("system") + b"\x93"),
)

OPCODES: tuple[tuple[int, str, bytes], ...] = (
    (19, "EXT1", b"\x82\x01"),
    (19, "EXT2", b"\x83\x01\x00"),
    (19, "EXT4", b"\x84\x01\x00\x00\x00"),
    (20, "INST", b"(" + COMMAND + b"ios\nsystem\n"),
    (21, "OBJ", b"(" + V2 + COMMAND + b"o"),
    (21, "OBJ", b"(" + NAMESPACE + b"o"),
    (23, "NEWOBJ_EX", NAMESPACE + b")}\x92"),
    (30, "PERSID", b"Pstorage\n"),
    (32, "NEXT_BUFFER", b"\x97"),
    (32, "READONLY_BUFFER", b"\x98"),
    (32, "BYTEARRAY8", b"\x96" + struct.pack("<Q", 1) + b"x"),
    (57, "BINUNICODE8", b"\x8d" + struct.pack("<Q", 2**63)),
    (57, "BINBYTES8", b"\x8e" + struct.pack("<Q", 2**63)),
    (57, "LONG4", b"\x8b" + struct.pack("<i", -1)),
    (58, "LONG4", b"\x8b" + struct.pack("<i", 1000) + b"\1" * 1000),
    (59, "INT", b"I" + b"9" * 1_000_000 + b"\n"),
    (59, "LONG", b"L" + b"9" * 1_000_000 + b"L\n"),
    (59, "FLOAT", b"F" + b"9" * 1_000_000 + b"\n"),
    (59, "STRING", b"S'x'\n"),
    (59, "UNICODE", b"Vx\n"),
    (61, "DUP", b"N" + b"2" * 1000),
    (61, "POP", b"N0"),
    (61, "POP_MARK", b"(1"),
    (61, "GET", b"N" + b"g0\n"),
    (61, "PUT", b"Np0\n"),
    (61, "EMPTY_SET", b"\x8f"),
    (61, "FROZENSET", b"(\x91"),
    (61, "0xff, which is none", b"\xff"),
)

STATES = (
    (24, ORDERED + b"N}" + scalar("__class__") + b"Ns\x86b", "sets the state"),
    (24, NAMESPACE + b")\x81N}\x86b", "sets the state"),
    (25, ORDERED + b"}" + scalar("__class__") + b"Nsb", "'__class__'"),
    (25, ORDERED + b"}" + scalar("__reduce__") + b"Nsb", "'__reduce__'"),
    (25, ORDERED + b"}" + scalar("items") + b"Nsb", "attributes of an OrderedDict"),
    (25, ORDERED + b"}" + scalar(1) + b"Nsb", "sets the state"),
    (26, NAMESPACE + b")\x81}" + scalar("__class__") + b"Nsb", "'__class__'"),
    (26, NAMESPACE + b")\x81]b", "sets the state"),
    (26, NAMESPACE + b")\x81}" + scalar(3) + b"Nsb", "sets the state"),
    (27, tensor() + b"}b", "state of a value of type tensor"),
    (27, b"]}b", "state of a value of type list"),
    (27, b"}}b", "state of a value of type dict"),
    (27, scalar(3) + b"}b", "state of a value of type int"),
    (27, name("torch", "FloatStorage") + b"}b", "state of a value of type storageclass"),
    (27, NAMESPACE + b"}b", "state of a value of type marker"),
    (22, V2 + b")\x81", "makes an object"),
    (22, name("collections", "OrderedDict") + b")\x81", "makes an object"),
    (22, NAMESPACE + numbers(1) + b"\x81", "makes an object"),
    (22, NAMESPACE + b"]\x81", "makes an object"),
    (22, scalar(1) + b")\x81", "makes an object"),
    (29, scalar(1) + b")R", "calls a value of type int"),
    (29, b"})R", "calls a value of type dict"),
    (29, tensor() + b")R", "calls a value of type tensor"),
    (29, ORDERED + b")R", "calls a value of type ordered"),
    (29, NAMESPACE + b")R", "calls argparse.Namespace"),
    (29, name("torch", "FloatStorage") + b")R", "calls a value of type storageclass"),
    (29, name("numpy", "ndarray") + b")R", "calls numpy.ndarray"),
    (28, name("collections", "OrderedDict") + b"]R", "calls"),
)

HELD = storage()
ARGUMENTS = (
    (28, call(name("collections", "OrderedDict"), b"](" + numbers("a", 1) + b"e"), "of arguments"),
    (28, call(V2, HELD, scalar(0), numbers(6)), "by 3 values"),
    (28, call(V2, HELD, *[scalar(0)] * 8), "by 9 values"),
    (28, call(V2, name("torch", "FloatStorage"), *[b")"] * 5), "trained by|without a storage"),
    (28, tensor(held=name("torch", "FloatStorage")), "without a storage"),
    (28, tensor((True,)), "size"),
    (28, tensor((6.0,)), "size"),
    (28, tensor(("6",)), "size"),
    (28, tensor((2**100,)), "size"),
    (28, call(V2, HELD, scalar(0), group(numbers(6)), numbers(1), scalar(False), ORDERED), "size"),
    (28, call(V2, HELD, scalar(0), b"]", b")", scalar(False), ORDERED), "size and stride"),
    (28, b"\x8a\xff" + b"\1" * 255, "255 bytes"),
    (28, call(V2, HELD, scalar(0), numbers(6), numbers(1), scalar(1), ORDERED), "is trained"),
    (28, call(V2, HELD, scalar(0), numbers(6), numbers(1), scalar(False), scalar("x")), "hooks"),
    (
        28,
        call(V2, HELD, scalar(0), numbers(6), numbers(1), scalar(False), b"}" + scalar(1) + b"Ns"),
        "hooks",
    ),
    (
        28,
        call(
            V2,
            HELD,
            scalar(0),
            numbers(6),
            numbers(1),
            scalar(False),
            ORDERED,
            b"}" + scalar("conj") + b"\x88s",
        ),
        "conjugated",
    ),
    (28, call(name("torch._utils", "_rebuild_parameter"), scalar(1)), "parameter"),
    (28, call(name("torch._utils", "_rebuild_parameter")), "parameter"),
    (28, call(name("torch", "Size"), scalar("abc")), "torch.Size"),
    (28, call(name("torch", "Size"), numbers("a")), "the size"),
    (28, call(name("torch", "device"), scalar("x" * 1_000_000)), "torch.device"),
    (28, call(name("torch", "device"), scalar("cuda"), scalar(-1)), "a device"),
    (28, call(name("torch", "device"), scalar(0)), "torch.device"),
    (14, call(name("_codecs", "encode"), scalar("x"), scalar("rot13")), "latin1"),
    (14, call(name("_codecs", "encode"), scalar("x"), scalar("zlib")), "latin1"),
    (14, call(name("_codecs", "encode"), b"C\1x", scalar("latin1")), "latin1"),
    (14, call(name("_codecs", "encode"), scalar("€"), scalar("latin1")), "not latin1"),
    (14, call(name("_codecs", "encode"), scalar("x")), "latin1"),
    (14, call(name("_codecs", "encode"), scalar("x"), scalar("latin1")), "b'x' as a value"),
)


class Harm:
    """An object whose pickle by Python itself runs a command."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        import os

        return os.system, (f"touch {CANARY}",)


def cases() -> Iterator[Case]:
    """Every row, in a right zip; a few in the older format too."""
    for number, module, attribute, argument in EXECUTES:
        body = call(name(module, attribute), argument)
        yield Case(number, f"{module}.{attribute}", pth(body), ASKS)
        yield Case(number, f"{module}.{attribute}-old", legacy(body, b"]", b""), ASKS)
        within = b"}" + scalar("teacher") + body + b"s"
        yield Case(number, f"{module}.{attribute}-within", pth(within), ASKS)
    for number, body in LOOKALIKES:
        yield Case(
            number, "lookalike", pth(body + b")R"), "asks for|names|a name of|what is not text"
        )
    for number, opcode, body in OPCODES:
        yield Case(number, opcode, pth(body), f"opcode {opcode}")
    for number, body, said in (*STATES, *ARGUMENTS):
        yield Case(number, "state" if number in (24, 25, 26, 27) else "call", pth(body), said)
    for protocol in range(2, 6):
        written = python_pickle.dumps(Harm(), protocol)
        yield Case(1, f"pickle-{protocol}", written, "not one of torch.save|asks for")
        yield Case(1, f"inside-{protocol}", archive(entries(written)), ASKS)
    yield Case(13, "nested", pth(b"C\x20" + pickle(b"N" * 28) + b"."), "as a value")
