"""What the hyper-parameters of all learners have in common; no torch is needed to read them."""

from dataclasses import dataclass, field
from typing import ClassVar, Self

from fewshot_kit.learners.checks import check_numbers
from fewshot_kit.networks.configs import Conv4Config, NetworkConfig, network_config


@dataclass(frozen=True)
class LearnerConfig:
    """What all learners have: a network."""

    network: NetworkConfig = field(default_factory=Conv4Config)
    networks: ClassVar[tuple[str, ...]] = ("conv4", "resnet12")  # the kinds that such a learner takes

    def __post_init__(self):
        check_numbers(self)
        check_numbers(self.network)
        if self.network.kind not in self.networks:
            raise ValueError(f"such a learner takes a network {' or '.join(self.networks)}, not {self.network.kind}; leave --network out")

    @classmethod
    def from_dict(cls, values: dict) -> Self:
        """Make the configuration from what config.json holds."""
        return cls(**{**values, "network": network_config(values["network"])})
