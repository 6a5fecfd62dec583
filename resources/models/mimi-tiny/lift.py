"""The offset on which linear signals pass an ELU: taken off again before each convolution, in training and on disk.

The last channel of every layer is constant: 1, and 0 where a convolution pads. A convolution that sees lifted channels
subtracts, at every tap, their offset times this channel. In training a hook does so, and divides the channels that are
rectified by their sharpness: the weights are then those of signals of one size, and a step of Adam multiplies neither
an offset nor a hundred. On export it becomes part of the weights, and the model is a plain MimiModel.
"""

from __future__ import annotations

import torch
from analytic import LIFT, PEAK, SHARPNESS
from paper_encoder import signal_rows
from torch import Tensor, nn
from transformers import MimiModel
from transformers.models.mimi.modeling_mimi import MimiResnetBlock


def _take_off(conv: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
    (values,) = inputs
    return ((values - conv.lift[:, None] * values[:, -1:]) * conv.gain[:, None],)


def _halves(model: MimiModel, ranks: list[int]) -> tuple[tuple[nn.ModuleList, list[tuple[int, int]]], ...]:
    """Layers of both SEANets, and how many channels are linear and how many rectified after each convolution."""
    return (
        (model.encoder.encoder_seanet.layers, signal_rows()),
        (model.decoder.decoder_seanet.layers, [(rank, 0) for rank in ranks]),
    )


def _after_elu(model: MimiModel, ranks: list[int]) -> list[tuple[nn.Module, tuple[int, int]]]:
    """Convolutions after an ELU on the main path, with the linear and rectified channels that they see."""
    found: list[tuple[nn.Module, tuple[int, int]]] = []
    for layers, counts in _halves(model, ranks):
        index = -1
        for layer in layers:
            if isinstance(layer, MimiResnetBlock):
                found.append((layer.block[1].conv, counts[index]))
            elif hasattr(layer, "conv"):
                if index >= 0:
                    found.append((layer.conv, counts[index]))
                index += 1
    return found


@torch.no_grad()
def prepare_layers(model: MimiModel, ranks: list[int], floors: Tensor | None = None) -> None:
    """Lift the linear channels, make the last channel of every layer 1, begin residual branches as zero.

    ``ranks``: how many channels are linear after each of the decoder's convolutions but the last. ``floors``: of the
    exponentials at 100 Hz, which follow the linear channels there.
    """
    for conv, (linear, rectified) in _after_elu(model, ranks):
        lift, gain = torch.zeros(conv.in_channels), torch.ones(conv.in_channels)
        lift[:linear] = LIFT
        gain[linear : linear + rectified] = PEAK / SHARPNESS
        conv.register_buffer("lift", lift)
        conv.register_buffer("gain", gain)
        conv.register_forward_pre_hook(_take_off)
    if floors is not None:
        layers = model.decoder.decoder_seanet.layers
        first, second = [i for i, layer in enumerate(layers) if hasattr(layer, "conv")][1:3]
        block = next(layer for layer in layers[first:] if isinstance(layer, MimiResnetBlock))
        for conv in (block.block[1].conv, layers[second].conv):
            conv.lift[ranks[1] : ranks[1] + len(floors)] = floors
            conv.gain[ranks[1] : ranks[1] + len(floors)] = PEAK
    for layers, counts in _halves(model, ranks):
        convs = [layer.conv for layer in layers if hasattr(layer, "conv")]
        for conv, (linear, _) in zip(convs, counts, strict=False):
            conv.bias[:linear] += LIFT
            _keep_last(conv, 1.0)
    for block in (module for module in model.modules() if isinstance(module, MimiResnetBlock)):
        end = block.block[-1].conv
        end.weight.zero_()
        end.bias.zero_()
        _keep_last(end, 0.0)
    for transformer in (model.encoder.encoder_transformer, model.decoder.decoder_transformer):
        for layer in transformer.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.fc2.weight.zero_()


def _keep_last(conv: nn.Module, value: float) -> None:
    """Set the last output channel to a constant and keep training away from it."""
    weight_mask, bias_mask = torch.ones_like(conv.weight), torch.ones_like(conv.bias)
    weight_mask[(slice(None), -1) if isinstance(conv, nn.ConvTranspose1d) else -1] = 0.0
    bias_mask[-1] = 0.0
    conv.weight.mul_(weight_mask)
    conv.bias.mul_(bias_mask)
    conv.bias[-1] = value
    conv.weight.register_hook(lambda gradient: gradient * weight_mask)
    conv.bias.register_hook(lambda gradient: gradient * bias_mask)


@torch.no_grad()
def fold_layers(model: MimiModel) -> None:
    """Turn the hooks into weights of the constant channel, and round what they touch to half precision.

    A weight rounded times ``LIFT`` would be a hum beside quiet speech. So the constant's weights are those that cancel
    the lifts of the rounded weights and the roundings of all biases, and the smallest of them takes what is left.
    """
    for layers, _ in _halves(model, []):
        error = None  # of the channels' lifts, from the bias before
        for layer in layers:
            if isinstance(layer, MimiResnetBlock):
                _fold(layer.block[1].conv, error)
            elif hasattr(layer, "conv"):
                conv = layer.conv
                if hasattr(conv, "lift"):
                    _fold(conv, error)
                exact = conv.bias.double()
                conv.bias.copy_(conv.bias.half())
                error = conv.bias.double() - exact


def _fold(conv: nn.Module, error: Tensor) -> None:
    """Fold one convolution; ``error`` ``[in]`` comes on top of its lifts."""
    transposed = isinstance(conv, nn.ConvTranspose1d)
    weight = (conv.weight.transpose(0, 1) if transposed else conv.weight).double()  # [out, in, taps]
    weight = weight * conv.gain.double()[:, None]
    rounded = weight.half().double()
    # the rounded bias of an exponential is no offset after it
    lifts = conv.lift.double() + torch.where(conv.lift < 0, 0.0, error)
    wanted = weight[:, -1] - torch.einsum("oit,i->ot", rounded[:, :-1], lifts[:-1])
    constant = wanted.half().double()
    # taps that meet in one output sample: all of them, or those of one phase
    phases = conv.stride[0] if transposed else 1
    left = (wanted - constant).unflatten(1, (-1, phases)).sum(dim=1)  # [out, phases]
    groups = constant.unflatten(1, (-1, phases))  # [out, taps, phases]: a view
    smallest = groups.abs().argmin(dim=1, keepdim=True)
    groups.scatter_add_(1, smallest, left[:, None])
    rounded[:, -1] = constant.half().double()
    conv.weight.copy_(rounded.transpose(0, 1) if transposed else rounded)
    conv._forward_pre_hooks.clear()
    del conv.lift, conv.gain
