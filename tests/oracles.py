"""The same operations by other means: torch, SciPy, and loops over Python integers. Shares no code with Twofold.

Each oracle takes NumPy arrays (batch, channels, *size) and the options of the public functions, all per axis:
stride, dilation, padding as (before, after) pairs, groups, flip, padding_mode, output_padding.

Padding modes are NumPy's `pad` of an index; their adjoint is torch's autograd of a gather.
"""

from __future__ import annotations

import itertools

import numpy as np
import scipy.signal
import torch

# The problems are tiny, and threads that wait for one another on a busy machine cost more than they save.
torch.set_num_threads(1)

_NUMPY_MODES = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}


# -- torch ------------------------------------------------------------------------------------------------------------


def torch_conv(x, weight, bias=None, *, stride, dilation, padding, groups=1, flip=False, padding_mode="zeros"):
    x, weight = torch.as_tensor(x), torch.as_tensor(weight)
    bias = None if bias is None else torch.as_tensor(bias)
    rank = weight.ndim - 2
    weight = torch.flip(weight, dims=tuple(range(2, rank + 2))) if flip else weight
    operation = (torch.nn.functional.conv1d, torch.nn.functional.conv2d, torch.nn.functional.conv3d)[rank - 1]
    padded = torch_pad(x, padding, padding_mode)
    return operation(padded, weight, bias, stride, 0, dilation, groups)


def torch_conv_transpose(
    x,
    weight,
    bias=None,
    *,
    stride,
    dilation,
    padding,
    output_padding,
    groups=1,
    flip=False,
    padding_mode="zeros",
):
    x, weight = torch.as_tensor(x), torch.as_tensor(weight)
    if padding_mode != "zeros":
        y = _adjoint_of_padded_conv(x, weight, stride, dilation, padding, output_padding, groups, flip, padding_mode)
        return y if bias is None else y + torch.as_tensor(bias).reshape(-1, *[1] * (y.ndim - 2))
    rank = weight.ndim - 2
    weight = torch.flip(weight, dims=tuple(range(2, rank + 2))) if flip else weight
    functions = torch.nn.functional
    operation = (functions.conv_transpose1d, functions.conv_transpose2d, functions.conv_transpose3d)[rank - 1]
    full = operation(x, weight, None, stride, 0, 0, groups, dilation)
    # The full canvas, cut by hand: torch itself crops both ends alike.
    for i, ((before, after), extra) in enumerate(zip(padding, output_padding, strict=True), start=2):
        grown = torch.cat([full, torch.zeros_like(full).narrow(i, 0, 1).repeat_interleave(extra, i)], i)
        full = grown.narrow(i, before, grown.shape[i] - before - after)
    return full if bias is None else full + torch.as_tensor(bias).reshape(-1, *[1] * rank)


def torch_pad(x, padding, mode):
    if mode == "zeros":
        return torch.nn.functional.pad(x, [cells for pair in reversed(padding) for cells in pair])
    for i, pair in enumerate(padding, start=2):
        index = np.pad(np.arange(x.shape[i]), pair, mode=_NUMPY_MODES[mode]) if sum(pair) else np.arange(x.shape[i])
        x = x.index_select(i, torch.as_tensor(index))
    return x


def _adjoint_of_padded_conv(y, weight, stride, dilation, padding, output_padding, groups, flip, mode):
    rank = weight.ndim - 2
    sizes = zip(y.shape[2:], weight.shape[2:], stride, dilation, padding, output_padding, strict=True)
    fine = [(n - 1) * s + d * (k - 1) + 1 - sum(pads) + extra for n, k, s, d, pads, extra in sizes]
    x = torch.zeros(y.shape[0], weight.shape[1] * groups, *fine, dtype=y.dtype, requires_grad=True)
    z = torch_conv(
        x, weight, stride=stride, dilation=dilation, padding=padding, groups=groups, flip=flip, padding_mode=mode
    )
    # A large output_padding has room for more coarse cells than there are.
    z = z[(..., *(slice(0, n) for n in y.shape[2:]))] if rank else z
    (grad,) = torch.autograd.grad(z, x, y)
    return grad


# -- SciPy ------------------------------------------------------------------------------------------------------------


def scipy_conv(x, weight, *, stride, dilation, padding, groups=1, flip=False):
    """Correlate every pair of channels with SciPy, then keep each stride-th cell."""
    x = np.pad(x, ((0, 0), (0, 0), *padding))
    kernel = _spread_out(weight, dilation)
    slide = scipy.signal.convolve if flip else scipy.signal.correlate
    return _per_pair(
        x,
        kernel,
        groups,
        lambda image, k: slide(image, k, "valid", "direct")[tuple(slice(None, None, s) for s in stride)],
    )


