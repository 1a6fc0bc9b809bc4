"""The detector, its head and its few-shot use: against the classifier's RepMet, loops, and what must not change an answer."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from painted import batch_of, painted_boxes
from synthetic import NETWORK, same_state

from fewshot_kit.data.cancelling import Cancelled
from fewshot_kit.detection import detector as detector_module
from fewshot_kit.detection.annotated import BoxedImages, DetectionSampler
from fewshot_kit.detection.box_head import BoxHead
from fewshot_kit.detection.boxes import iou
from fewshot_kit.detection.detector import Detector
from fewshot_kit.detection.found import LEFT_OUT, NOTHING, Detections, proposal_labels, support_embeddings
from fewshot_kit.detection.proposals import Proposals
from fewshot_kit.detection.repmet_detector import RepMetDetector, background, background_loss, posteriors
from fewshot_kit.detection.softmax_detector import SoftmaxDetector
from fewshot_kit.detection.training_boxes import THING, draw_boxes
from fewshot_kit.learners.configs import NearestMeanConfig, RepMetConfig
from fewshot_kit.learners.detector_configs import RepMetDetectorConfig, SoftmaxDetectorConfig
from fewshot_kit.learners.repmet import RepMet
from fewshot_kit.networks.build import from_config
from fewshot_kit.networks.configs import PyramidConfig, ResNet12Config, ResNetPyramidConfig
from fewshot_kit.networks.pyramid import Pyramid
from fewshot_kit.training.build import make_learner
from fewshot_kit.training.checkpoints import Checkpoint, start_from

SMALL = PyramidConfig(widths=(8, 8, 16, 16, 16), map_channels=16, size=64)
ON_RESNET = ResNetPyramidConfig(widths=(8, 8, 16, 16), map_channels=16, size=64)
NEAREST = NearestMeanConfig()
SHAPE = {"network": SMALL, "roi_side": 2, "hidden": 32, "n_features": 8, "n_proposals": 12}
TINY = RepMetDetectorConfig(**SHAPE, n_representatives=2)
PLAIN = SoftmaxDetectorConfig(**SHAPE)


def tiny(config=TINY, n_classes: int = 3, **changes) -> Detector:
    """A detector with seeded weights, about to be trained on so many classes."""
    kind = RepMetDetector if isinstance(config, RepMetDetectorConfig) else SoftmaxDetector
    with torch.random.fork_rng():
        torch.manual_seed(0)
        detector = kind(replace(config, **changes))
        torch.nn.init.normal_(detector.proposals.out.weight, std=0.3)  # proposals that differ
        torch.nn.init.normal_(detector.head.offsets.weight, std=0.1)
    detector.begin_training(painted_boxes(n_classes, 1), torch.Generator().manual_seed(0))
    return detector.eval()


def on_sphere(*shape: int, seed: int = 0) -> torch.Tensor:
    return F.normalize(torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)), dim=-1)


# --- the head ---


@pytest.mark.parametrize("version", [1, 2])
def test_the_heads_loss_is_that_of_the_classifier_on_the_same_features(version):
    features, representatives, labels = on_sphere(20, 8), on_sphere(4, 3, 8, seed=1), torch.arange(20) % 4
    detector = tiny(loss_version=version, alpha=0.7, sigma=0.4)
    classifier = RepMet(RepMetConfig(network=NETWORK, loss_version=version, alpha=0.7, sigma=0.4))
    closeness = detector.closeness(features, representatives)
    expected = classifier.closeness(features[None], representatives[None])[0]
    torch.testing.assert_close(closeness, expected)
    torch.testing.assert_close(detector._losses(closeness, labels)["classes"], classifier._loss(expected, labels))
    torch.testing.assert_close(background(closeness), classifier.background(features[None], representatives[None])[0])


def test_posteriors_and_the_background_by_hand():
    features, representatives = on_sphere(5, 8), on_sphere(3, 2, 8, seed=1)
    closeness = tiny().closeness(features, representatives)
    expected = [
        [max(math.exp(-(feature - r).square().sum().item() / (2 * 0.25)) for r in of_class) for of_class in representatives]
        for feature in features
    ]
    torch.testing.assert_close(posteriors(closeness), torch.tensor(expected, dtype=torch.float64))
    torch.testing.assert_close(background(closeness), 1 - posteriors(closeness).amax(1))
    labels = torch.tensor([0, 2, -1, 1, -1])
    losses = [-math.log(1 - max(p)) if label < 0 else -math.log(p[label]) for p, label in zip(expected, labels.tolist(), strict=True)]
    assert background_loss(closeness, labels).item() == pytest.approx(sum(losses) / 5)


def test_rivalry_weighs_a_posterior_with_its_share_among_the_classes():
    features, representatives = on_sphere(5, 8), on_sphere(3, 2, 8, seed=1)
    alone, all_of_it, half = (tiny(rivalry=r).probabilities(features, representatives) for r in (0.0, 1.0, 0.5))
    torch.testing.assert_close(all_of_it, alone / alone.sum(1, keepdim=True))
    torch.testing.assert_close(half, (alone * all_of_it).sqrt())
    assert ((half >= 0) & (half <= 1)).all() and torch.equal(half.argmax(1), alone.argmax(1))
    for wrong in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="rivalry"):
            tiny(rivalry=wrong)


def test_the_background_at_a_representative_itself_is_finite():
    features = on_sphere(1, 8).requires_grad_()
    loss = background_loss(tiny().closeness(features, features.detach()[None]), torch.tensor([-1]))
    loss.backward()
    assert loss.isfinite() and features.grad.isfinite().all()


def test_the_length_of_an_embedding_says_nothing_and_a_new_head_moves_no_box(generator):
    embeddings, offsets = BoxHead(TINY)(torch.randn(6, 3 * 16, 2, 2, generator=generator))
    assert offsets.abs().max() < 0.05
    representatives = on_sphere(2, 3, 8).float()
    torch.testing.assert_close(tiny().closeness(embeddings, representatives), tiny().closeness(7 * embeddings, representatives))


# --- the network and its training ---


@pytest.mark.parametrize("config", [SMALL, ON_RESNET], ids=["pyramid", "on resnet12"])
@pytest.mark.parametrize("size", [(64, 64), (96, 64), (75, 50)])
def test_a_pyramid_has_a_cell_for_every_stride(size, config):
    maps = from_config(config).eval()(torch.rand(2, 3, *size))
    for features, (stride, channels) in zip(maps, config.maps, strict=True):
        assert features.shape[:2] == (2, channels)
        assert all(abs(n - side / stride) < 1 for n, side in zip(features.shape[-2:], size, strict=True))


def test_a_thing_moved_by_a_cell_moves_the_finest_map_by_one():
    """Strides and paddings agree with where boxes look: a mark at a cell's middle answers most in that cell."""
    pyramid = Pyramid(SMALL).eval()
    blank = torch.full((1, 3, 128, 128), 0.5)
    marked = blank.clone()
    marked[:, :, 64:72, 40:48] = 1  # row 8, column 5
    with torch.no_grad():
        change = (pyramid.blocks[0](pyramid.stem(marked)) - pyramid.blocks[0](pyramid.stem(blank))).abs().sum(1)[0]
    row, column = divmod(int(change.argmax()), change.shape[1])
    assert abs(row - 8) <= 1 and abs(column - 5) <= 1


