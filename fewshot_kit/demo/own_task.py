"""Learn a person's own classes with any checkpoint of the kit, answer pictures by them, and say how far the answers can be trusted."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from fewshot_kit.data.cancelling import Check, go_on
from fewshot_kit.data.episodes import LabelledImages
from fewshot_kit.data.images import preprocess, to_float
from fewshot_kit.data.preprocessing import Preprocessing
from fewshot_kit.demo.own_classes import GivenPicture, OwnClasses
from fewshot_kit.learners.base import Learner, Predictor
from fewshot_kit.learners.settings import Setting
from fewshot_kit.networks.configs import PYRAMIDS
from fewshot_kit.networks.devices import pick_device, use_one_thread
from fewshot_kit.training.build import on_network_of
from fewshot_kit.training.checkpoints import Checkpoint, load_checkpoint

PROPOSED = {True: "resnet12-mini_imagenet", False: "protonet-omniglot_vinyals-augmented"}  # are they photographs?
# How the one for photographs looks at a person's: chosen on the validation classes of Grocery Store, as one view of a picture that is asked
# about, of little more work than the network's own 64 pixels, and a second, wider one of a picture that is learned from. A thing in a
# photograph by hand is in the middle, and smaller than in what the network was trained on.
PHOTOGRAPH_SIZE, PHOTOGRAPH_SETTINGS = 144, {"views": 1, "middle": 0.5, "support_views": 1}
SUITS_PHOTOGRAPHS = "suits photographs by hand"
# Answers to pictures that are left out in turn hang together, since all are learned from nearly the same: so many count as one. With it the
# interval held the true accuracy in 92 to 97 % of tasks of the validation classes of Grocery Store (3 to 10 classes, 3 to 10 pictures).
SHARED = 1.75
FAMILIAR = 0.1  # the share of a person's own pictures that may be taken for unknown


@dataclass(frozen=True)
class Estimate:
    """How good the answers are, by leaving out each picture in turn and asking for it (leave-one-out)."""

    n: int  # pictures that were asked for: those that are not the only one of their class
    n_right: int
    confused: tuple[int, int, int] | None  # a class, what it was taken for most often, and how often; of both directions together
    closeness: Tensor  # (n,), sorted: the largest logit of each picture that was left out

    @property
    def accuracy(self) -> float:
        return self.n_right / self.n if self.n else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """Return the 95 % interval of the accuracy, which holds for few pictures too (`wilson`)."""
        return wilson(self.n_right, self.n)

    @classmethod
    def of(cls, logits: Tensor, labels: Tensor) -> "Estimate":
        """Make it of `Learner.leave_one_out`, logits (n, n_way) with NaN where nothing was asked, and the labels (n,)."""
        asked = ~logits.isnan().any(1)
        logits, labels = logits[asked], labels[asked]
        answers = logits.argmax(1) if len(logits) else labels
        pairs: dict[tuple[int, int], int] = {}
        for label, answer in zip(labels.tolist(), answers.tolist(), strict=True):
            if label != answer:
                pair = min(label, answer), max(label, answer)
                pairs[pair] = pairs.get(pair, 0) + 1
        most = max(pairs, key=pairs.__getitem__, default=None)
        closeness = logits.amax(1).sort().values if len(logits) else torch.empty(0)
        return cls(len(labels), int((answers == labels).sum()), None if most is None else (*most, pairs[most]), closeness)


def wilson(n_right: int, n: int) -> tuple[float, float]:
    """Return the 95 % interval of a share (Wilson 1927), `n` answers counted as `n / SHARED`; (0, 1) of nothing."""
    if not n:
        return 0.0, 1.0
    z, share, n = 1.96, n_right / n, n / SHARED
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return middle - half if n_right else 0.0, middle + half if share < 1 else 1.0  # the ends without their rounding


@dataclass(frozen=True)
class Answers:
    """What is said of some pictures."""

    probabilities: Tensor  # (n, n_way)
    familiarity: Tensor  # (n,), 0..1: the share of the known pictures, left out, that are no nearer to what was learned; NaN: not known

    def is_unknown(self, least: float) -> Tensor:
        """Say which pictures are less familiar than `least`, (n,); none where that is not known."""
        return self.familiarity < least


@dataclass(frozen=True, eq=False)
class OwnLearning:
    """A learner that has learned a person's classes."""

    learner: Learner
    predictor: Predictor
    class_names: tuple[str, ...]
    estimate: Estimate | None = None  # until it is made

    @torch.no_grad()
    def answer(self, images: Tensor) -> Answers:
        """Answer images (n, c, h, w), uint8 or floats in 0..1, as the network wants them."""
        logits = self.predictor(to_float(images).to(self.learner.device)).cpu()
        return Answers(logits.softmax(1), self.familiarity(logits))

    def familiarity(self, logits: Tensor) -> Tensor:
        """Return how familiar pictures with these logits (n, n_way) are: their conformal p-values (Vovk et al. 2005), (n,)."""
        if self.estimate is None or not self.estimate.n:
            return torch.full((len(logits),), math.nan)
        closeness = self.estimate.closeness
        n_farther = torch.searchsorted(closeness, logits.amax(1).contiguous(), right=True)
        return (n_farther + 1) / (len(closeness) + 1)

    def seen(self, pictures: Sequence[np.ndarray]) -> Tensor:
        """Return pictures as the network sees them, (n, c, size, size) uint8."""
        return torch.stack([preprocess(picture, self.learner.preprocessing) for picture in pictures])