def scipy_conv_transpose(x, weight, *, stride, dilation, padding, output_padding, groups=1, flip=False):
    """Put stride - 1 zeros between the cells, convolve in full with SciPy, then cut."""
    x, kernel = _spread_out(x, stride), _spread_out(weight, dilation)
    pairs = kernel.reshape(groups, -1, *kernel.shape[1:]).swapaxes(1, 2)  # (G, out / G, in / G, *kernel)
    kernel = pairs.reshape(-1, *pairs.shape[2:])
    if flip:
        kernel = np.flip(kernel, tuple(range(2, kernel.ndim)))
    full = _per_pair(x, kernel, groups, lambda image, k: scipy.signal.convolve(image, k, "full", "direct"))
    full = np.pad(full, ((0, 0), (0, 0), *((0, extra) for extra in output_padding)))
    cut = (slice(before, size - after) for size, (before, after) in zip(full.shape[2:], padding, strict=True))
    return full[(..., *cut)]


def _per_pair(x, kernel, groups, slide):
    per_group_in, per_group_out = kernel.shape[1], kernel.shape[0] // groups
    rows = [
        [
            sum(slide(image[k // per_group_out * per_group_in + c], kernel[k, c]) for c in range(per_group_in))
            for k in range(kernel.shape[0])
        ]
        for image in x
    ]
    return np.array(rows)


def _spread_out(array, steps):
    size = [(n - 1) * step + 1 for n, step in zip(array.shape[2:], steps, strict=True)]
    spread = np.zeros((*array.shape[:2], *size), array.dtype)
    spread[(..., *(slice(None, None, step) for step in steps))] = array
    return spread


# -- loops over Python's numbers --------------------------------------------------------------------------------------


def brute_pairs(fine_size, coarse_size, kernel_size, stride, dilation, padding, padding_mode="zeros"):
    """Every multiplication: (coarse cell, tap, fine cell) as tuples, the fine cell where the mode takes it from."""
    per_axis = []
    for n, m, k, s, d, (before, _) in zip(fine_size, coarse_size, kernel_size, stride, dilation, padding, strict=True):
        meets = []
        for coarse, tap in itertools.product(range(m), range(k)):
            cell = _source(coarse * s + tap * d - before, n, padding_mode)
            meets += [(coarse, tap, cell)] if cell is not None else []
        per_axis.append(meets)
    for meeting in itertools.product(*per_axis):
        yield tuple(zip(*meeting, strict=True))


def _source(cell, size, mode):
    if 0 <= cell < size or mode == "zeros":
        return cell if 0 <= cell < size else None
    if mode == "replicate":
        return 0 if cell < 0 else size - 1
    if mode == "circular":
        return cell % size
    while not 0 <= cell < size:  # reflect, at one end after the other
        cell = -cell if cell < 0 else 2 * (size - 1) - cell
    return cell


def brute(case, x, weight, bias=None):
    """Either operation of a `Case`, one Python multiplication at a time; of integers an exact result."""
    is_conv = case.op == "conv"
    fine, coarse = (case.in_size, case.out_size) if is_conv else (case.out_size, case.in_size)
    y = np.zeros(case.y_shape, object)
    if bias is not None:
        y += np.array([_python(b) for b in bias], object).reshape(-1, *[1] * case.rank)
    weight_rows, weight_columns = case.weight_shape[0] // case.groups, case.weight_shape[1]
    numbers = (fine, coarse, case.kernel_size, case.stride, case.dilation, case.padding, case.padding_mode)
    for coarse_cell, tap, fine_cell in brute_pairs(*numbers):
        tap = tuple(k - 1 - t for k, t in zip(case.kernel_size, tap, strict=True)) if case.flip else tap
        for n, g, row, column in np.ndindex(case.batch, case.groups, weight_rows, weight_columns):
            k, c = g * weight_rows + row, g * weight_columns + column
            w = _python(weight[(k, column, *tap)])
            if is_conv:
                y[(n, k, *coarse_cell)] += w * _python(x[(n, c, *fine_cell)])
            else:
                y[(n, c, *fine_cell)] += w * _python(x[(n, k, *coarse_cell)])
    return y


def brute_weight_gradient(case, fine_array, coarse_array):
    """The third contraction of a `Case`: for each tap, the sum over pairs of cells that meet through it."""
    is_conv = case.op == "conv"
    fine, coarse = (case.in_size, case.out_size) if is_conv else (case.out_size, case.in_size)
    grad = np.zeros(case.weight_shape, object)
    weight_rows, weight_columns = case.weight_shape[0] // case.groups, case.weight_shape[1]
    numbers = (fine, coarse, case.kernel_size, case.stride, case.dilation, case.padding, case.padding_mode)
    for coarse_cell, tap, fine_cell in brute_pairs(*numbers):
        tap = tuple(k - 1 - t for k, t in zip(case.kernel_size, tap, strict=True)) if case.flip else tap
        for n, g, row, column in np.ndindex(case.batch, case.groups, weight_rows, weight_columns):
            k, c = g * weight_rows + row, g * weight_columns + column
            grad[(k, column, *tap)] += _python(coarse_array[(n, k, *coarse_cell)]) * _python(
                fine_array[(n, c, *fine_cell)]
            )
    return grad


def _python(number):
    return number.item() if hasattr(number, "item") else number
