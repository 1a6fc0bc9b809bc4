"""Meta-LSTM: a learned optimiser, an LSTM whose cell state is the weights that it trains (Ravi and Larochelle 2017)."""

import math

import torch
from torch import Tensor, nn

from fewshot_kit.learners.configs import MetaLSTMConfig
from fewshot_kit.learners.fine_tune import GradientFunction, Parameters, UpdateRule
from fewshot_kit.learners.maml import MAML
from fewshot_kit.learners.settings import Setting, epochs

P = 10  # of the pre-processing (appendix A)


class LearnedOptimiser(nn.Module):
    """The meta-learner: theta_t = f_t * theta_{t-1} - i_t * gradient_t (sec. 3.1, eq. 3), for every weight by itself, all with one LSTM.

    Its first layer is an LSTM over the pre-processed gradient and loss. The second has the gates, f_t = sigmoid(W_F [h_t, theta_{t-1},
    f_{t-1}] + b_F) and i_t in the same way; they start at "keep" and at small steps (sec. 3.3). An update rule of the inner loop:
    gradients and losses are constants to it, and its state is hidden state, cell state and the gates before.
    """

    def __init__(self, hidden: int):
        super().__init__()
        self.lstm = nn.LSTMCell(4, hidden)
        self.forget_gate = nn.Linear(hidden + 2, 1)
        self.input_gate = nn.Linear(hidden + 2, 1)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -0.01, 0.01)
        nn.init.uniform_(self.forget_gate.bias, 4, 6)
        nn.init.uniform_(self.input_gate.bias, -5, -4)

    def start(self, parameters: Parameters) -> None:
        return None

    def step(self, parameters: Parameters, gradients: Parameters, loss: Tensor, state: tuple | None) -> tuple[Parameters, tuple]:
        """Take a step; loss is a scalar, or (tasks,) for a stack of tasks."""
        with torch.autocast(loss.device.type, enabled=False):  # a forget gate is nearly 1: 16 bits would round it
            theta, gradient = (_flat(tensors, gradients, loss.ndim) for tensors in (parameters, gradients))  # (..., n)
            inputs = torch.stack([*preprocessed(gradient), *(x.expand_as(gradient) for x in preprocessed(loss.unsqueeze(-1)))])
            before, gates = state or (None, (torch.zeros_like(theta), torch.zeros_like(theta)))
            hidden = self.cell(inputs.flatten(1), before)
            forget, take = (
                _gate(gate, hidden[0], theta, previous) for gate, previous in zip((self.forget_gate, self.input_gate), gates, strict=True)
            )
            stepped = _unflat(forget * theta - take * gradient, parameters, gradients, loss.ndim)
        return {**parameters, **stepped}, (hidden, (forget, take))

    def cell(self, inputs: Tensor, before: tuple[Tensor, Tensor] | None) -> tuple[Tensor, Tensor]:
        """Return hidden and cell state (hidden, n) of `lstm` from inputs (4, n) and those before; None: they are zero.

        The numbers of one gate lie side by side in memory: on as many rows as there are weights, the module takes longer.
        """
        lstm = self.lstm
        gates = torch.addmm((lstm.bias_ih + lstm.bias_hh).unsqueeze(1), lstm.weight_ih, inputs)
        gates = gates if before is None else torch.addmm(gates, lstm.weight_hh, before[0])
        take, forget, new, show = gates.chunk(4)
        cell = take.sigmoid() * new.tanh()
        cell = cell if before is None else torch.addcmul(cell, forget.sigmoid(), before[1])
        return show.sigmoid() * cell.tanh(), cell


def _gate(gate: nn.Linear, hidden: Tensor, theta: Tensor, previous: Tensor) -> Tensor:
    """Return sigmoid(W [h_t, theta, previous] + b), of the shape of theta; hidden (hidden, n)."""
    of_hidden, (of_theta, of_previous) = gate.weight[0, :-2], gate.weight[0, -2:]
    return ((of_hidden @ hidden).view_as(theta) + of_theta * theta + of_previous * previous + gate.bias).sigmoid()


def preprocessed(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return (log|x| / p, sign x) where |x| >= e^-p, else (-1, e^p x) (appendix A): both of the size of one. A constant."""
    x = x.detach()
    is_large = x.abs() >= math.exp(-P)
    size = torch.where(is_large, x.abs().clamp(min=math.exp(-P)).log() / P, -torch.ones_like(x))
    return size, torch.where(is_large, x.sign(), math.exp(P) * x)


def _flat(tensors: Parameters, names: Parameters, n_leading: int) -> Tensor:
    """Return the named tensors as one, (..., n)."""
    return torch.cat([tensors[name].flatten(n_leading) for name in names], dim=-1)


def _unflat(flat: Tensor, parameters: Parameters, names: Parameters, n_leading: int) -> Parameters:
    sizes = [parameters[name][(0,) * n_leading].numel() for name in names]
    return {name: _laid_out(part, parameters[name]) for name, part in zip(names, flat.split(sizes, dim=-1), strict=True)}


def _laid_out(part: Tensor, like: Tensor) -> Tensor:
    """Return the numbers in the shape of a parameter, and as it lies in memory: else the next convolution is four times as slow."""
    is_channels_last = like.ndim == 4 and like.is_contiguous(memory_format=torch.channels_last)
    return part.view_as(like).contiguous(memory_format=torch.channels_last if is_channels_last else torch.contiguous_format)


class MetaLSTM(MAML):
    """Meta-LSTM (Ravi and Larochelle 2017): learn the initial weights and the optimiser that leads on from them (algorithm 1).

    The gradient of the query loss goes back through the steps, but not through gradients and losses, which are constants. Batch norm takes
    the statistics of the batch in training and of the support before a person, so that answers are inductive. Deviation from the paper:
    the pre-processed loss is the same number for every weight of a task, as is its public code's.
    """

    config: MetaLSTMConfig

    def __init__(self, config: MetaLSTMConfig):
        super().__init__(config)
        self.optimiser = LearnedOptimiser(config.hidden)

    def rule(self, lr: float) -> UpdateRule:
        """Return the learned optimiser, which has no learning rate."""
        return self.optimiser

    def head_first(self, gradient_of) -> GradientFunction:
        """Return the gradient of all weights: the optimiser keeps or forgets those without a gradient too."""
        return gradient_of(only="")

    def settings(self) -> tuple[Setting, ...]:
        return (epochs(self.config.inner_steps, self.source_of("inner_steps")),)

    def describe(self) -> str:
        return f"{self.config.inner_steps} full-batch steps (epochs) of the learned optimiser; the head {self.describe_head()}."
