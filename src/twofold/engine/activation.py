"""Activations on vectors of sums, as they are stored: none, relu, leaky_relu, silu, gelu (tanh), sigmoid, tanh.

The last four are one exponential of a number y <= 0, so that nothing overflows:

    sigmoid(x) = (1 or e^y) / (1 + e^y)     y = -|x|; e^y where x < 0
    silu(x)    = x * sigmoid(x)
    gelu(x)    = x * sigmoid(2 u)           u = sqrt(2/pi) (x + 0.044715 x^3); y = -|2 u| is kept in two parts
    tanh(x)    = -q / (2 + q)               q = e^y - 1, y = -2 |x|, with x's sign; no cancellation near zero

    e^y = 2^n (1 + p(r))     n = round(y / ln 2),  r = y - n ln 2 in [-0.35, 0.35],  p(r) = e^r - 1

No branches and no functions of a library. NaN stays NaN, and infinities give what torch gives: silu and gelu of -inf
are NaN there, as the product of -inf and 0. Within 4 units in the last place of the true function (tests/engine).
"""

from __future__ import annotations

import math

from twofold.engine.emit import Function, Value, vector

__all__ = ["ACTIVATIONS", "apply"]

ACTIVATIONS = ("none", "relu", "leaky_relu", "silu", "gelu", "sigmoid", "tanh")


