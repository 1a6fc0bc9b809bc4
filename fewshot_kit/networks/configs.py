"""The shapes of the networks, as they stand in config.json; no torch is needed to read them."""

import re
from dataclasses import dataclass, field, replace

from fewshot_kit.data.preprocessing import Preprocessing

NORMS = ("group", "batch", "running", "none")
MAX_WIDTH = 1024  # some 28 million weights
MAX_FEATURES = 65_536
MAX_VALUES = 2**25  # of one picture behind the first convolution: 134 MB


@dataclass(frozen=True)
class Conv4Config:
    """Shape of a `Conv4`. The defaults are the strided Omniglot network of Finn et al. 2017 with group norm in place of batch norm."""

    width: int = 64  # channels of every block
    norm: str = "group"  # group, batch, running or none
    stride: int = 2  # 2: strided convolutions (Omniglot); 1: 2x2 max pooling after each block (mini-ImageNet)
    channels: int = 1
    size: int = 28  # images are size x size pixels
    mean: tuple[float, ...] = ()  # of the training images, a number a channel; none: values stay in 0..1
    std: tuple[float, ...] = ()
    kind: str = field(default="conv4", init=False)

    def __post_init__(self):
        if self.norm not in NORMS:
            raise ValueError(f"norm must be one of {', '.join(NORMS)}, not {self.norm!r}")
        if type(self.stride) is not int or self.stride not in (1, 2):
            raise ValueError(f"stride must be 2 (strided convolutions) or 1 (max pooling), not {self.stride!r}")
        if type(self.width) is not int or self.width % 8 or not 8 <= self.width <= MAX_WIDTH:
            raise ValueError(f"width must be a multiple of 8 (the groups of group norm) from 8 to {MAX_WIDTH}, not {self.width!r}")
        for name in ("mean", "std"):
            object.__setattr__(self, name, tuple(getattr(self, name)))  # JSON has lists
        _ = self.preprocessing  # which checks the rest
        self._check_size()

    def _check_size(self) -> None:
        """Raise ValueError where pooling would leave nothing of a picture, or the first block would need too much memory."""
        if self.stride == 1 and self.size < 16:
            raise ValueError(f"size must be at least 16 with stride 1 (four times, pooling halves it), not {self.size}; or take stride 2")
        what = f"width {self.width} at size {self.size} and stride {self.stride} needs"
        _check_room(self.width * (self.size // self.stride) ** 2, what)

    @property
    def preprocessing(self) -> Preprocessing:
        return Preprocessing(self.size, self.channels, self.mean, self.std)

    def __str__(self) -> str:
        return f"Conv4 of width {self.width}, stride {self.stride}, {self.norm} norm"


@dataclass(frozen=True)
class ResNet12Config:
    """Shape of a `ResNet12`. The defaults are a narrow one, a quarter of the work of the papers' 64 to 512, for pictures of 42 x 42."""

    widths: tuple[int, ...] = (32, 64, 128, 256)  # channels of the four blocks; 64 128 256 512 in MTL, 64 160 320 640 in MetaOptNet
    norm: str = "running"  # running: batch norm by the average of all batches in evaluation mode; or group
    drop_block: float = 0.0  # the share of a picture's features that DropBlock hides in training, in the last two blocks
    channels: int = 3
    size: int = 42  # images are size x size pixels; the weights fit any size
    mean: tuple[float, ...] = ()  # of the training images, a number a channel; none: values stay in 0..1
    std: tuple[float, ...] = ()
    kind: str = field(default="resnet12", init=False)

    def __post_init__(self):
        for name in ("widths", "mean", "std"):
            object.__setattr__(self, name, tuple(getattr(self, name)))  # JSON has lists
        if len(self.widths) != 4 or any(type(w) is not int or w % 8 or not 8 <= w <= MAX_WIDTH for w in self.widths):
            raise ValueError(f"widths must be four multiples of 8 from 8 to {MAX_WIDTH}, a number a block, not {self.widths}")
        if self.norm not in ("running", "group"):
            raise ValueError(f"norm of a ResNet-12 must be running or group, not {self.norm!r}")
        if not (isinstance(self.drop_block, int | float) and 0 <= self.drop_block < 0.5):
            raise ValueError(f"drop_block must be from 0 to below 0.5, not {self.drop_block!r}; 0.1 is usual")
        _ = self.preprocessing  # which checks the rest
        if self.size < 16:
            raise ValueError(f"size must be at least 16 (four times, pooling halves it), not {self.size}")
        _check_room(self.widths[0] * self.size**2, f"widths {self.widths} at size {self.size} need")

    @property
    def preprocessing(self) -> Preprocessing:
        return Preprocessing(self.size, self.channels, self.mean, self.std)

    def __str__(self) -> str:
        return f"ResNet-12 of widths {' '.join(map(str, self.widths))}, {'batch' if self.norm == 'running' else self.norm} norm"


@dataclass(frozen=True)
class PyramidConfig:
    """Shape of a `Pyramid`, which gives maps of three depths in place of features; narrow enough for a CPU."""

    widths: tuple[int, ...] = (16, 24, 48, 96, 128)  # channels of the two convolutions that begin, and of the three blocks
    map_channels: int = 64  # of every map
    channels: int = 3
    size: int = 224  # pictures are size x size pixels; the weights fit any size
    mean: tuple[float, ...] = ()  # of the training pictures, a number a channel; none: values stay in 0..1
    std: tuple[float, ...] = ()
    kind: str = field(default="pyramid", init=False)

    def __post_init__(self):
        for name in ("widths", "mean", "std"):
            object.__setattr__(self, name, tuple(getattr(self, name)))  # JSON has lists
        if len(self.widths) != 5 or any(type(w) is not int or w % 8 or not 8 <= w <= MAX_WIDTH for w in self.widths):
            raise ValueError(f"widths of a pyramid must be five multiples of 8 from 8 to {MAX_WIDTH}, not {self.widths}")
        if type(self.map_channels) is not int or self.map_channels % 8 or not 8 <= self.map_channels <= MAX_WIDTH:
            raise ValueError(
                f"map_channels must be a multiple of 8 (the groups of group norm) from 8 to {MAX_WIDTH}, not {self.map_channels!r}"
            )
        _ = self.preprocessing  # which checks the rest
        if self.size < 32 or self.channels != 3:
            raise ValueError(f"a pyramid takes pictures in colour from 32 pixels up, not size {self.size} and channels {self.channels}")
        _check_room(self.widths[0] * self.size**2 // 4, f"widths {self.widths} at size {self.size} need")

    @property
    def maps(self) -> tuple[tuple[int, int], ...]:
        """Return the stride in pixels and the channels of each map, of the one that things are proposed from first."""
        return tuple((stride, self.map_channels) for stride in (8, 16, 32))

    @property
    def preprocessing(self) -> Preprocessing:
        return Preprocessing(self.size, self.channels, self.mean, self.std)

    def __str__(self) -> str:
        return f"residual network with a feature pyramid, widths {' '.join(map(str, self.widths))}"


@dataclass(frozen=True)
class ResNetPyramidConfig(ResNet12Config):
    """Shape of a `ResNetPyramid`: a ResNet-12, which may be one that was pre-trained, as a pyramid of two depths."""

    size: int = 160  # pictures are size x size pixels; the weights fit any size
    map_channels: int = 64  # of the map that things are proposed from
    frozen_blocks: int = 2  # of the four, from the picture up, stay as they were: what tells edges and colours apart serves any thing
    kind: str = field(default="resnet12_pyramid", init=False)

    def __post_init__(self):
        super().__post_init__()
        if type(self.map_channels) is not int or self.map_channels % 8 or not 8 <= self.map_channels <= MAX_WIDTH:
            raise ValueError(
                f"map_channels must be a multiple of 8 (the groups of group norm) from 8 to {MAX_WIDTH}, not {self.map_channels!r}"
            )
        if type(self.frozen_blocks) is not int or not 0 <= self.frozen_blocks <= 4:
            raise ValueError(f"frozen_blocks must be from 0 to 4, the number of blocks, not {self.frozen_blocks!r}")
        if self.size < 32 or self.channels != 3:
            raise ValueError(f"a pyramid takes pictures in colour from 32 pixels up, not size {self.size} and channels {self.channels}")

    @property
    def maps(self) -> tuple[tuple[int, int], ...]:
        """Return the stride in pixels and the channels of each map, of the one that things are proposed from first."""
        return (8, self.map_channels), (8, self.widths[2]), (16, self.widths[3])

    def on(self, backbone: ResNet12Config) -> "ResNetPyramidConfig":
        """Return it with the shape and the statistics of a ResNet-12 whose weights it starts from."""
        return replace(self, **{name: getattr(backbone, name) for name in ("widths", "norm", "drop_block", "mean", "std")})

    def __str__(self) -> str:
        return f"{super().__str__()}, as a pyramid of its last two blocks"


@dataclass(frozen=True)
class PretrainedConfig:
    """A vision model of Hugging Face, by reference: its weights stay where they are, and are known by their hash."""

    model: str = ""  # its name on the hub, as facebook/dinov2-small, or a folder
    revision: str = ""  # the commit on the hub; of a folder, none
    sha256: str = ""  # of its weights
    n_features: int = 0
    channels: int = 3
    size: int = 224  # images are size x size pixels; it takes this one alone
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    kind: str = field(default="pretrained", init=False)

    def __post_init__(self):
        for name in ("mean", "std"):
            object.__setattr__(self, name, tuple(getattr(self, name)))  # JSON has lists
        if not self.model or not re.fullmatch("[0-9a-f]{64}", self.sha256) or not 1 <= self.n_features <= MAX_FEATURES:
            raise ValueError("such a network is trained elsewhere and made by its name alone; give evaluate, learn or adopt hf:<its name>")
        _ = self.preprocessing  # which checks the rest

    @property
    def preprocessing(self) -> Preprocessing:
        return Preprocessing(self.size, self.channels, self.mean, self.std)

    def __str__(self) -> str:
        return f"{self.model} of Hugging Face{f' at revision {self.revision}' if self.revision else ''}, frozen"


def _check_room(n_values: int, what: str) -> None:
    """Raise ValueError where one picture behind the first convolution would need too much memory."""
    if n_values > MAX_VALUES:
        raise ValueError(
            f"{what} {n_values:,} values a picture and block, more than the {MAX_VALUES:,} allowed; take a smaller width or size"
        )


NetworkConfig = Conv4Config | ResNet12Config | PyramidConfig | ResNetPyramidConfig | PretrainedConfig
PYRAMIDS = ("pyramid", "resnet12_pyramid")  # which give maps, for detection, in place of features
KINDS: dict[str, type[NetworkConfig]] = {
    "conv4": Conv4Config,
    "resnet12": ResNet12Config,
    "pyramid": PyramidConfig,
    "resnet12_pyramid": ResNetPyramidConfig,
    "pretrained": PretrainedConfig,
}
TRAINED_HERE = tuple(kind for kind in KINDS if kind != "pretrained")


def network_config(values: dict) -> NetworkConfig:
    """Make a configuration from what config.json holds. Raises ValueError for a kind that this kit does not know."""
    kind = values.get("kind")
    if kind not in KINDS:
        raise ValueError(f"a network of kind {kind!r} is not known; there are {', '.join(KINDS)}")
    return KINDS[kind](**{name: value for name, value in values.items() if name != "kind"})


def take_same_weights(one: NetworkConfig, other: NetworkConfig) -> bool:
    """Say whether the weights of one network fit another: a ResNet-12 and pyramids take pictures of any size."""
    if type(one) is type(other) and not isinstance(one, Conv4Config | PretrainedConfig):
        one = replace(one, size=other.size)
    return one == other