def test_a_pyramid_on_a_resnet12_sees_what_the_resnet12_saw_and_leaves_frozen_blocks_as_they_were():
    """Its deepest map, averaged, is the features of the network whose blocks it took; training moves none of the frozen ones."""
    backbone = replace(NEAREST, network=ResNet12Config(widths=(8, 8, 16, 16), mean=(0.4,) * 3, std=(0.2,) * 3))
    start, detector = make_learner(backbone, seed=3), tiny(network=ON_RESNET.on(backbone.network), embeds="mean")
    start_from(Checkpoint("start", Path(), start.eval(), {"sha256": "", "training": {}}, ""), detector)
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(detector.network(images)[2].mean((2, 3)), start.network(images))
    before = {name: value.clone() for name, value in detector.network.state_dict().items()}
    optimizer = torch.optim.SGD(detector.trainable_parameters(), lr=0.1)
    detector.loss(batch_of(painted_boxes(3, 2))).backward()
    optimizer.step()
    moved = {name for name, value in detector.network.state_dict().items() if not torch.equal(value, before[name])}
    assert {name.split(".")[1] for name in moved if name.startswith("blocks")} == {"2", "3"} and any("laterals" in name for name in moved)


def test_a_pyramid_on_another_resnet12_is_refused():
    start, other = make_learner(replace(NEAREST, network=ResNet12Config(widths=(8, 8, 16, 24))), seed=0), tiny(network=ON_RESNET)
    with pytest.raises(ValueError, match="start_from: start has the network"):
        start_from(Checkpoint("start", Path(), start, {"sha256": "", "training": {}}, ""), other)


