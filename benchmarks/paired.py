"""Two checkpoints on the very same episodes: their accuracies, and the difference with the interval of its episodes.

    python benchmarks/paired.py runs/hard runs/plain --dataset fc100 --n-shot 5

What chance puts into an episode, both meet: the interval of the difference is narrower than those of the two. Each is a name in pretrained/
or a folder. Settings are those found best for the way and shot; `--set` gives others to both.
"""

import argparse

import torch

from fewshot_kit.data.datasets import load_dataset
from fewshot_kit.data.episodes import DrawnEpisode, EpisodeSampler
from fewshot_kit.learners.base import Learner
from fewshot_kit.learners.settings import parse_settings
from fewshot_kit.networks.devices import use_one_thread
from fewshot_kit.results import Interval
from fewshot_kit.training.checkpoints import load_checkpoint


@torch.no_grad()
def accuracies(learner: Learner, sampler: EpisodeSampler, drawn: list[DrawnEpisode]) -> torch.Tensor:
    """Return the share of right queries of each episode, (episodes,)."""
    truth = torch.arange(sampler.n_way).repeat_interleave(sampler.n_query)
    return torch.cat([(logits.argmax(-1).cpu() == truth).float().mean(1) for logits, _ in learner.predict_drawn(sampler, drawn)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", nargs=2)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--split", default="test")
    for name, default in (("way", 5), ("shot", 1), ("query", 15)):
        parser.add_argument(f"--n-{name}", type=int, default=default)
    parser.add_argument("--episodes", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", nargs="*", default=[])
    given = parser.parse_args()
    use_one_thread()
    found = []
    for name in given.checkpoints:
        learner = load_checkpoint(name).learner_for(given.n_way, given.n_shot).with_settings(**parse_settings(given.set))
        dataset = load_dataset(given.dataset, given.split, preprocessing=learner.preprocessing)
        sampler, generator = EpisodeSampler(dataset, given.n_way, given.n_shot, given.n_query), torch.Generator().manual_seed(given.seed)
        found.append(accuracies(learner, sampler, [sampler.draw(generator) for _ in range(given.episodes)]))
        print(f"{name}: {Interval.of(found[-1]).percent()}")
    difference = Interval.of(found[0] - found[1])
    print(f"difference: {100 * difference.mean:+.2f} ± {100 * difference.half_width:.2f} points ({given.episodes} episodes, paired)")


if __name__ == "__main__":
    main()
