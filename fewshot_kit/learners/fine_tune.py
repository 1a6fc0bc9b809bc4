"""The inner loop: a few gradient steps on a support set, for one task or for a stack of tasks at once.

Every learner that takes gradient steps takes them here, in training as before a person. Everything is a function of the parameters; no
network is changed. A stack of tasks is the same loop on parameters with one more leading dimension: the rules are element-wise.

An update rule has `start(parameters) -> state` and `step(parameters, gradients, loss, state) -> (parameters, state)`. Parameters that
have no gradient stay as they are.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, vmap

from fewshot_kit.data.cancelling import Cancelled as Cancelled  # raise it in `on_step` to stop the inner loop between two steps
from fewshot_kit.learners.heads import apply_head, without_head

Parameters = dict[str, Tensor]
# (parameters, images, labels) -> (gradients, mean cross entropy); the loss is a scalar, or (tasks,) for a stack of tasks
GradientFunction = Callable[[Parameters, Tensor, Tensor], tuple[Parameters, Tensor]]


@dataclass(frozen=True)
class SGD:
    """Gradient descent, `p - lr * scale * g`; `scales` multiplies the rate of the parameters whose name starts with its key."""

    lr: float
    scales: Mapping[str, float]

    def start(self, parameters: Parameters) -> None:
        return None

    def step(self, parameters: Parameters, gradients: Parameters, loss: Tensor, state: None) -> tuple[Parameters, None]:
        stepped = {name: parameters[name] - self.lr * _scale(self.scales, name) * gradient for name, gradient in gradients.items()}
        return {**parameters, **stepped}, None


@dataclass(frozen=True)
class LearnedSGD:
    """Gradient descent with a rate of its own for every element, `p - factor * rate * g` (Meta-SGD, Li et al. 2017, eq. 2)."""

    rates: Mapping[str, Tensor]  # broadcast to the parameter of the same name
    factor: float = 1.0

    def start(self, parameters: Parameters) -> None:
        return None

    def step(self, parameters: Parameters, gradients: Parameters, loss: Tensor, state: None) -> tuple[Parameters, None]:
        stepped = {name: parameters[name] - self.factor * self.rates[name] * gradient for name, gradient in gradients.items()}
        return {**parameters, **stepped}, None


@dataclass(frozen=True)
class Adam:
    """Adam (Kingma and Ba 2015) from a fresh state; beta1 = 0 as in Reptile (Nichol et al. 2018, sec. 6)."""

    lr: float
    scales: Mapping[str, float]
    beta2: float = 0.999
    eps: float = 1e-8

    def start(self, parameters: Parameters) -> tuple[int, Parameters]:
        return 0, {name: torch.zeros_like(p) for name, p in parameters.items()}

    def step(self, parameters: Parameters, gradients: Parameters, loss: Tensor, state) -> tuple[Parameters, tuple[int, Parameters]]:
        count, squares = state[0] + 1, dict(state[1])
        updated = dict(parameters)
        for name in gradients:
            p = parameters[name]
            squares[name] = self.beta2 * squares[name] + (1 - self.beta2) * gradients[name].square()
            scale = (squares[name] / (1 - self.beta2**count)).sqrt_().add_(self.eps)
            updated[name] = p - self.lr * _scale(self.scales, name) * gradients[name] / scale
        return updated, (count, squares)


def _scale(scales: Mapping[str, float], name: str) -> float:
    return math.prod(scale for prefix, scale in scales.items() if name.startswith(prefix))


RULES = {"sgd": SGD, "adam": Adam}
UpdateRule = SGD | Adam | LearnedSGD


def logits_of(network: nn.Module, parameters: Parameters, buffers: Parameters, images: Tensor) -> Tensor:
    """Return logits (n, n_way): the network under these parameters, and the head among them on its features."""
    return apply_head(parameters, functional_call(network, {**without_head(parameters), **buffers}, (images,)))


def task_loss(network: nn.Module, parameters: Parameters, buffers: Parameters, images: Tensor, labels: Tensor) -> Tensor:
    """Return the mean cross entropy of one task in training mode: batch norm records the batch's statistics in `buffers`."""
    network.train()
    return F.cross_entropy(logits_of(network, parameters, buffers, images), labels)


def stacked_loss(network: nn.Module, parameters: Parameters, buffers: Parameters, images: Tensor, labels: Tensor) -> Tensor:
    """Return the same for a stack: parameters, buffers, images and labels (tasks, ...), loss (tasks,)."""
    return vmap(lambda *task: task_loss(network, *task))(parameters, buffers, images, labels)


