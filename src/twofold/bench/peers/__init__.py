"""The peers by name, each with the module that prepares it.

A module here has one function, `prepare(case) -> Prepared`, which raises `Cannot` with a reason where its peer does not
do the problem. It runs in a process of its own, and imports its library there only. Variants of one family are the
same library in another layout; a table shows the better one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata

from twofold.errors import GeometryError

__all__ = ["OURS", "PEERS", "Peer", "choose"]

OURS = ("twofold", "twofold-packed")  # our two columns, by family


@dataclass(frozen=True, slots=True)
class Peer:
    """A column of the table, or one of the forms of a column.

    family        the column it counts under
    module        what prepares it
    distribution  whose version is reported
    slack         by how much the bound on the error of a direct sum may be passed: Winograd's transforms amplify
                  rounding, F(4x4) by about 10 in the worst element
    """

    name: str
    family: str
    module: str
    distribution: str
    slack: float = 1.0

    @property
    def version(self) -> str | None:
        """The installed version, or None."""
        try:
            return metadata.version(self.distribution)
        except metadata.PackageNotFoundError:
            return None


def _peer(name: str, family: str, module: str, distribution: str, slack: float = 1.0) -> Peer:
    return Peer(name, family, f"{__name__}.{module}", distribution, slack)


PEERS = {
    peer.name: peer
    for peer in (
        _peer("twofold", "twofold", "ours", "twofold"),
        _peer("twofold-cl", "twofold", "ours", "twofold"),
        _peer("twofold-packed", "twofold-packed", "ours", "twofold"),
        _peer("twofold-packed-cl", "twofold-packed", "ours", "twofold"),
        _peer("torch", "torch", "pytorch", "torch"),
        _peer("torch-cl", "torch", "pytorch", "torch"),
        _peer("torch-compile", "torch-compile", "pytorch", "torch"),
        _peer("torch-compile-cl", "torch-compile", "pytorch", "torch"),
        _peer("onnxruntime", "onnxruntime", "onnxruntime", "onnxruntime"),
        _peer("openvino", "openvino", "openvino", "openvino", 8.0),
        _peer("ncnn", "ncnn", "ncnn", "ncnn", 16.0),
        _peer("mnn", "mnn", "mnn", "MNN", 16.0),
        _peer("mnn-small-tiles", "mnn", "mnn", "MNN", 16.0),
        _peer("litert", "litert", "litert", "ai-edge-litert"),
        _peer("tensorflow", "tensorflow", "tensorflow", "tensorflow"),
        _peer("jax", "jax", "jax", "jax"),
        _peer("jax-nhwc", "jax", "jax", "jax"),
        _peer("scipy", "scipy", "scipy", "scipy", 8.0),  # transforms as well: Fourier's
    )
}


def choose(names: Sequence[str] = ()) -> list[Peer]:
    """Return the peers of these names or families, ours always first; without names all of them.

    >>> [peer.name for peer in choose(["torch"])]
    ['twofold', 'twofold-cl', 'twofold-packed', 'twofold-packed-cl', 'torch', 'torch-cl']
    """
    known = {word for peer in PEERS.values() for word in (peer.name, peer.family)}
    for name in names:
        if name not in known:
            families = ", ".join(dict.fromkeys(peer.family for peer in PEERS.values()))
            raise GeometryError(f"{name[:100]!r} is no peer", repair=f"one of {families}")
    wanted = set(names) | set(OURS) if names else known
    return [peer for peer in PEERS.values() if wanted & {peer.name, peer.family}]
