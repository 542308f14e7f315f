"""The pickle machine: a stack, a memo, and the few opcodes that a checkpoint of weights needs.

It builds dicts, lists, tuples, strings and numbers itself. Whatever names something, calls it or
sets its state goes to `Values`, which knows inert stand-ins only: nothing is looked up in Python's
modules, so there is nothing that could be run.
"""

import pickletools
import struct
from collections.abc import Callable
from typing import Any

from dino_jax.interop.pth.allowed import Values
from dino_jax.interop.pth.limits import (
    CONTAINER_COST,
    DENSE,
    FOREIGN,
    MAX_KEY,
    MAX_MARKS,
    MAX_NAME,
    MAX_SCATTERED,
    MAX_STACK,
    MAX_STRING,
    OPCODE_COST,
    Budget,
    EndedError,
    RefusedError,
    quoted,
)

STOP = ord(".")


class Machine:
    """Runs one pickle of `data` from `position`, which then is behind its STOP."""

    def __init__(self, data: bytes, values: Values, budget: Budget, position: int = 0) -> None:
        self.position = position
        self._data = data
        self._values = values
        self._budget = budget
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}
        self._scattered = 0

    def run(self) -> Any:
        """The one value of the pickle.

        Raises:
            RefusedError: anything that a pickle of weights does not hold; EndedError: the data end.
        """
        self._start()
        data, end, stack = self._data, len(self._data), self._stack
        while self.position < end and (code := data[self.position]) != STOP:
            handler = HANDLERS.get(code)
            if handler is None:
                raise RefusedError(f"its pickle uses the opcode {_opcode(code)}", FOREIGN)
            self.position += 1
            self._budget.spend(OPCODE_COST)
            handler(self)
            if len(stack) > MAX_STACK:
                raise RefusedError(f"its pickle stacks over {MAX_STACK} values", FOREIGN)
        self._take(1)
        if self._marks or len(self._stack) != 1:
            raise RefusedError("its pickle does not end in one value")
        return self._stack.pop()

    def _start(self) -> None:
        code, protocol = self._take(2)
        if code != 0x80 or not 2 <= protocol <= 5:
            raise RefusedError("its pickle does not begin with a protocol of 2 to 5")

    def _take(self, count: int) -> bytes:
        begin, end = self.position, self.position + count
        if end > len(self._data):
            raise EndedError("its pickle ends too early")
        self.position = end
        return self._data[begin:end]

    def _number(self, form: str) -> Any:
        return struct.unpack(form, self._take(struct.calcsize(form)))[0]

    def _length(self, form: str) -> int:
        length = self._number(form)
        if not 0 <= length <= MAX_STRING:
            raise RefusedError(f"its pickle holds a string of {length} bytes", FOREIGN)
        return length

    def _line(self) -> str:
        end = self._data.find(b"\n", self.position, self.position + MAX_NAME + 1)
        if end < 0 and self.position + MAX_NAME >= len(self._data):
            raise EndedError("its pickle ends too early")
        if end < 0:
            raise RefusedError(f"its pickle holds a name of over {MAX_NAME} bytes", FOREIGN)
        line = self._take(end + 1 - self.position)[:-1]
        if not line.isascii():
            raise RefusedError(f"its pickle names {quoted(line)}", FOREIGN)
        return line.decode("ascii")

    def _pop(self) -> Any:
        if len(self._stack) <= (self._marks[-1] if self._marks else 0):
            raise RefusedError("its pickle takes more from the stack than was put there")
        return self._stack.pop()

    def _pop_to_mark(self) -> list[Any]:
        if not self._marks:
            raise RefusedError("its pickle ends a group that was not begun")
        mark = self._marks.pop()
        items = self._stack[mark:]
        del self._stack[mark:]
        return items

    def _push(self, value: Any) -> None:
        self._stack.append(value)

    def _mark(self) -> None:
        if len(self._marks) >= MAX_MARKS:
            raise RefusedError(f"its pickle begins {MAX_MARKS} groups within each other", FOREIGN)
        self._marks.append(len(self._stack))

    def _text(self, form: str, encoding: str = "utf-8") -> None:
        data = self._take(self._length(form))
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            raise RefusedError(f"its pickle holds text that is not {encoding.upper()}") from None
        self._budget.spend(4 * len(text))
        self._push(text)

    def _bytes(self, form: str) -> None:
        data = self._take(self._length(form))
        self._budget.spend(len(data))
        self._push(data)

    def _long(self) -> None:
        length = self._take(1)[0]
        if length > 16:
            raise RefusedError(f"its pickle holds a whole number of {length} bytes", FOREIGN)
        self._push(int.from_bytes(self._take(length), "little", signed=True))

    def _tuple(self, count: int) -> None:
        if len(self._stack) - count < (self._marks[-1] if self._marks else 0):
            raise RefusedError("its pickle takes more from the stack than was put there")
        items = self._stack[-count:]
        del self._stack[-count:]
        self._hold(tuple(items))

    def _hold(self, container: dict[Any, Any] | list[Any] | tuple[Any, ...]) -> None:
        self._budget.spend(CONTAINER_COST)
        self._push(container)

    def _put(self, index: int) -> None:
        value = self._pop()
        if index > 2 * len(self._memo) + DENSE:
            raise RefusedError(f"its pickle stores its value {index} before others", FOREIGN)
        self._memo[index] = value
        self._push(value)

    def _get(self, index: int) -> None:
        if index not in self._memo:
            raise RefusedError("its pickle recalls a value that it did not store")
        self._push(self._memo[index])

    def _append(self, items: list[Any]) -> None:
        target = self._pop()
        if type(target) is not list:
            raise RefusedError(f"its pickle appends to {quoted(target)}", FOREIGN)
        target.extend(items)
        self._push(target)

    def _set(self, items: list[Any]) -> None:
        target = self._pop()
        if not self._values.settable(target):
            raise RefusedError(f"its pickle sets an item of {quoted(target)}", FOREIGN)
        if len(items) % 2:
            raise RefusedError("its pickle sets a key without a value")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if type(key) is not str and (type(key) is not int or abs(key) >= MAX_KEY):
                raise RefusedError(f"its pickle uses {quoted(key)} as a key", FOREIGN)
            if type(key) is int and not 0 <= key <= 2 * len(target) + DENSE:
                self._scattered += 1
            if self._scattered > MAX_SCATTERED:
                raise RefusedError(f"it has over {MAX_SCATTERED} scattered numbers as keys")
            if key in target:
                raise RefusedError(f"its pickle sets the key {quoted(str(key))} twice", FOREIGN)
            target[key] = value
        self._push(target)

    def _global(self) -> None:
        module = self._line()
        self._push(self._values.find(module, self._line()))

    def _stack_global(self) -> None:
        name, module = self._pop(), self._pop()
        if type(module) is not str or type(name) is not str:
            raise RefusedError("its pickle names something by what is not text", FOREIGN)
        self._push(self._values.find(module, name))

    def _reduce(self) -> None:
        arguments, function = self._pop(), self._pop()
        self._push(self._values.call(function, arguments))

    def _make(self) -> None:
        arguments, kind = self._pop(), self._pop()
        self._push(self._values.make(kind, arguments))

    def _build(self) -> None:
        state, target = self._pop(), self._pop()
        self._values.build(target, state)
        self._push(target)

    def _frame(self) -> None:
        if self._number("<Q") > len(self._data) - self.position:
            raise EndedError("its pickle ends too early")