@pytest.mark.parametrize("config", [TINY, PLAIN], ids=["repmet", "softmax"])
def test_every_weight_learns(config):
    detector, batch = tiny(config).train(), batch_of(painted_boxes(3, 2))
    losses = detector.losses(batch, torch.Generator().manual_seed(0))
    assert set(losses) == {"objectness", "edges", "classes", "offsets"} | ({"background"} if config is TINY else set())
    sum(losses.values()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in detector.parameters())
    assert sum((p.grad.abs().sum() > 0).item() for p in detector.parameters()) >= len(list(detector.parameters())) - 2


def test_the_same_generator_gives_the_same_loss_and_an_empty_picture_one_too():
    detector, batch = tiny(), batch_of(painted_boxes(3, 2))
    first, again = (sum(detector.losses(batch, torch.Generator().manual_seed(4)).values()) for _ in range(2))
    assert torch.equal(first, again)
    nothing = BoxedImages(batch.images[:1], (torch.empty(0, 4),), (torch.empty(0, dtype=torch.int64),), batch.class_names)
    losses = detector.losses(nothing, torch.Generator().manual_seed(4))
    assert set(losses) == {"objectness", "edges", "background"} and all(loss.isfinite() for loss in losses.values())


def test_boxes_to_learn_from_are_labelled_by_what_they_overlap(generator):
    true, labels = torch.tensor([[10.0, 10, 40, 40], [30, 50, 60, 60]]), torch.tensor([4, 2])
    corners = 64 * torch.rand(60, 2, 2, generator=generator)
    proposed = torch.cat([corners.amin(1), corners.amax(1) + 1], dim=1)
    for n in (2, 7, 16):
        boxes, found, targets = draw_boxes(proposed, true, labels, (64, 64), n, generator)
        assert len(boxes) <= n and (found >= 0).sum() <= n // 2
        overlaps = iou(boxes, true)
        for label, target, row in zip(found.tolist(), targets, overlaps, strict=True):
            assert row.max() >= THING if label >= 0 else row.max() < NOTHING
            if label >= 0:
                assert label == labels[row.argmax()] and torch.equal(target, true[row.argmax()])
    boxes, found, _ = draw_boxes(proposed, true[:0], labels[:0], (64, 64), 16, generator)
    assert len(boxes) == 8 and (found == -1).all()