class _Kind:
    """What is known of float or double: its bits, and numbers that depend on them."""

    def __init__(self, bits: int, mantissa: int, tiny: float, narrow: float, hi: float, lo: float) -> None:
        self.integer = f"i{bits}"
        self.mantissa = mantissa
        self.bias = (1 << (bits - mantissa - 2)) - 1
        self.magic = 1.5 * 2.0**mantissa  # added to a number, it rounds it to an integer, found in its last bits
        self.sign = 1 << (bits - 1)
        self.half = (1 << bits) - (1 << (mantissa // 2 + 1))  # mask of what products of two are exact of
        self.tiny, self.narrow = tiny, narrow  # e^tiny is 0, and so is what gelu is at `narrow`
        self.hi, self.lo = hi, lo  # ln 2; products of hi with integers n are exact


# The coefficients c of p(r) = r + r^2 (c0 + c1 r + …): (e^r - 1 - r) / r^2 interpolated at the Chebyshev nodes of
# [-ln 2 / 2, ln 2 / 2]. The error of p is 0.01 and 0.005 of a unit in the last place of 1.
_KINDS = {
    "float": _Kind(32, 23, -150.0, -12.0, 0.693359375, -2.1219444005469058277e-4),
    "double": _Kind(64, 52, -800.0, -22.0, 6.93147180369123816490e-01, 1.9082149292723212146e-10),
}
_POLYNOMIAL = {
    "float": (
        0.5000000013538729887, 0.1666666668170421504, 0.04166646419740569232, 0.008333310844647862564,
        0.00139337307157920825, 0.0001989108046399884204,
    ),
    "double": (
        0.5, 0.1666666666666667103, 0.04166666666666666978, 0.00833333333332608312, 0.001388888888888371117,
        0.0001984126987500227879, 0.0000248015873256774619, 2.755725517000088744e-6, 2.755727347871858047e-7,
        2.510531272962210179e-8, 2.09147553258932022e-9,
    ),
}  # fmt: skip
# 2 sqrt(2/pi) and 0.044715 of it, and what their roundings leave.
_GELU = {
    "float": (1.5957691669464111328, -4.534068042105271576e-8, 0.071354813873767852783, 2.3988323959931356273e-9),
    "double": (1.5957691216057308115, -9.9693088091109203146e-17, 0.071354816272600249394, -6.1751499181553154534e-19),
}


def apply(f: Function, name: str, x: Value, slope: Value) -> Value:
    """Write the activation of x, a vector of float or double; `slope` is LeakyReLU's, a double. NaN stays NaN."""
    if name == "none":
        return x
    lanes = _Lanes(f, x)
    if name == "relu":
        return lanes.choose(lanes.compare("olt", x, 0.0), lanes.number(0.0), x)  # relu(-0.0) is -0.0, as torch's
    if name == "leaky_relu":
        steep = lanes.mul(x, f.splat(f.convert(slope, lanes.scalar), lanes.count))
        return lanes.choose(lanes.compare("ogt", x, 0.0), x, steep)
    return {"silu": _silu, "gelu": _gelu, "sigmoid": _sigmoid, "tanh": _tanh}[name](lanes, x)


class _Lanes:
    """Arithmetic on vectors of one type, with numbers."""

    def __init__(self, f: Function, x: Value) -> None:
        count, _, self.scalar = x.type[1:-1].partition(" x ")
        self.f, self.type, self.count = f, x.type, int(count)
        self.kind = _KINDS[self.scalar]
        self.integers = vector(self.count, self.kind.integer)

    def number(self, value: float) -> Value:
        return self._all(self.type, f"{self.scalar} {self.f.constant(value, self.scalar).text}")

    def _all(self, type_: str, text: str) -> Value:
        return Value(self.f, f"<{', '.join([text] * self.count)}>", type_)

    def _two(self, name: str, a: Value, b: Value | float) -> Value:
        return self.f.binary(name, a, b if isinstance(b, Value) else self.number(b))

    def add(self, a: Value, b: Value | float) -> Value:
        return self._two("fadd", a, b)

    def sub(self, a: Value, b: Value | float) -> Value:
        return self._two("fsub", a, b)

    def mul(self, a: Value, b: Value | float) -> Value:
        return self._two("fmul", a, b)

    def fma(self, a: Value, b: Value | float, c: Value | float) -> Value:
        b, c = (v if isinstance(v, Value) else self.number(v) for v in (b, c))
        return self.f.fma(a, b, c)

    def compare(self, how: str, a: Value, b: float) -> Value:
        return self.f.let(vector(self.count, "i1"), f"fcmp {how} {self.type} {a.text}, {self.number(b).text}")

    def choose(self, condition: Value, a: Value, b: Value) -> Value:
        return self.f.select(condition, a, b)

    def least(self, a: Value, bound: float) -> Value:
        """Return a, or the bound where a is below it; NaN stays."""
        return self.choose(self.compare("olt", a, bound), self.number(bound), a)

    def bits(self, name: str, a: Value, number: int) -> Value:
        """Write integer arithmetic on the bits of a."""
        if a.type == self.type:
            a = self.f.let(self.integers, f"bitcast {a.type} {a.text} to {self.integers}")
        return self.f.binary(name, a, self._all(self.integers, f"{self.kind.integer} {number}"))

    def back(self, bits: Value) -> Value:
        return self.f.let(self.type, f"bitcast {bits.type} {bits.text} to {self.type}")

    def below(self, x: Value) -> Value:
        """Return -|x|."""
        return self.back(self.bits("or", x, self.kind.sign))

    def residue(self, a: Value, b: Value | float, product: Value) -> Value:
        """Return a * b - product, where product is a * b rounded: exactly, or nearly where there is no FMA."""
        b = b if isinstance(b, Value) else self.number(b)
        if self.f.module.machine.has_fma:
            return self.f.fma(a, b, self.f.let(self.type, f"fneg {self.type} {product.text}"))
        (a1, a2), (b1, b2) = self._halves(a), self._halves(b)  # Dekker 1971
        rest = self.sub(self.mul(a1, b1), product)
        rest = self.add(self.add(rest, self.mul(a1, b2)), self.mul(a2, b1))
        return self.add(rest, self.mul(a2, b2))

    def _halves(self, a: Value) -> tuple[Value, Value]:
        high = self.back(self.bits("and", a, self.kind.half))
        return high, self.sub(a, high)


def _sigmoid(lanes: _Lanes, x: Value) -> Value:
    return _gate(lanes, x, lanes.least(lanes.below(x), lanes.kind.tiny), None, None)


def _silu(lanes: _Lanes, x: Value) -> Value:
    y = lanes.least(lanes.below(x), lanes.kind.tiny)
    return _gate(lanes, x, y, None, y)


def _gelu(lanes: _Lanes, x: Value) -> Value:
    # e^y is as wrong, relatively, as y is absolutely: up to 100 (float) or 745, where y as a whole is rounded.
    one, one_rest, three, three_rest = _GELU[lanes.scalar]
    add, mul, sub = lanes.add, lanes.mul, lanes.sub
    w = lanes.least(lanes.below(x), lanes.kind.narrow)
    square = mul(w, w)
    cubic = mul(square, three)
    rest = add(lanes.residue(square, three, cubic), mul(lanes.residue(w, w, square), three))
    rest = add(rest, mul(square, three_rest))
    total = add(cubic, one)
    taken = sub(total, cubic)
    rest = add(rest, add(sub(cubic, sub(total, taken)), sub(lanes.number(one), taken)))  # Knuth's two-sum
    rest = add(rest, one_rest)
    y = mul(w, total)
    return _gate(lanes, x, y, add(lanes.residue(w, total, y), mul(w, rest)), w)


def _gate(lanes: _Lanes, x: Value, y: Value, rest: Value | None, w: Value | None) -> Value:
    """Write sigmoid or, where w is given, x times it; w is x where x < 0, bounded."""
    p, shifted = _exp(lanes, y, rest)
    power = lanes.add(p, 1.0)
    # 2^n in two factors, for n may go below the least exponent: half of n, then the rest of it. The product with w
    # comes first, so that results that are subnormal are rounded once.
    kind = lanes.kind
    twice = lanes.bits("add", shifted, 2 * kind.bias - _bits_of(kind))
    one = lanes.bits("lshr", twice, 1)
    factors = [lanes.back(lanes.bits("shl", n, kind.mantissa)) for n in (one, lanes.f.binary("sub", twice, one))]
    under, top = power, power if w is None else lanes.mul(power, w)
    for factor in factors:
        under, top = lanes.mul(under, factor), lanes.mul(top, factor)
    positive = lanes.number(1.0) if w is None else x
    if w is not None:
        top = lanes.choose(lanes.compare("oeq", x, -math.inf), lanes.number(math.nan), top)
    top = lanes.choose(lanes.compare("olt", x, 0.0), top, positive)
    return lanes.f.binary("fdiv", top, lanes.add(under, 1.0))


def _tanh(lanes: _Lanes, x: Value) -> Value:
    kind = lanes.kind
    low = lanes.below(x)
    y = lanes.least(lanes.add(low, low), -2.0 * kind.mantissa)
    p, shifted = _exp(lanes, y, None)
    scale = lanes.back(lanes.bits("add", lanes.bits("shl", shifted, kind.mantissa), kind.bias << kind.mantissa))
    q = lanes.fma(scale, p, lanes.sub(scale, 1.0))
    size = lanes.f.binary("fdiv", q, lanes.add(q, 2.0))  # and its sign is no matter
    sign = lanes.bits("and", x, kind.sign)
    bits = lanes.bits("and", size, kind.sign - 1)
    return lanes.back(lanes.f.binary("or", bits, sign))


def _exp(lanes: _Lanes, y: Value, rest: Value | None) -> tuple[Value, Value]:
    """Return p and n, of e^(y + rest) = 2^n (1 + p); n stands in the last bits of a float."""
    kind = lanes.kind
    shifted = lanes.fma(y, 1 / math.log(2), kind.magic)
    n = lanes.sub(shifted, kind.magic)
    r = lanes.fma(n, -kind.lo, lanes.fma(n, -kind.hi, y))
    r = r if rest is None else lanes.add(r, rest)
    *lower, last = _POLYNOMIAL[lanes.scalar]
    sum_ = lanes.number(last)
    for c in reversed(lower):
        sum_ = lanes.fma(sum_, r, c)
    return lanes.fma(lanes.mul(r, r), sum_, r), shifted


def _bits_of(kind: _Kind) -> int:
    # Of the magic number, as an integer: exponent `mantissa`, one half in the mantissa.
    return ((kind.bias + kind.mantissa) << kind.mantissa) + (1 << (kind.mantissa - 1))
