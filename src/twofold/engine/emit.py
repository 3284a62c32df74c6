"""The vocabulary of the engine: functions over LLVM IR text, written like arithmetic.

    module = Module(machine)
    f = module.function("axpy", y="ptr", x="ptr", n="i64")
    with f.loop(f.n) as i:
        f.store(f.load("float", f.x + i * 4), f.y + i * 4)
    print(module)

A `Value` is one SSA value with its type; `+ - * // %` on integers emit instructions (signed, `//` and `%` truncate),
`pointer + bytes` an address. Sums of constants are folded here, since no pass of LLVM runs over the text: compiling a
micro-kernel without passes is twice as fast and its code as good. Loops carry values as phis:

    with f.loop(n, carry=[total]) as i:             # i.values are those of this turn
        i.next([i.values[0] + 1])                   # those of the next
    i.results                                       # those after the last
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from twofold.engine.machine import Machine

__all__ = ["BYTES", "Function", "Loop", "Module", "Value", "vector"]

BYTES = {"float": 4, "double": 8, "i64": 8, "i32": 4, "i16": 2, "half": 2, "bfloat": 2, "ptr": 8, "i8": 1}
_SHORT = ("half", "bfloat")
_SHORT_WORDS = re.compile(r"\b(half|bfloat)\b")
_CONVERTS_HALF = ("avx512", "avx2", "neon")  # F16C, FCVT
_SUFFIX = {"float": "f32", "double": "f64", "i64": "i64", "i32": "i32", "i16": "i16", "ptr": "p0"}


def vector(count: int, scalar: str) -> str:
    """Return the type of `count` lanes.

    >>> vector(16, "float")
    '<16 x float>'
    """
    return f"<{count} x {scalar}>"


class Module:
    """Functions that are compiled together."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self._functions: list[Function] = []
        self._declared: dict[str, str] = {}

    def function(self, name: str, **parameters: str) -> Function:
        """Begin a function that returns nothing; each parameter becomes an attribute of it."""
        function = Function(self, name, parameters)
        self._functions.append(function)
        return function

    def declare(self, name: str, line: str) -> None:
        """Declare an intrinsic or another function once."""
        self._declared.setdefault(name, line)

    def __str__(self) -> str:
        own = {function.name for function in self._functions}
        lines = [line for name, line in self._declared.items() if name not in own]
        return "\n".join([*lines, *(str(function) for function in self._functions)]) + "\n"


@dataclass(frozen=True, slots=True, eq=False)
class Value:
    """One value of a function: its text in IR and its type."""

    function: Function
    text: str
    type: str

    def __add__(self, other: int | Value) -> Value:
        if self.type == "ptr":
            return self.function.offset(self, other)
        return self.function.integer("add", self, other)

    def __sub__(self, other: int | Value) -> Value:
        return self.function.integer("sub", self, other)

    def __mul__(self, other: int | Value) -> Value:
        return self.function.integer("mul", self, other)

    def __floordiv__(self, other: int | Value) -> Value:
        return self.function.integer("sdiv", self, other)

    def __mod__(self, other: int | Value) -> Value:
        return self.function.integer("srem", self, other)

    __radd__ = __add__
    __rmul__ = __mul__


class Loop:
    """A loop being written: its index, the values of this turn, those of the next."""

    def __init__(self, index: Value, values: list[Value]) -> None:
        self.index, self.values = index, values
        self.results = values
        self.following: Sequence[Value] | None = None

    def next(self, values: Sequence[Value]) -> None:
        """Say what the carried values are in the next turn."""
        self.following = values