class OwnTask:
    """A checkpoint that learns a person's classes; each picture is decoded once for it."""

    def __init__(self, checkpoint: Checkpoint | str = PROPOSED[True], *, device: str = "auto"):
        use_one_thread()
        self.device = pick_device(device)
        self._seen: dict[tuple[str, Preprocessing], Tensor] = {}  # by digest
        self.use(checkpoint)

    def use(self, checkpoint: Checkpoint | str) -> None:
        """Go on with another checkpoint. Raises ValueError for one that finds things in pictures."""
        loaded = load_checkpoint(checkpoint, device=self.device) if isinstance(checkpoint, str) else checkpoint
        if loaded.learner.config.network.kind in PYRAMIDS:
            raise ValueError(f"{loaded.name} finds things in pictures, and tells no pictures apart; choose another, as {PROPOSED[True]}")
        self.proposed: dict[str, float] = {}
        if loaded.name == PROPOSED[True]:
            loaded, self.proposed = replace(loaded, learner=on_network_of(loaded.learner, None, PHOTOGRAPH_SIZE)), PHOTOGRAPH_SETTINGS
        self.checkpoint = loaded

    @property
    def preprocessing(self) -> Preprocessing:
        return self.checkpoint.learner.preprocessing

    def settings(self, classes: OwnClasses) -> tuple[Setting, ...]:
        """Return what may be turned, with the values that suit this number of classes and pictures best."""
        return self._learner(classes, {}).settings()

    def _learner(self, classes: OwnClasses, settings: Mapping[str, float]) -> Learner:
        shots = [len(one.pictures) for one in classes.classes if one.pictures]
        n_shot = max(1, round(sum(shots) / len(shots))) if shots else 1
        return self.learner_for(max(2, len(classes)), n_shot).with_settings(**settings)

    def learner_for(self, n_way: int, n_shot: int) -> Learner:
        """Return the learner with the settings that suit a person's pictures, so many classes and pictures of each."""
        return self.checkpoint.learner_for(n_way, n_shot).with_settings(SUITS_PHOTOGRAPHS, **self.proposed)

    def support(self, classes: OwnClasses, check: Check = go_on) -> LabelledImages:
        """Return all pictures as the network sees them. Raises ValueError, which says what is missing."""
        if missing := classes.missing():
            raise ValueError(missing)
        labels, images = [], []
        for label, picture in classes.pictures():
            check()
            labels.append(label)
            images.append(self._as_seen(picture))
        return LabelledImages(to_float(torch.stack(images)), torch.tensor(labels), classes.names)

    def _as_seen(self, picture: GivenPicture) -> Tensor:
        key = picture.digest, self.preprocessing
        if key not in self._seen:
            self._seen[key] = preprocess(picture.pixels(), self.preprocessing)
        return self._seen[key]

    def learn(
        self,
        classes: OwnClasses,
        settings: Mapping[str, float] | None = None,
        *,
        check: Check = go_on,
        on_step: Callable[[int, float], None] | None = None,
    ) -> OwnLearning:
        """Learn the classes; raise `Cancelled` in `check` to stop. Raises ValueError where something is missing, or too much."""
        support, learner = self.support(classes, check), self._learner(classes, settings or {})
        learner.check_way(support.n_way)

        def note(step: int, loss: float, predictor: Predictor) -> None:
            check()
            if on_step is not None:
                on_step(step, loss)

        return OwnLearning(learner, learner.adapt(support, on_step=note), classes.names)

    def estimated(self, learning: OwnLearning, classes: OwnClasses, check: Check = go_on) -> OwnLearning:
        """Return the learning with its leave-one-out estimate, by which it also knows what is unknown to it."""
        support = self.support(classes, check)
        return replace(learning, estimate=Estimate.of(learning.learner.leave_one_out(support, check), support.labels))
