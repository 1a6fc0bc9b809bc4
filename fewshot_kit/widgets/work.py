"""What a panel's worker is busy with, or has done last."""

from dataclasses import dataclass, field

from fewshot_kit.data.class_images import ClassImages
from fewshot_kit.demo.request import Request
from fewshot_kit.demo.session import Epoch, Learning


@dataclass(frozen=True)
class Work:
    """A request being served, or served: what of it there is, on which pictures, and what was learned so far."""

    asked: Request  # as it came from the controls
    request: Request  # as far as the data set can serve it
    images: ClassImages | None = None  # until they are read
    notes: tuple[str, ...] = ()  # what had to be lowered, in words
    warning: str = ""  # what a person must know of these pictures, HTML
    epochs: list[Epoch] = field(default_factory=list)
    learning: Learning | None = None  # when it is done, or was stopped
    drawn: object = None  # what the picture is drawn from, beside the learning
