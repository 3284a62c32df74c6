r"""The letters of our pictures: a monospaced stroke font of our own, so that no picture depends on an installed font.

A glyph is one string in a small path language. A stroke is a row of points `x,y`; ` ; ` lifts the pen. On the design
grid the body is 6 wide, y grows downwards, capitals stand from 0 to 10 and small letters from 3 to 10. The sign in
front of a point says how the pen gets there from the point before:

    x,y      in a straight line                       ~x,y     starts level, arrives upright
    |x,y     starts upright, arrives level            !x,y     upright at both ends, an S
    a,b>x,y  bends towards the corner a,b             =x,y     level at both ends, an S
    ox,y     (as a stroke of its own) a round dot

`|` and `~` are quarters of an ellipse: `0,5 |3,0 ~6,5 |3,10 ~0,5` is an oval. Everything is flattened to polylines
here; whoever draws them gives the pen its width (`pen`) and round ends.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

__all__ = ["ADVANCE", "ASCENT", "CAP_HEIGHT", "DESCENT", "Stroke", "Weight", "pen", "strokes", "text_width"]

Stroke = tuple[tuple[float, float], ...]
Weight = Literal["regular", "bold"]

# All in parts of the text size: a text of size 14 has capitals 10 high, and a character every 8.4.
ADVANCE = 0.6
CAP_HEIGHT = 10 / 14
ASCENT = 12 / 14  # no ink further above the baseline, pen included
DESCENT = 4 / 14  # nor further below it

_UNIT = 1 / 14  # one step of the design grid
_BEARING = 1.2  # grid steps left free on either side of the body
_BASELINE = 10.0
_QUARTER = 6  # segments of a quarter turn: off the true curve by less than 0.1 px up to size 100
_HANDLE = 0.58  # 0.552 draws a true ellipse; a little more is squarer and leaves the counters open when small
_DOT = 0.28  # radius that a dot has before the pen thickens it, so that a full stop weighs more than a hairline

_LINES = r"""
0 0.3,3.6 |3,0 ~5.7,3.6 5.7,6.4 |3,10 ~0.3,6.4 0.3,3.6 ; 3,4.8 3,5.2
1 0.6,2.4 3.2,0 3.2,10 ; 0.7,10 5.7,10
2 0.3,2.5 |3,0 ~5.7,2.8 5.7,4.5>4,6.3 0.3,10 5.9,10
3 0.3,2.1 |2.9,0 ~5.5,2.4 |2.9,4.7 2,4.7 ; 2.9,4.7 ~5.9,7.3 |2.9,10 ~0.1,7.8
4 4.4,10 4.4,0 0,7.2 6,7.2
5 5.3,0 1,0 0.6,4.9 1.5,3.8>3,3.8 ~5.8,6.9 |2.9,10 ~0.1,8
6 5.3,1.6 |3.2,0 ~0.2,4.4 0.2,6.8 |3.05,10 ~5.9,6.8 |3.05,3.7 ~0.2,6.8
7 0.3,0 5.8,0 2,10
8 3,4.7 ~0.65,2.35 |3,0 ~5.35,2.35 |3,4.7 ~5.9,7.35 |3,10 ~0.1,7.35 |3,4.7
9 0.7,8.4 |2.8,10 ~5.8,5.6 5.8,3.2 |2.95,0 ~0.1,3.2 |2.95,6.3 ~5.8,3.2
A 0,10 3,0 6,10 ; 1,6.7 5,6.7
B 0.4,4.9 3.3,4.9 ~5.9,7.4 |3.4,10 0.4,10 0.4,0 3.1,0 ~5.5,2.45 |3.1,4.9
C 5.8,2.6 |3.2,0 ~0.1,3.6 0.1,6.4 |3.2,10 ~5.8,7.4
D 0.5,0 0.5,10 2.4,10 ~5.9,6.4 5.9,3.6 |2.4,0 0.5,0
E 5.6,0 0.6,0 0.6,10 5.7,10 ; 0.6,4.8 5,4.8
F 5.7,0 0.7,0 0.7,10 ; 0.7,4.9 5,4.9
G 5.7,2.6 |3.2,0 ~0.1,3.6 0.1,6.4 |3.1,10 ~5.9,7 5.9,5.3 3.4,5.3
H 0.3,0 0.3,10 ; 5.7,0 5.7,10 ; 0.3,4.9 5.7,4.9
I 0.8,0 5.2,0 ; 3,0 3,10 ; 0.8,10 5.2,10
J 2.2,0 5.3,0 5.3,7.1 |2.7,10 ~0.2,7.6
K 0.5,0 0.5,10 ; 5.8,0 0.5,6.1 ; 2.3,4 6,10
L 0.9,0 0.9,10 5.8,10
M 0,10 0,0 3,5.2 6,0 6,10
N 0.3,10 0.3,0 5.7,10 5.7,0
O 0,3 |3,0 ~6,3 6,7 |3,10 ~0,7 0,3
P 0.6,10 0.6,0 3.1,0 ~5.9,2.85 |3.1,5.7 0.6,5.7
Q 0,3 |3,0 ~6,3 6,7 |3,10 ~0,7 0,3 ; 3.5,7.6 6,11
R 0.6,10 0.6,0 3,0 ~5.7,2.75 |3,5.5 0.6,5.5 ; 3,5.5 5.9,10
S 5.6,2.3 |3,0 ~0.4,2.5 !5.8,7.4 |3,10 ~0.1,7.7
T 0,0 6,0 ; 3,0 3,10
U 0.3,0 0.3,6.8 |3,10 ~5.7,6.8 5.7,0
V 0,0 3,10 6,0
W -0.2,0 1.3,10 3,3.2 4.7,10 6.2,0
X 0.2,0 5.8,10 ; 5.8,0 0.2,10
Y 0,0 3,5.1 6,0 ; 3,5.1 3,10
Z 0.3,0 5.7,0 0.2,10 5.9,10
a 0.7,4.5 |3,3 ~5.4,5.4 5.4,10 ; 5.4,6.2 2.7,6.2 ~0.3,8.1 |2.5,10 ~5.4,7.7
b 0.5,0 0.5,10 ; 0.5,6.5 |3.1,3 ~5.8,6.5 |3.1,10 ~0.5,6.5
c 5.5,5 |3.1,3 ~0.3,6.5 |3.1,10 ~5.5,8
d 5.5,0 5.5,10 ; 5.5,6.5 |2.9,3 ~0.2,6.5 |2.9,10 ~5.5,6.5
e 0.3,6.5 5.8,6.5 |3.05,3 ~0.3,6.5 |3.2,10 ~5.5,8.4
f 5.7,0 4.8,0 ~2.6,2.2 2.6,10 ; 0.5,3.4 5.5,3.4
g 5.5,6.4 |2.9,3 ~0.2,6.4 |2.9,9.8 ~5.5,6.4 ; 5.5,3 5.5,10.4 |3,12.9 ~0.7,11.5
h 0.5,0 0.5,10 ; 0.5,6 |3.1,3 ~5.6,5.9 5.6,10
i 1.1,3 3.2,3 3.2,10 ; 0.8,10 5.6,10 ; o3.2,0.3
j 1.6,3 4.2,3 4.2,10.4 |1.7,12.9 0.6,12.9 ; o4.2,0.3
k 0.7,0 0.7,10 ; 5.4,3 0.7,7.4 ; 2.6,5.6 5.7,10
l 0.8,0 2.8,0 2.8,7.8 |5,10 5.7,10
m 0,3 0,10 ; 0,5 |1.6,3 ~3,5 3,10 ; 3,5 |4.6,3 ~6,5 6,10
n 0.5,3 0.5,10 ; 0.5,6 |3.1,3 ~5.6,5.9 5.6,10
o 0.2,6.5 |3,3 ~5.8,6.5 |3,10 ~0.2,6.5
p 0.5,3 0.5,13 ; 0.5,6.5 |3.1,3 ~5.8,6.5 |3.1,10 ~0.5,6.5
q 5.5,3 5.5,13 ; 5.5,6.5 |2.9,3 ~0.2,6.5 |2.9,10 ~5.5,6.5
r 1.2,3 1.2,10 ; 1.2,6.3 |3.9,3 ~5.7,4.7
s 5.3,4.7 |3,3 ~0.7,4.8 !5.5,8.2 |2.9,10 ~0.4,8.3
t 2.4,0.7 2.4,7.8 |4.5,10 5.6,10 ; 0.4,3.2 5.5,3.2
u 0.4,3 0.4,7.1 |2.9,10 ~5.5,7 ; 5.5,3 5.5,10
v 0.3,3 3,10 5.7,3
w -0.2,3 1.4,10 3,4.7 4.6,10 6.2,3
x 0.5,3 5.5,10 ; 5.5,3 0.5,10
y 0.4,3 3.2,10 ; 5.8,3 2.7,11.1 2,12.9>0.7,12.9
z 0.6,3 5.4,3 0.5,10 5.6,10
! 3,0 3,6.5 ; o3,9.7
" 1.8,0 1.8,2.8 ; 4.2,0 4.2,2.8
# 2.2,0.8 1.2,9.2 ; 4.8,0.8 3.8,9.2 ; 0.2,3.4 6,3.4 ; 0,6.6 5.8,6.6
$ 5.5,3 |3,1.2 ~0.5,3.1 !5.7,6.8 |3,8.8 ~0.3,7 ; 3,-0.7 3,10.7
% 5.3,0 0.7,10 ; 0,1.8 |1.5,0 ~3,1.8 |1.5,3.6 ~0,1.8 ; 3,8.2 |4.5,6.4 ~6,8.2 |4.5,10 ~3,8.2
& 6,10 1.6,4.3 0.8,3.2>0.8,2.2 |2.6,0 ~4.4,2 4.4,3.5>2.5,4.6 0,6>0,7.5 |2.5,10 5,10>5.8,5.9
' 3,0 3,2.8
( 4.4,-0.9 1.7,1.9>1.7,5.2 1.7,8.5>4.4,11.3
) 1.6,-0.9 4.3,1.9>4.3,5.2 4.3,8.5>1.6,11.3
* 3,2.3 3,7.7 ; 0.7,3.65 5.3,6.35 ; 5.3,3.65 0.7,6.35
+ 3,2.2 3,7.8 ; 0.2,5 5.8,5
, o3.1,9.7 ; 3.2,9.9 2.2,12
- 1,5 5,5
. o3,9.7
/ 5.3,-0.7 0.7,11
: o3,4.1 ; o3,9.3
; o3.1,4.1 ; o3.1,9.3 ; 3.2,9.5 2.2,11.7
< 5.4,1.6 0.6,5 5.4,8.4
= 0.2,3.5 5.8,3.5 ; 0.2,6.5 5.8,6.5
> 0.6,1.6 5.4,5 0.6,8.4
? 0.5,2.4 |3,0 ~5.6,2.6 5.6,4.2>4.3,5 3,5.8>3,6.9 ; o3,9.7
@ 4.9,9.6 ~0,5.2 |3.2,0.6 ~6,4 6,5.6 |5,7 ~4.1,5.8 4.1,3.2 ; 4.1,5.1 |3,3.2 ~1.9,5.1 |3,7 ~4.1,5.1
[ 4.5,-0.7 1.9,-0.7 1.9,11.1 4.5,11.1
\ 0.7,-0.7 5.3,11
] 1.5,-0.7 4.1,-0.7 4.1,11.1 1.5,11.1
^ 0.9,3.2 3,0 5.1,3.2
_ 0,12.2 6,12.2
` 2,0 3.7,1.9
{ 5,-0.7 4.4,-0.7 ~3,0.8 3,3.4 |1.2,5.2 ~3,7 3,9.6 |4.4,11.1 5,11.1
| 3,-0.9 3,11.3
} 1,-0.7 1.6,-0.7 ~3,0.8 3,3.4 |4.8,5.2 ~3,7 3,9.6 |1.6,11.1 1,11.1
~ 0.1,6.3 |1.6,4.3 =4.4,5.9 ~5.9,3.9
× 0.8,2.8 5.2,7.2 ; 5.2,2.8 0.8,7.2
· o3,5
− 0.2,5 5.8,5
→ 0,5 6,5 ; 3.5,2.4 6,5 3.5,7.6
≤ 5.4,0.8 0.6,4 5.4,7.2 ; 0.6,9.4 5.4,9.4
≥ 0.6,0.8 5.4,4 0.6,7.2 ; 0.6,9.4 5.4,9.4
Σ 5.6,1.6 5.6,0 0.5,0 3.4,5 0.5,10 5.7,10 5.7,8.4
… o0.5,9.7 ; o3,9.7 ; o5.5,9.7
° 1.2,1.9 |3,0 ~4.8,1.9 |3,3.8 ~1.2,1.9
"""
_GLYPHS = {line[0]: line[2:] for line in _LINES.strip().splitlines()} | {" ": ""}
_BOX = "0.3,0 5.7,0 5.7,10 0.3,10 0.3,0"
# Typographic punctuation that has the shape of a plain sign.
_SAME = {"–": "−", "—": "−", "’": "'", "‘": "'", "“": '"', "”": '"', "\u00a0": " ", "⋅": "·"}


@lru_cache(maxsize=1024)
def strokes(char: str) -> tuple[Stroke, ...]:
    """The pen's paths for one character, in parts of the text size: x from 0 to ADVANCE, y down from the baseline.

    A character without a glyph is drawn as a box; a space has no strokes.

    >>> strokes("-")
    (((0.1571, -0.3571), (0.4429, -0.3571)),)
    >>> strokes("\\N{SNOWMAN}") == strokes("\\0"), strokes(" ")
    (True, ())
    """
    path = _GLYPHS.get(_SAME.get(char, char), _BOX)
    return tuple(
        tuple((round((x + _BEARING) * _UNIT, 4), round((y - _BASELINE) * _UNIT, 4)) for x, y in _flatten(stroke))
        for stroke in path.split(" ; ")
        if stroke
    )


def text_width(text: str, size: float) -> float:
    """The width of a text in pixels: every character advances alike.

    >>> text_width("1*1 = 1", 10)
    42.0
    """
    return round(len(text) * ADVANCE * size, 6)


def pen(size: float, weight: Weight = "regular") -> float:
    """The width of the pen in pixels for a text of this size; small sizes get a slightly heavier one, as in print.

    >>> pen(14), pen(42) / 42 < pen(7) / 7
    (1.26, True)
    """
    share = 0.072 if weight == "regular" else 0.112
    return round(share * size + 0.252, 4)


def _flatten(stroke: str) -> list[tuple[float, float]]:
    first, *rest = stroke.split()
    if first.startswith("o"):
        x, y = _point(first[1:])
        return _flatten(f"{x - _DOT},{y} |{x},{y - _DOT} ~{x + _DOT},{y} |{x},{y + _DOT} ~{x - _DOT},{y}")
    points = [_point(first)]
    for token in rest:
        points += _move(points[-1], token)
    return points


def _move(start: tuple[float, float], token: str) -> list[tuple[float, float]]:
    (x0, y0), sign = start, token[0]
    if ">" in token:
        corner, end = (_point(half) for half in token.split(">"))
        # A quadratic curve is the cubic whose handles reach two thirds of the way to its corner.
        handles = [tuple(p + 2 / 3 * (c - p) for p, c in zip(place, corner, strict=True)) for place in (start, end)]
        return _cubic(start, (handles[0][0], handles[0][1]), (handles[1][0], handles[1][1]), end)
    if sign not in "|~!=":
        return [_point(token)]
    x, y = _point(token[1:])
    across, down = _HANDLE * (x - x0), _HANDLE * (y - y0)
    leave = (x0, y0 + down) if sign in "|!" else (x0 + across, y0)
    arrive = (x, y - down) if sign in "~!" else (x - across, y)
    return _cubic(start, leave, arrive, (x, y))


def _cubic(
    p0: tuple[float, float], p1: tuple[float, float], p2: tuple[float, float], p3: tuple[float, float]
) -> list[tuple[float, float]]:
    points = []
    for step in range(1, _QUARTER + 1):
        t = step / _QUARTER
        a, b, c, d = (1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3
        points.append((a * p0[0] + b * p1[0] + c * p2[0] + d * p3[0], a * p0[1] + b * p1[1] + c * p2[1] + d * p3[1]))
    return points


def _point(text: str) -> tuple[float, float]:
    x, y = text.split(",")
    return float(x), float(y)