class Function:
    """A function being written, line by line."""

    def __init__(self, module: Module, name: str, parameters: dict[str, str]) -> None:
        self.module, self.name = module, name
        self._parameters = parameters
        self._lines: list[str] = []
        self._entry: list[str] = []  # stack slots, before all else
        self._count = 0
        self._block = "begin"

    def __getattr__(self, name: str) -> Value:
        parameters = self.__dict__.get("_parameters", {})
        if name not in parameters:
            raise AttributeError(f"function {self.__dict__.get('name')} has no parameter {name}")
        return Value(self, f"%{name}", parameters[name])

    def __str__(self) -> str:
        parameters = ", ".join(f"{t} noalias %{n}" if t == "ptr" else f"{t} %{n}" for n, t in self._parameters.items())
        body = "\n".join(["begin:", *self._entry, *self._lines, "  ret void", "}"])
        return f"define void @{self.name}({parameters}) nounwind {{\n{body}\n"

    # -- lines --------------------------------------------------------------------------------------------------------

    def do(self, text: str) -> None:
        """Write an instruction without a result."""
        self._lines.append(f"  {_as_integers(text)}")

    def let(self, type_: str, text: str) -> Value:
        """Write an instruction with a result; in it, half and bfloat are 16 bits, which are moved and no more."""
        return self._let(type_, _as_integers(text))

    def _let(self, type_: str, text: str) -> Value:
        self._count += 1
        name = f"%v{self._count}"
        self._lines.append(f"  {name} = {text}")
        return Value(self, name, type_)

    def constant(self, number: float, type_: str = "i64") -> Value:
        """Return a number as a value; floating numbers are written bit by bit."""
        if type_ in ("float", "double"):
            single = struct.unpack("f", struct.pack("f", number))[0] if type_ == "float" else float(number)
            return Value(self, "0x" + struct.pack(">d", single).hex().upper(), type_)
        return Value(self, str(int(number)), type_)

    def _value(self, number: int | Value, like: str = "i64") -> Value:
        return number if isinstance(number, Value) else self.constant(number, like)

    def integer(self, name: str, a: int | Value, b: int | Value) -> Value:
        """Write integer arithmetic; what is known now is computed now."""
        a, b = self._value(a), self._value(b, a.type if isinstance(a, Value) else "i64")
        x, y = (int(v.text) if v.text.lstrip("-").isdigit() else None for v in (a, b))
        if x is not None and y is not None and name in ("add", "sub", "mul"):
            return self.constant({"add": x + y, "sub": x - y, "mul": x * y}[name], a.type)
        if y == 0 and name in ("add", "sub"):
            return a
        if x == 0 and name == "add":
            return b
        if name == "mul" and 1 in (x, y):
            return b if x == 1 else a
        return self.let(a.type, f"{name} {a.type} {a.text}, {b.text}")

    def offset(self, pointer: Value, bytes_: int | Value) -> Value:
        """Return the address so many bytes further."""
        bytes_ = self._value(bytes_)
        if bytes_.text == "0":
            return pointer
        return self.let("ptr", f"getelementptr i8, ptr {pointer.text}, i64 {bytes_.text}")

    def compare(self, how: str, a: Value, b: int | Value) -> Value:
        """Compare integers: eq, ne, slt, sle, sgt, sge."""
        return self.let("i1", f"icmp {how} {a.type} {a.text}, {self._value(b, a.type).text}")

    def select(self, condition: Value, a: int | Value, b: int | Value) -> Value:
        """Return a where the condition holds, else b."""
        a = self._value(a)
        b = self._value(b, a.type)
        return self.let(a.type, f"select {condition.type} {condition.text}, {a.type} {a.text}, {b.type} {b.text}")

    def negate(self, condition: Value) -> Value:
        """Return whether the condition does not hold."""
        return self.let("i1", f"xor i1 {condition.text}, true")

    def least(self, a: Value, b: int | Value) -> Value:
        """Return the lesser integer."""
        return self.select(self.compare("slt", a, b), a, b)

    def most(self, a: Value, b: int | Value) -> Value:
        """Return the greater integer."""
        return self.select(self.compare("sgt", a, b), a, b)

    # -- memory -------------------------------------------------------------------------------------------------------

    def load(self, type_: str, pointer: Value, align: int | None = None) -> Value:
        """Load; aligned to its scalar unless told more."""
        return self.let(type_, f"load {type_}, ptr {pointer.text}, align {align or _alignment(type_)}")

    def store(self, value: Value, pointer: Value, align: int | None = None, streaming: bool = False) -> None:
        """Store; `streaming` goes past the caches and needs full alignment."""
        hint = ", !nontemporal !0" if streaming else ""
        if streaming:
            self.module.declare("!0", "!0 = !{i32 1}")
        align = align or _alignment(value.type)
        self.do(f"store {value.type} {value.text}, ptr {pointer.text}, align {align}{hint}")

    def prefetch(self, pointer: Value, locality: int = 3) -> None:
        """Ask for the cache line of an address, which need not exist: 3 for the first cache, 2 for the second."""
        self.module.declare("llvm.prefetch.p0", "declare void @llvm.prefetch.p0(ptr, i32, i32, i32)")
        self.do(f"call void @llvm.prefetch.p0(ptr {pointer.text}, i32 0, i32 {locality}, i32 1)")

    def stack(self, bytes_: int) -> Value:
        """Return memory of this function's own, 64-byte aligned."""
        self._count += 1
        name = f"%s{self._count}"
        self._entry.append(f"  {name} = alloca [{bytes_} x i8], align 64")
        return Value(self, name, "ptr")

    def load_masked(self, type_: str, pointer: Value, mask: Value) -> Value:
        """Load the lanes of the mask, zero elsewhere; nothing beyond is touched."""
        scalar = _scalar(type_)
        if scalar in _SHORT:  # as integers, for which AVX-512 has instructions
            return self._cast("bitcast", self.load_masked(vector(_lanes(type_), "i16"), pointer, mask), scalar)
        name = f"llvm.masked.load.{_suffix(type_)}.p0"
        align = _alignment(type_)
        args = [("ptr", f"align {align} {pointer.text}"), (mask.type, mask.text), (type_, "zeroinitializer")]
        return self.intrinsic(name, type_, args)

    def store_masked(self, value: Value, pointer: Value, mask: Value) -> None:
        """Store the lanes of the mask."""
        if _scalar(value.type) in _SHORT:
            value = self._cast("bitcast", value, "i16")
        name = f"llvm.masked.store.{_suffix(value.type)}.p0"
        align = _alignment(value.type)
        args = [(value.type, value.text), ("ptr", f"align {align} {pointer.text}"), (mask.type, mask.text)]
        self.intrinsic(name, "void", args)

    def gather(self, type_: str, base: Value, offsets: Value, mask: Value) -> Value:
        """Load each lane from base + its offset in bytes; zero where the mask is not set.

        AVX-512 gathers no 16-bit numbers: the aligned 4 bytes that hold one are on its page, and are loaded instead.
        """
        lanes, scalar = _lanes(type_), _scalar(type_)
        pointers = self.let(f"<{lanes} x ptr>", f"getelementptr i8, ptr {base.text}, {offsets.type} {offsets.text}")
        if scalar in _SHORT and self.module.machine.isa == "avx512":
            address = self._cast("ptrtoint", pointers, "i64")
            pointers = self._cast("inttoptr", self._bits("and", address, -4), "ptr")
            both = self._gather(vector(lanes, "i32"), pointers, mask)
            shift = self._cast("trunc", self._bits("shl", self._bits("and", address, 2), 3), "i32")
            one = self._cast("trunc", self.binary("lshr", both, shift), "i16")
            return self._cast("bitcast", one, scalar)
        if scalar in _SHORT:
            return self._cast("bitcast", self._gather(vector(lanes, "i16"), pointers, mask), scalar)
        return self._gather(type_, pointers, mask)

    def _gather(self, type_: str, pointers: Value, mask: Value) -> Value:
        name = f"llvm.masked.gather.{_suffix(type_)}.v{_lanes(type_)}p0"
        align = _alignment(type_)
        args = [(pointers.type, f"align {align} {pointers.text}"), (mask.type, mask.text), (type_, "zeroinitializer")]
        return self.intrinsic(name, type_, args)

    def hide(self, value: Value) -> Value:
        """Return the same address or integer, unknown to the optimiser: it does not merge loads of neighbouring taps.

        Merged, they would outlive their turn and be spilled (115 against 62-82 GFLOP/s).
        """
        return self.let(value.type, f'call {value.type} asm sideeffect "", "=r,0"({value.type} {value.text})')

    # -- vectors ------------------------------------------------------------------------------------------------------

    def zero(self, type_: str) -> Value:
        """Return all lanes zero."""
        return Value(self, "zeroinitializer", type_)

    def splat(self, scalar: Value, lanes: int) -> Value:
        """Return the scalar in every lane."""
        type_ = vector(lanes, scalar.type)
        one = self.let(type_, f"insertelement {type_} poison, {scalar.type} {scalar.text}, i64 0")
        return self.shuffle(one, one, [0] * lanes)

    def shuffle(self, a: Value, b: Value, lanes: Sequence[int]) -> Value:
        """Pick lanes out of two vectors."""
        picks = ", ".join(f"i32 {lane}" for lane in lanes)
        mask = "zeroinitializer" if not any(lanes) else f"<{picks}>"
        type_ = vector(len(lanes), _scalar(a.type))
        return self.let(type_, f"shufflevector {a.type} {a.text}, {b.type} {b.text}, <{len(lanes)} x i32> {mask}")

    def lanes(self, count: int) -> Value:
        """Return 0, 1, 2, … as i64."""
        numbers = ", ".join(f"i64 {n}" for n in range(count))
        return Value(self, f"<{numbers}>", vector(count, "i64"))

    def mask(self, count: Value, lanes: int) -> Value:
        """Return the mask of the first `count` lanes."""
        numbers = ", ".join(f"i32 {n}" for n in range(lanes))
        short = self.let("i32", f"trunc i64 {count.text} to i32")
        bound = self.splat(short, lanes)
        return self.let(vector(lanes, "i1"), f"icmp slt <{lanes} x i32> <{numbers}>, {bound.text}")

    def binary(self, name: str, a: Value, b: Value) -> Value:
        """Write lane-wise arithmetic: fadd, fsub, fmul, fdiv, and, add, mul …"""
        return self.let(a.type, f"{name} {a.type} {a.text}, {b.text}")

    def fma(self, a: Value, b: Value, c: Value) -> Value:
        """Return a * b + c, rounded once where the machine has it."""
        if not self.module.machine.has_fma:
            return self.binary("fadd", self.binary("fmul", a, b), c)
        return self.intrinsic(f"llvm.fma.{_suffix(a.type)}", a.type, [(v.type, v.text) for v in (a, b, c)])

    def is_any_nan(self, x: Value) -> Value:
        """Return whether a lane of x is no number."""
        lanes = self._let(_of(x, "i1"), f"fcmp uno {x.type} {x.text}, {x.text}")
        bits = self._let(f"i{_lanes(x.type)}", f"bitcast {lanes.type} {lanes.text} to i{_lanes(x.type)}")
        return self.compare("ne", bits, 0)

    def convert(self, x: Value, scalar: str) -> Value:
        """Return x with its lanes widened, or rounded once, to nearest even, to this scalar type.

        What an instruction set cannot convert, LLVM would do by calling functions that nothing here provides: that is
        written out in integers.
        """
        have = _scalar(x.type)
        if have == scalar:
            return x
        if have in _SHORT and scalar != "float":
            return self.convert(self.convert(x, "float"), scalar)
        if scalar in _SHORT and have == "double":
            return self.convert(self._rounded_to_odd(x), scalar)
        if "bfloat" in (have, scalar):
            return self._from_bfloat(x) if have == "bfloat" else self._to_bfloat(x)
        if "half" in (have, scalar) and self.module.machine.isa not in _CONVERTS_HALF:
            return self._from_half(x) if have == "half" else self._to_half(x)
        if have == "half":
            held = self._let(x.type, f"bitcast {_as_integers(x.type)} {x.text} to {x.type}")
            return self._let(_of(x, scalar), f"fpext {x.type} {held.text} to {_of(x, scalar)}")
        if scalar == "half":
            held = self._let(_of(x, scalar), f"fptrunc {x.type} {x.text} to {_of(x, scalar)}")
            return self._let(held.type, f"bitcast {held.type} {held.text} to {_as_integers(held.type)}")
        return self._cast("fpext" if scalar == "double" else "fptrunc", x, scalar)

    def transpose(self, rows: Sequence[Value]) -> list[Value]:
        """Transpose n vectors of n lanes, n a power of two, by log2(n) rounds of interleaving."""
        rows, n = list(rows), len(rows)
        half = n // 2
        for _ in range(n.bit_length() - 1):
            low = [lane for i in range(half) for lane in (i, n + i)]
            high = [lane + half for lane in low]
            rows = [self.shuffle(rows[i], rows[i + half], lanes) for i in range(half) for lanes in (low, high)]
        return rows

    # -- flow ---------------------------------------------------------------------------------------------------------

    @contextmanager
    def loop(
        self, stop: int | Value, start: int | Value = 0, step: int = 1, carry: Sequence[Value] = (), some: bool = False
    ) -> Iterator[Loop]:
        """Repeat for start, start + step, … below stop; `some` promises that there is at least one turn."""
        stop, start = self._value(stop), self._value(start)
        name, before = self._label(), self._block
        self.do(f"br label %{name}")
        self._open(name)
        index = Value(self, f"%{name}.i", "i64")
        values = [Value(self, f"%{name}.c{i}", value.type) for i, value in enumerate(carry)]
        place = len(self._lines)
        if not some:
            self.do(f"%{name}.more = icmp slt i64 {index.text}, {stop.text}")
            self.do(f"br i1 %{name}.more, label %{name}.body, label %{name}.end")
            self._open(f"{name}.body")
        loop = Loop(index, values)
        yield loop
        following = list(loop.following if loop.following is not None else values)
        self.do(f"%{name}.n = add i64 {index.text}, {step}")
        last = self._block
        if some:
            self.do(f"%{name}.more = icmp slt i64 %{name}.n, {stop.text}")
            self.do(f"br i1 %{name}.more, label %{name}, label %{name}.end")
            loop.results = following
        else:
            self.do(f"br label %{name}")
        phis = [f"  {index.text} = phi i64 [{start.text}, %{before}], [%{name}.n, %{last}]"]
        for value, first, again in zip(values, carry, following, strict=True):
            phis.append(f"  {value.text} = phi {value.type} [{first.text}, %{before}], [{again.text}, %{last}]")
        self._lines[place:place] = phis
        self._open(f"{name}.end")

    @contextmanager
    def when(self, condition: Value) -> Iterator[None]:
        """Do this where the condition holds."""
        name = self._label()
        self.do(f"br i1 {condition.text}, label %{name}, label %{name}.end")
        self._open(name)
        yield
        self.do(f"br label %{name}.end")
        self._open(f"{name}.end")

    def choose(self, which: Value, bodies: Sequence[Callable[[], Sequence[Value]]]) -> list[Value]:
        """Do the body of this number, and return the values that it returns; each body returns as many."""
        name = self._label()
        cases = " ".join(f"i64 {i}, label %{name}.{i}" for i in range(1, len(bodies)))
        self.do(f"switch i64 {which.text}, label %{name}.0 [{cases}]")
        ends: list[tuple[str, Sequence[Value]]] = []
        for i, body in enumerate(bodies):
            self._open(f"{name}.{i}")
            values = body()
            ends.append((self._block, values))
            self.do(f"br label %{name}.end")
        self._open(f"{name}.end")
        results = []
        for values in zip(*(values for _, values in ends), strict=True):
            pairs = ", ".join(f"[{v.text}, %{block}]" for v, (block, _) in zip(values, ends, strict=True))
            results.append(self.let(values[0].type, f"phi {values[0].type} {pairs}"))
        return results

    @contextmanager
    def forever(self, first: Value) -> Iterator[tuple[Value, Callable[[Value], None]]]:
        """Repeat until `stop_unless` stops; the value is `first`, then what `again` was told."""
        name, before = self._label(), self._block
        self.do(f"br label %{name}")
        self._open(name)
        value = Value(self, f"%{name}.c", first.type)
        place = len(self._lines)
        told: list[Value] = []
        yield value, told.append
        self.do(f"br label %{name}")
        again = f"[{told[0].text}, %{self._block}]"
        self._lines.insert(place, f"  {value.text} = phi {value.type} [{first.text}, %{before}], {again}")
        self._open(f"{name}.end")

    def return_unless(self, condition: Value) -> None:
        """Return from the function where the condition does not hold."""
        name = self._label()
        self.do(f"br i1 {condition.text}, label %{name}, label %{name}.leave")
        self._open(f"{name}.leave")
        self.do("ret void")
        self._open(name)

    def intrinsic(self, name: str, type_: str, args: Sequence[tuple[str, str]]) -> Value:
        """Call a function of LLVM's by name."""
        kinds = ", ".join(kind for kind, _ in args)
        self.module.declare(name, f"declare {type_} @{name}({kinds})")
        call = f"call {type_} @{name}({', '.join(f'{kind} {text}' for kind, text in args)})"
        if type_ == "void":
            self.do(call)
            return Value(self, "", "void")
        return self.let(type_, call)

    def call(self, target: Value | str, *args: Value) -> None:
        """Call a function of ours, by name or by address, that returns nothing."""
        listed = ", ".join(f"{a.type} {a.text}" for a in args)
        if isinstance(target, str):
            self.module.declare(target, f"declare void @{target}({', '.join(a.type for a in args)})")
            self.do(f"call void @{target}({listed})")
        else:
            self.do(f"call void {target.text}({listed})")

    # -- numbers of 16 bits -------------------------------------------------------------------------------------------

    def _from_bfloat(self, x: Value) -> Value:
        wide = self._cast("zext", self._cast("bitcast", x, "i16"), "i32")
        return self._cast("bitcast", self._bits("shl", wide, 16), "float")

    def _to_bfloat(self, x: Value) -> Value:
        # Not by vcvtneps2bf16, which takes subnormal numbers for zero.
        bits = self._cast("bitcast", x, "i32")
        high = self._bits("lshr", bits, 16)
        even = self.binary("add", self._bits("add", bits, 0x7FFF), self._bits("and", high, 1))
        number = self.select(self._ordered("uno", x, x), self._bits("or", high, 0x40), self._bits("lshr", even, 16))
        return self._cast("bitcast", self._cast("trunc", number, "i16"), "bfloat")

    def _from_half(self, x: Value) -> Value:
        # Shifted to where float32 has them, exponents are too small by 112. A product puts that right, of subnormal
        # numbers too.
        bits = self._cast("zext", self._cast("bitcast", x, "i16"), "i32")
        size = self._bits("and", bits, 0x7FFF)
        small = self._cast("bitcast", self._bits("shl", size, 13), "float")
        scaled = self.binary("fmul", small, self._all(self.constant(2.0**112, "float"), small))
        number = self._cast("bitcast", scaled, "i32")
        number = self.select(self._above(size, 0x7BFF), self._bits("or", number, 0x7F800000), number)  # Inf and NaN
        sign = self._bits("shl", self._bits("and", bits, 0x8000), 16)
        return self._cast("bitcast", self.binary("or", number, sign), "float")

    def _to_half(self, x: Value) -> Value:
        # What is subnormal as half: a sum with 0.5, whose last bit is worth 2^-24 as theirs is, rounds it and shows its
        # bits. Other numbers: a carry rounds them, may go into the exponent and reach infinity. Too large, or NaN.
        bits = self._cast("bitcast", x, "i32")
        size = self._bits("and", bits, 0x7FFFFFFF)
        absolute = self._cast("bitcast", size, "float")
        small = self.binary("fadd", absolute, self._all(self.constant(0.5, "float"), absolute))
        tiny = self._bits("sub", self._cast("bitcast", small, "i32"), 0x3F000000)
        odd = self._bits("and", self._bits("lshr", size, 13), 1)
        usual = self._bits("lshr", self.binary("add", self._bits("add", size, 0xFFF - (112 << 23)), odd), 13)
        number = self.select(self._above(size, (113 << 23) - 1), usual, tiny)
        number = self.select(self._above(size, 0x477FFFFF), self._all(self.constant(0x7C00, "i32"), size), number)
        number = self.select(self._above(size, 0x7F800000), self._all(self.constant(0x7E00, "i32"), size), number)
        sign = self._bits("and", self._bits("lshr", bits, 16), 0x8000)
        return self._cast("bitcast", self._cast("trunc", self.binary("or", number, sign), "i16"), "half")

    def interleave_bits(self, low: Value, high: Value) -> Value:
        """Return, for each lane, 32 bits: those of two numbers of 16."""
        a, b = (self._cast("zext", self._cast("bitcast", x, "i16"), "i32") for x in (low, high))
        return self.binary("or", a, self._bits("shl", b, 16))

    def dot_bfloat(self, a: Value, b: Value, c: Value) -> Value:
        """Return c + both products of the pairs of bfloat in the lanes of a and b: for machines with `has_bf16`."""
        type_ = vector(2 * _lanes(a.type), "bfloat")
        a, b = (self._let(type_, f"bitcast {v.type} {v.text} to {type_}") for v in (a, b))
        name = f"llvm.x86.avx512bf16.dpbf16ps.{16 * _lanes(type_)}"
        self.module.declare(name, f"declare {c.type} @{name}({c.type}, {type_}, {type_})")
        return self._let(c.type, f"call {c.type} @{name}({c.type} {c.text}, {type_} {a.text}, {type_} {b.text})")

    def _rounded_to_odd(self, x: Value) -> Value:
        # From double to float, such that a second rounding gives what one would: the nearest float towards zero, its
        # last bit set where anything was lost (Boldo and Melquiond 2008).
        near = self._cast("fptrunc", x, "float")
        back = self._cast("fpext", near, "double")
        name = f"llvm.fabs.{_suffix(x.type)}"
        more = self._ordered("ogt", *(self.intrinsic(name, v.type, [(v.type, v.text)]) for v in (back, x)))
        bits = self._cast("bitcast", near, "i32")
        bits = self.binary("sub", bits, self._cast("zext", more, "i32"))
        bits = self.binary("or", bits, self._cast("zext", self._ordered("one", back, x), "i32"))
        return self._cast("bitcast", bits, "float")

    def _cast(self, how: str, x: Value, scalar: str) -> Value:
        type_ = _of(x, scalar)
        return self.let(type_, f"{how} {x.type} {x.text} to {type_}")

    def _bits(self, name: str, x: Value, number: int) -> Value:
        return self.binary(name, x, self._all(self.constant(number, _scalar(x.type)), x))

    def _above(self, x: Value, number: int) -> Value:
        bound = self._all(self.constant(number, _scalar(x.type)), x)
        return self.let(_of(x, "i1"), f"icmp ugt {x.type} {x.text}, {bound.text}")

    def _ordered(self, how: str, a: Value, b: Value) -> Value:
        return self.let(_of(a, "i1"), f"fcmp {how} {a.type} {a.text}, {b.text}")

    def _all(self, number: Value, like: Value) -> Value:
        # A number, written down, in every lane.
        if not like.type.startswith("<"):
            return number
        listed = ", ".join([f"{number.type} {number.text}"] * _lanes(like.type))
        return Value(self, f"<{listed}>", _of(like, number.type))

    def _label(self) -> str:
        self._count += 1
        return f"b{self._count}"

    def _open(self, name: str) -> None:
        self._lines.append(f"{name}:")
        self._block = name


def _scalar(type_: str) -> str:
    return type_.rpartition(" x ")[2].rstrip(">") if type_.startswith("<") else type_


def _of(x: Value, scalar: str) -> str:
    return vector(_lanes(x.type), scalar) if x.type.startswith("<") else scalar


def _as_integers(text: str) -> str:
    # Values of these types that live from block to block LLVM may widen and round again, by functions that nothing here
    # provides.
    return _SHORT_WORDS.sub("i16", text) if "half" in text or "bfloat" in text else text


def _lanes(type_: str) -> int:
    return int(type_[1:].partition(" ")[0]) if type_.startswith("<") else 1


def _suffix(type_: str) -> str:
    lanes = f"v{_lanes(type_)}" if type_.startswith("<") else ""
    return lanes + _SUFFIX[_scalar(type_)]


def _alignment(type_: str) -> int:
    return BYTES[_scalar(type_)]