@pytest.mark.parametrize("config", [TINY, PLAIN], ids=["repmet", "softmax"])
def test_training_finds_painted_things(config):
    """A few steps on coloured rectangles: losses fall, and things are found in pictures never seen."""
    detector, generator = tiny(config), torch.Generator().manual_seed(0)
    dataset, fresh = painted_boxes(3, 20, seed=1), painted_boxes(3, 4, seed=2)
    optimiser = torch.optim.Adam(detector.parameters(), 3e-3, betas=(0.9, 0.999))
    totals = []
    for _ in range(120):
        loss = detector.loss(dataset.take(torch.randint(len(dataset), (8,), generator=generator)))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        totals.append(loss.item())
    assert sum(totals[-10:]) < 0.6 * sum(totals[:10])
    predictor = detector.adapt(dataset.take(torch.tensor([0, 20, 40])))
    found = predictor.detect(fresh.images)
    best = [
        (iou(f.boxes[:1], true).max().item() if len(f) else 0, len(f) and f.labels[0].item())
        for f, true in zip(found, fresh.boxes, strict=True)
    ]
    assert sum(overlap >= 0.5 for overlap, _ in best) >= 9
    assert sum(label == true.item() for (_, label), true in zip(best, fresh.labels, strict=True)) >= 8


# --- few-shot ---


def support_and_queries() -> tuple[BoxedImages, torch.Tensor]:
    dataset = painted_boxes(4, 3)
    return dataset.take(torch.tensor([0, 3, 6, 9])), dataset.images[[1, 2, 5, 8, 10]]


def test_a_class_is_the_mean_of_what_overlaps_its_boxes(monkeypatch):
    detector, (support, _) = tiny(), support_and_queries()
    shift = torch.tensor([[1.0, 1, 1, 1], [0, 0, 0, -1], [9, 9, 9, 9]])
    near = [Proposals((boxes + shift).clamp(0, 64), torch.ones(3)) for boxes in support.boxes]
    monkeypatch.setattr(Detector, "propose", lambda self, images, maps: near)
    predictor = detector.adapt(support)
    for label, (image, boxes, proposals) in enumerate(zip(support.images, support.boxes, near, strict=True)):
        chosen = torch.cat([boxes, proposals.boxes[iou(proposals.boxes, boxes)[:, 0] > 0.7]])
        assert 2 <= len(chosen) <= 4
        with torch.no_grad():
            embeddings, _ = detector.look(detector.network(image[None]), [chosen])
        expected = F.normalize(embeddings, dim=1).mean(0)
        torch.testing.assert_close(predictor.centres[label, 0], expected, rtol=1e-4, atol=1e-5)


def test_which_proposals_count_by_hand():
    boxes, labels = torch.tensor([[0.0, 0, 10, 10], [20, 20, 30, 30]]), torch.tensor([3, 1])
    proposals = torch.tensor([[0.0, 0, 10, 8], [0, 0, 10, 7], [20, 20, 30, 29], [50, 50, 60, 60], [0, 0, 10, 3]])
    assert proposal_labels(proposals, boxes, labels, 0.7).tolist() == [3, LEFT_OUT, 1, -1, -1]
    assert proposal_labels(proposals[:0], boxes, labels, 0.7).tolist() == []
    assert proposal_labels(proposals, boxes[:0], labels[:0], 0.7).tolist() == [-1] * 5


def test_fine_tuning_is_gradient_descent_on_the_heads_loss():
    detector, (support, queries) = tiny(inner_steps=4, inner_lr=1e-3), support_and_queries()
    told = []
    tuned = detector.adapt(support, on_step=lambda *step: told.append(step))
    assert [step for step, _, _ in told] == [0, 1, 2, 3, 4]
    losses = [loss for _, loss, _ in told]
    assert losses == sorted(losses, reverse=True) and losses[-1] < losses[0]
    embeddings, labels = support_embeddings(detector.see(support.images, support.boxes), support.boxes, support.labels, 0.7)
    assert (labels == -1).any()
    r = tiny().adapt(support).centres
    torch.testing.assert_close(told[0][2].centres, r)
    for _ in range(4):
        r = r.detach().requires_grad_()
        loss = sum(detector._losses(detector.closeness(embeddings, r), labels).values())
        r = r - 1e-3 * torch.autograd.grad(loss, r)[0]
    torch.testing.assert_close(tuned.centres, r.detach())
    torch.testing.assert_close(told[-1][2].centres, tuned.centres)
    assert len(tuned.detect(queries)) == len(queries)