def _opcode(code: int) -> str:
    names = {known.code: known.name for known in pickletools.opcodes}
    return names.get(chr(code), f"{code:#04x}, which is none")


Handler = Callable[[Machine], None]

HANDLERS: dict[int, Handler] = {
    ord("("): Machine._mark,
    ord("t"): lambda m: m._hold(tuple(m._pop_to_mark())),
    0x85: lambda m: m._tuple(1),
    0x86: lambda m: m._tuple(2),
    0x87: lambda m: m._tuple(3),
    ord("}"): lambda m: m._hold({}),
    ord("]"): lambda m: m._hold([]),
    ord(")"): lambda m: m._push(()),
    ord("s"): lambda m: m._set([m._pop(), m._pop()][::-1]),
    ord("u"): lambda m: m._set(m._pop_to_mark()),
    ord("a"): lambda m: m._append([m._pop()]),
    ord("e"): lambda m: m._append(m._pop_to_mark()),
    ord("N"): lambda m: m._push(None),
    0x88: lambda m: m._push(True),
    0x89: lambda m: m._push(False),
    ord("J"): lambda m: m._push(m._number("<i")),
    ord("K"): lambda m: m._push(m._number("<B")),
    ord("M"): lambda m: m._push(m._number("<H")),
    0x8A: Machine._long,
    ord("G"): lambda m: m._push(m._number(">d")),
    ord("X"): lambda m: m._text("<I"),
    0x8C: lambda m: m._text("<B"),
    # Strings of Python 2, which holds text and bytes in them.
    ord("U"): lambda m: m._text("<B", "latin-1"),
    ord("T"): lambda m: m._text("<i", "latin-1"),
    ord("B"): lambda m: m._bytes("<I"),
    ord("C"): lambda m: m._bytes("<B"),
    ord("q"): lambda m: m._put(m._number("<B")),
    ord("r"): lambda m: m._put(m._number("<I")),
    0x94: lambda m: m._put(len(m._memo)),
    ord("h"): lambda m: m._get(m._number("<B")),
    ord("j"): lambda m: m._get(m._number("<I")),
    ord("c"): Machine._global,
    0x93: Machine._stack_global,
    ord("R"): Machine._reduce,
    0x81: Machine._make,
    ord("b"): Machine._build,
    ord("Q"): lambda m: m._push(m._values.persistent(m._pop())),
    0x95: Machine._frame,
}
"""By opcode, in the order of formats.md; what is not here is refused by its name."""
