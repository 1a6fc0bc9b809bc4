"""Several checkpoints on the very same episodes: what each reaches, and how far the first is ahead, with the interval of its episodes.

    python benchmarks/paired.py runs/hard runs/plain --dataset fc100 --n-shot 5
    python benchmarks/paired.py repmet_detector-fod_a softmax_detector-fod_a softmax_detector-fod_a,inner_steps=100 --dataset fod_a

What chance puts into an episode, all meet: the interval of a difference is narrower than those of the two. Each is a name in pretrained/
or a folder, with settings after commas; without, those found best for the way and shot. Accuracy, or of detectors the strict mAP50.
"""

import argparse

import torch

from fewshot_kit.detection.evaluate_detection import precisions_of_episodes
from fewshot_kit.learners.base import Learner
from fewshot_kit.learners.settings import parse_settings
from fewshot_kit.networks.devices import use_one_thread
from fewshot_kit.results import Interval
from fewshot_kit.training.checkpoints import load_checkpoint
from fewshot_kit.training.tasks import DETECTION, kind_of


@torch.no_grad()
def scores(learner: Learner, sampler, drawn: list) -> torch.Tensor:
    """Return the share of right queries of each episode, (episodes,); of a detector its mAP50."""
    if kind_of(learner.config) is DETECTION:
        return torch.stack([metrics[0] for metrics in precisions_of_episodes(learner, sampler, drawn)])
    truth = torch.arange(sampler.n_way).repeat_interleave(sampler.n_query)
    return torch.cat([(logits.argmax(-1).cpu() == truth).float().mean(1) for logits, _ in learner.predict_drawn(sampler, drawn)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", nargs="+")
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--split", default="test")
    for name, default in (("way", 5), ("shot", 1), ("query", 15)):
        parser.add_argument(f"--n-{name}", type=int, default=default)
    parser.add_argument("--episodes", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    use_one_thread()
    size, found = {f"n_{name}": getattr(given, f"n_{name}") for name in ("way", "shot", "query")}, []
    for word in given.checkpoints:
        name, *settings = word.split(",")
        learner = load_checkpoint(name).learner_for(given.n_way, given.n_shot).with_settings(**parse_settings(settings))
        sampler = kind_of(learner.config).episodes_of(given.dataset, given.split, learner.preprocessing, **size)
        generator = torch.Generator().manual_seed(given.seed)
        found.append(scores(learner, sampler, [sampler.draw(generator) for _ in range(given.episodes)]))
        print(f"{word}: {Interval.of(found[-1]).percent()}")
    for word, other in zip(given.checkpoints[1:], found[1:], strict=True):
        ahead = Interval.of(found[0] - other)
        print(f"ahead of {word}: {100 * ahead.mean:+.2f} ± {100 * ahead.half_width:.2f} points ({given.episodes} episodes, paired)")


if __name__ == "__main__":
    main()