@pytest.mark.parametrize("config", [TINY, PLAIN, replace(PLAIN, inner_steps=3)], ids=["repmet", "nearest mean", "linear"])
def test_many_episodes_are_answered_as_one_by_one(config):
    """Pictures that were looked at once, whatever the episode, and those of two classes: the marked boxes of others do not count."""
    detector, dataset = tiny(config, score_threshold=1e-3), painted_boxes(4, 4)
    boxes, labels = (torch.cat([values[0], values[9]]) for values in (dataset.boxes, dataset.labels))
    two = replace(dataset, boxes=(boxes, *dataset.boxes[1:]), labels=(labels, *dataset.labels[1:]))
    sampler, generator = DetectionSampler(two, 3, 1, 2), torch.Generator().manual_seed(0)
    drawn = [sampler.draw(generator) for _ in range(6)]
    for episode, (query, found) in zip(drawn, detector.detect_drawn(sampler, drawn), strict=True):
        expected = sampler.gather(episode)
        assert torch.equal(query.images, expected.query.images)
        for one, other in zip(found, detector.adapt(expected.support).detect(expected.query.images), strict=True):
            assert len(one) and one.labels.tolist() == other.labels.tolist()
            torch.testing.assert_close(one.probabilities, other.probabilities, rtol=1e-3, atol=1e-4)
            torch.testing.assert_close(one.boxes, other.boxes, rtol=1e-3, atol=1e-2)


def test_a_linear_classifier_starts_as_the_nearest_mean_and_learns_the_support():
    support, _ = support_and_queries()
    told = []
    tuned = tiny(PLAIN, inner_steps=20, inner_lr=1.0).adapt(support, on_step=lambda *step: told.append(step))
    losses = [loss for _, loss, _ in told]
    assert losses == sorted(losses, reverse=True) and losses[-1] < losses[0]
    means = tiny(PLAIN).adapt(support).centres
    torch.testing.assert_close(told[0][2].centres[:4, :-1], PLAIN.scale * means)
    assert told[0][2].centres[4].abs().max() == told[0][2].centres[:, -1].abs().max() == 0
    assert tuned.centres.shape == (5, 9)


def test_fine_tuning_can_be_stopped():
    def stop(step, *_):
        if step == 2:
            raise Cancelled

    with pytest.raises(Cancelled):
        tiny(inner_steps=5).adapt(support_and_queries()[0], on_step=stop)


def test_permuting_the_classes_permutes_what_is_found():
    detector, (support, queries) = tiny(score_threshold=1e-3), support_and_queries()
    order = torch.tensor([2, 0, 3, 1])  # the new label of each class
    names = tuple(support.class_names[i] for i in order.argsort().tolist())
    permuted = replace(support, labels=tuple(order[labels] for labels in support.labels), class_names=names)
    plain, other = (detector.adapt(part).detect(queries) for part in (support, permuted))
    assert sum(map(len, plain)) > 20
    for one, two in zip(plain, other, strict=True):
        rows = [
            sorted(zip(labels.tolist(), f.boxes.tolist(), f.probabilities.tolist(), strict=True))
            for f, labels in ((one, order[one.labels]), (two, two.labels))
        ]
        assert [row[:2] for row in rows[0]] == [row[:2] for row in rows[1]]
        assert [p for *_, p in rows[0]] == pytest.approx([p for *_, p in rows[1]], rel=1e-5)


def test_a_picture_is_answered_by_itself_and_nothing_is_remembered(monkeypatch):
    detector, (support, queries) = tiny(score_threshold=1e-3), support_and_queries()
    before = {name: value.clone() for name, value in detector.state_dict().items()}
    predictor = detector.train().adapt(support)
    together = predictor.detect(queries)
    alone = [predictor.detect(query[None])[0] for query in queries]
    monkeypatch.setattr(detector_module, "PICTURES_TOGETHER", 2)
    for one, two, three in zip(together, alone, predictor.detect(queries), strict=True):
        for other in (two, three):
            assert one.labels.tolist() == other.labels.tolist()
            torch.testing.assert_close(one.boxes, other.boxes, rtol=1e-3, atol=1e-2)
    assert same_state(before, detector.state_dict()) and detector.training


