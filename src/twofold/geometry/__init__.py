"""The geometry of convolutions: one equation per axis, and all that follows from it in integers. Start reading here.

`axis`      the equation, and everything it says about one axis: sizes, which cells meet, spans, phases, overlap
`layer`     axes and channels together, and how users spell them ('same', integers, pairs)
`problem`   one operation with all its sizes
`notation`  the string that names a problem everywhere
"""

from twofold.geometry.axis import Axis, Phase
from twofold.geometry.layer import Geometry, axis_name
from twofold.geometry.problem import Problem

__all__ = ["Axis", "Geometry", "Phase", "Problem", "axis_name"]