def task_gradient(
    network: nn.Module, buffers: Parameters, *, through: bool = False, second_order: bool = False, only: str = ""
) -> GradientFunction:
    """Return the gradient of the mean cross entropy of one task, of the parameters whose name starts with `only`.

    `through` keeps the way back to the parameters that are given, for a meta-gradient; with `second_order` it leads through the gradient
    too. Runs `network` in training mode: batch norm uses the batch's statistics and records them in `buffers`.
    `functional_call` swaps parameters in place while it runs, so give each thread a network of its own.
    """

    def gradient(parameters: Parameters, images: Tensor, labels: Tensor) -> tuple[Parameters, Tensor]:
        # A view of each: what one parameter owes to another (the head to the backbone, by earlier steps) is no part of the gradient.
        leaves = {name: p.view_as(p) if through else p.detach().requires_grad_() for name, p in parameters.items()}
        wanted = {name: p for name, p in leaves.items() if name.startswith(only)}
        with torch.enable_grad():
            loss = task_loss(network, leaves, buffers, images, labels)
            gradients = torch.autograd.grad(loss, tuple(wanted.values()), create_graph=second_order)
        return dict(zip(wanted, gradients, strict=True)), loss.detach()

    return gradient


def stacked_gradient(network: nn.Module, buffers: Parameters, *, second_order: bool = False, only: str = "") -> GradientFunction:
    """Return the same for a stack: parameters and buffers (tasks, ...), images (tasks, n, c, h, w), labels (tasks, n), loss (tasks,).

    With `second_order` a meta-gradient leads through the gradients; without, they are constants.
    """

    def loss(wanted: Parameters, others: Parameters, buffers: Parameters, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        value = task_loss(network, {**others, **wanted}, buffers, images, labels)
        return value, value.detach()

    def gradient(parameters: Parameters, images: Tensor, labels: Tensor) -> tuple[Parameters, Tensor]:
        wanted = {name: p for name, p in parameters.items() if name.startswith(only)}
        others = {name: p for name, p in parameters.items() if name not in wanted}
        gradients, losses = vmap(torch.func.grad(loss, has_aux=True))(wanted, others, buffers, images, labels)
        return (gradients if second_order else {name: g.detach() for name, g in gradients.items()}), losses.detach()

    return gradient


def detached(state: Parameters) -> Parameters:
    return {name: value.detach().clone() for name, value in state.items()}


def stack(state: Parameters, n_tasks: int) -> Parameters:
    """Repeat parameters or buffers along a new leading task dimension."""
    # Contiguous: vmap knows no channels_last group norm.
    return {name: value.expand(n_tasks, *value.shape).clone(memory_format=torch.contiguous_format) for name, value in state.items()}


@torch.no_grad()
def predict(network: nn.Module, parameters: Parameters, buffers: Parameters, images: Tensor, *, transductive: bool = False) -> Tensor:
    """Return logits (n, n_way); batch norm uses `buffers`, or the statistics of these images together if `transductive`."""
    network.train(transductive)
    return logits_of(network, parameters, clone(buffers), images)


@torch.no_grad()
def stacked_predict(
    network: nn.Module, parameters: Parameters, buffers: Parameters, images: Tensor, *, transductive: bool = False
) -> Tensor:
    """Return logits (tasks, n, n_way) of images (tasks, n, c, h, w) under stacked parameters and buffers."""
    network.train(transductive)
    return vmap(lambda p, b, x: logits_of(network, p, b, x))(parameters, clone(buffers), images)


def clone(state: Parameters) -> Parameters:
    return {name: value.clone() for name, value in state.items()}


def fine_tune(
    gradient: GradientFunction,
    parameters: Parameters,
    batches: Iterable[tuple[Tensor, Tensor]],
    rule: UpdateRule,
    on_step: Callable[[int, Tensor, Parameters], None] | None = None,
) -> Parameters:
    """Take one step of `rule` for each (images, labels) batch and return the adapted parameters.

    `on_step(step, loss, parameters)` is called before each update with the loss at these parameters; `step` counts the updates made.
    """
    state = rule.start(parameters)
    for step, (images, labels) in enumerate(batches):
        gradients, loss = gradient(parameters, images, labels)
        if on_step is not None:
            on_step(step, loss, parameters)
        parameters, state = rule.step(parameters, gradients, loss, state)
    return parameters