def test_what_is_found_is_in_the_picture_certain_enough_and_thinned():
    detector, (support, queries) = tiny(score_threshold=0.01, overlap=0.3, most_boxes=7), support_and_queries()
    for found in detector.adapt(support).detect(queries):
        assert len(found) <= 7 and found.probabilities.min() >= 0.01 and found.probabilities.max() <= 1
        assert found.probabilities.diff().max() <= 0
        assert found.boxes.min() >= 0 and found.boxes.max() <= 64
        for label in range(4):
            of_class = found.boxes[found.labels == label]
            assert len(of_class) < 2 or iou(of_class, of_class).fill_diagonal_(0).max() <= 0.3
    nothing = tiny(score_threshold=1.0).adapt(support).detect(queries)
    assert [len(found) for found in nothing] == [0] * 5 and nothing[0].boxes.shape == (0, 4)


def test_several_representatives_and_too_few_boxes_for_them():
    dataset = painted_boxes(2, 6)
    several = {"support_overlap": 1.0, "score_threshold": 1e-3}
    detector = tiny(support_representatives=2, **several)
    predictor = detector.adapt(batch_of(dataset))
    assert predictor.centres.shape == (2, 2, 8)
    assert (predictor.centres[:, 0] - predictor.centres[:, 1]).abs().amax(1).min() > 1e-3
    few = dataset.take(torch.tensor([0, 6]))  # one box a class
    one, two = (tiny(support_representatives=k, **several).adapt(few).detect(dataset.images) for k in (1, 2))
    for a, b in zip(one, two, strict=True):
        assert len(a) and a.labels.tolist() == b.labels.tolist()
        torch.testing.assert_close(a.probabilities, b.probabilities)
    tuned = tiny(support_representatives=2, inner_steps=2, **several).adapt(few)
    assert tuned.centres.isfinite().all()


def test_a_class_without_a_box_is_told():
    support, _ = support_and_queries()
    empty = replace(support, boxes=(*support.boxes[:3], torch.empty(0, 4)), labels=(*support.labels[:3], support.labels[3][:0]))
    with pytest.raises(ValueError, match="every class needs a box to learn from, but 'd' has none"):
        tiny().adapt(empty)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"score_threshold": 0}, "score_threshold must be above 0 and at most 1, not 0"),
        ({"score_threshold": 1.5}, "score_threshold must be above 0 and at most 1"),
        ({"score_threshold": math.nan}, "score_threshold must be"),
        ({"overlap": -0.1}, "overlap must be from 0 to 1"),
        ({"loss_version": 3}, "loss_version must be 1 or 2"),
        ({"sigma": 0}, "sigma must be"),
        ({"n_representatives": 0}, "n_representatives must be at least 1"),
        ({"inner_lr": 0}, "inner_lr"),
        ({"inner_steps": -1}, "inner_steps"),
        ({"train_boxes": 1}, "train_boxes must be at least 2"),
    ],
)
def test_a_configuration_that_cannot_be_is_told(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(TINY, **changes)


def test_of_boxes_in_one_place_the_most_certain_is_shown():
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 9], [20, 0, 30, 10], [0, 0, 4, 4]])
    found = Detections(boxes, torch.tensor([0, 1, 1, 2]), torch.tensor([0.9, 0.8, 0.6, 0.5]))
    shown = found.shown(0.55)
    assert shown.labels.tolist() == [0, 1] and shown.boxes.tolist() == [boxes[0].tolist(), boxes[2].tolist()]
    assert len(found.shown(0.1)) == 3 and len(found.shown(0.95)) == 0
