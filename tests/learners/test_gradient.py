"""The laws every learner keeps, and each algorithm against an independent loop."""

import copy
import json
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from threading import Barrier

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from synthetic import NETWORK, Classifier, noisy_episodes, noisy_images, same_state, tiny_reptile
from torch import nn

from fewshot_kit.data.episodes import EpisodeSampler, LabelledImages
from fewshot_kit.data.images import to_float
from fewshot_kit.data.task_source import TaskSource
from fewshot_kit.learners.base import Learner, TrainableLearner
from fewshot_kit.learners.configs import CONFIGS, MagnetConfig, MAMLConfig, MetaSGDConfig, ProtoNetConfig, RepMetConfig, SoftmaxConfig
from fewshot_kit.learners.embedding import EmbeddingLearner
from fewshot_kit.learners.fine_tune import Cancelled, detached, logits_of
from fewshot_kit.learners.nearest_prototype import NearestPrototype
from fewshot_kit.learners.repmet import RepMet
from fewshot_kit.learners.reptile import Reptile
from fewshot_kit.learners.settings import DEFAULT
from fewshot_kit.networks.configs import NORMS, Conv4Config, PyramidConfig, ResNet12Config
from fewshot_kit.training.build import make_learner
from fewshot_kit.training.checkpoints import load_checkpoint, save_checkpoint
from fewshot_kit.training.config import TrainConfig
from fewshot_kit.training.train import BEST, LAST, open_run, train

MAKERS = {f"reptile-{norm}": lambda norm=norm: tiny_reptile(norm) for norm in NORMS} | {"nearest_prototype": NearestPrototype}
MAKERS |= {
    "maml": lambda: make_learner(MAMLConfig(network=NETWORK, head_lr_scale=5.0), seed=0),
    "meta_sgd": lambda: make_learner(MetaSGDConfig(network=NETWORK, head_lr_scale=5.0), seed=0),
}
METRIC = {
    "protonet": lambda: make_learner(ProtoNetConfig(network=NETWORK, train_way=5), seed=0),
    "protonet-batch": lambda: make_learner(ProtoNetConfig(network=replace(NETWORK, norm="batch"), train_way=5), seed=0),
    "magnet": lambda: make_learner(MagnetConfig(network=NETWORK, train_clusters=5, nearest_clusters=3, refresh_every=5), seed=0),
    "repmet-1": lambda: make_learner(RepMetConfig(network=NETWORK, loss_version=1, inner_steps=2), seed=0),
    "repmet-2": lambda: make_learner(RepMetConfig(network=NETWORK), seed=0),
    "softmax": lambda: make_learner(SoftmaxConfig(network=NETWORK), seed=0),
}
MAKERS |= METRIC
CLOSE = {"rtol": 1e-4, "atol": 1e-4}


@pytest.fixture(params=MAKERS)
def learner(request) -> Learner:
    return MAKERS[request.param]()


def one_episode(**options):
    return noisy_episodes(1, **options)[0]


# --- every learner ---


def test_adapting_and_predicting_leave_no_trace(learner):
    episode = one_episode()
    state, random_state = copy.deepcopy(learner.state_dict()), torch.get_rng_state()
    modes = [module.training for module in learner.modules()]
    learner.adapt(episode.support)(episode.query.images)
    assert same_state(state, learner.state_dict())
    assert torch.equal(random_state, torch.get_rng_state())
    assert modes == [module.training for module in learner.modules()]
    assert all(p.grad is None for p in learner.parameters())


def test_the_same_support_gives_the_same_predictor(learner):
    episode = one_episode()
    first = learner.adapt(episode.support)(episode.query.images)
    learner.adapt(one_episode(seed=1).support)
    assert torch.equal(first, learner.adapt(episode.support)(episode.query.images))


def test_one_image_is_answered_without_a_look_at_the_others(learner):
    episode = one_episode(n_query=6)
    queries = torch.cat([episode.query.images, one_episode(seed=1, n_query=6).query.images])  # more than 25: cdist changes its method
    predict = learner.adapt(episode.support)
    together = predict(queries)
    for i in range(len(queries)):
        torch.testing.assert_close(together[i : i + 1], predict(queries[i : i + 1]), **CLOSE)


def test_permuting_labels_permutes_logits(learner):
    episode = one_episode()
    new_label = torch.tensor([2, 0, 1])
    names = tuple(episode.support.class_names[new_label.tolist().index(label)] for label in range(3))
    permuted = LabelledImages(episode.support.images, new_label[episode.support.labels], names)
    logits, of_permuted = (learner.adapt(support)(episode.query.images) for support in (episode.support, permuted))
    torch.testing.assert_close(of_permuted[:, new_label], logits, **CLOSE)


def test_a_stack_of_episodes_is_answered_as_one_by_one(learner):
    episodes = noisy_episodes(4)
    for transductive in (False, True):
        logits, losses = learner.predict_episodes(episodes, transductive=transductive)
        expected, expected_losses = Learner.predict_episodes(learner, episodes, transductive=transductive)
        torch.testing.assert_close(logits, expected, **CLOSE)
        by_batch = isinstance(learner, Reptile) and learner.config.network.norm in ("batch", "running")
        if transductive or not by_batch:  # Reptile's support loss is the inner loop's, by the statistics of the batch
            torch.testing.assert_close(losses, expected_losses, **CLOSE)


@pytest.mark.parametrize("n_way", range(2, 11))
def test_any_number_of_classes_will_do(learner, n_way):
    episode = one_episode(n_way=n_way, n_shot=1, n_query=1)
    assert learner.max_way is None
    assert learner.adapt(episode.support)(episode.query.images).shape == (n_way, n_way)


@pytest.mark.parametrize("name", ["reptile-group", "reptile-batch", "nearest_prototype"])  # the others have to be trained first
def test_learning_beats_chance_even_untrained(name):
    logits, _ = MAKERS[name]().predict_episodes(noisy_episodes(10, n_query=5))
    labels = torch.arange(3).repeat_interleave(5)
    assert (logits.argmax(-1) == labels).float().mean() > 0.5  # 150 answers, chance 1/3: standard deviation 0.04


def test_more_classes_than_a_learner_knows_is_an_error_that_says_so():
    learner = NearestPrototype()
    learner.check_way(1000)
    learner.max_way = 3
    learner.check_way(3)
    with pytest.raises(ValueError, match=r"at most 3 classes .* support has 4; choose fewer"):
        learner.check_way(4)


def test_two_threads_on_one_learner_get_what_one_thread_gets(learner):
    episodes = noisy_episodes(2, n_query=4)

    def answer(episode):
        together.wait()
        return torch.stack([learner.adapt(episode.support)(episode.query.images) for _ in range(8)])

    together = Barrier(1)
    expected = [answer(episode) for episode in episodes]
    together = Barrier(2)
    with ThreadPoolExecutor(2) as threads:
        for alone, beside in zip(expected, threads.map(answer, episodes), strict=True):
            assert torch.equal(alone, beside)


def test_predictors_may_be_asked_from_several_threads():
    episode, steps = one_episode(), []
    tiny_reptile("batch").adapt(episode.support, on_step=lambda step, loss, predict: steps.append((predict, predict(episode.query.images))))

    def count_wrong(step):
        predict, expected = step
        together.wait()
        return sum(not torch.equal(predict(episode.query.images), expected) for _ in range(100))

    together = Barrier(3)
    with ThreadPoolExecutor(3) as threads:
        assert sum(threads.map(count_wrong, [steps[1], steps[3], steps[3]])) == 0


# --- learners with an inner loop ---


@pytest.fixture(params=NORMS)
def reptile(request) -> Reptile:
    return tiny_reptile(request.param)


def test_no_epochs_is_to_know_nothing(reptile):
    episode = one_episode()
    logits = reptile.with_settings(inner_steps=0).adapt(episode.support)(episode.query.images)
    torch.testing.assert_close(logits.softmax(-1), torch.full((9, 3), 1 / 3))


def test_a_step_s_predictor_keeps_its_answer_after_the_loop_went_on(reptile):
    episode, steps = one_episode(), []

    def note(step, loss, predict):
        steps.append((step, loss, predict, predict(episode.query.images)))

    final = reptile.adapt(episode.support, on_step=note)
    assert [step for step, _, _, _ in steps] == [0, 1, 2, 3]
    for _, _, predict, then in steps:
        assert torch.equal(predict(episode.query.images), then)
    assert torch.equal(steps[-1][3], final(episode.query.images)) and not torch.equal(steps[0][3], steps[-1][3])


def test_reported_losses_are_those_of_the_support_and_fall(reptile):
    episode, losses = one_episode(), []
    transductive = reptile.config.network.norm in ("batch", "running")  # the inner loop's loss is by the statistics of its batch

    def check(step, loss, predict):
        losses.append(loss)
        expected = F.cross_entropy(predict(episode.support.images), episode.support.labels).item()
        assert loss == pytest.approx(expected, abs=1e-4)

    reptile.adapt(episode.support, on_step=check, transductive=transductive)
    assert losses[0] == pytest.approx(math.log(3)) and losses[-1] < losses[0]


def test_cancelled_ends_adapting(reptile):
    def cancel(step, loss, predict):
        if step == 1:
            raise Cancelled

    with pytest.raises(Cancelled):
        reptile.adapt(one_episode().support, on_step=cancel)


def test_transductive_is_another_answer_with_batch_norm_alone(reptile):
    episode = one_episode()
    inductive, transductive = (reptile.adapt(episode.support, transductive=mode)(episode.query.images) for mode in (False, True))
    assert torch.allclose(inductive, transductive) == (reptile.config.network.norm in ("group", "none"))


def test_another_inner_loop_on_the_same_weights(reptile):
    other = reptile.with_settings("found on validation", inner_lr=0.5, inner_steps=7)
    assert {setting.name: setting.value for setting in other.settings()} == {"inner_lr": 0.5, "inner_steps": 7, "views": 1}
    assert {setting.name: setting.value for setting in reptile.settings()} == {"inner_lr": 0.1, "inner_steps": 3, "views": 1}
    assert [setting.source for setting in other.settings()] == ["found on validation", "found on validation", DEFAULT]
    assert {setting.source for setting in reptile.settings()} == {DEFAULT}
    turned = other.with_settings(inner_steps=2)
    assert [setting.source for setting in turned.settings()] == ["found on validation", "set by hand", DEFAULT]
    assert reptile.with_settings() is reptile
    assert all(p is q for p, q in zip(reptile.parameters(), other.parameters(), strict=True))
    with pytest.raises(ValueError, match="finite number above 0"):
        reptile.with_settings(inner_lr=math.nan)
    with pytest.raises(ValueError, match="no setting 'sigma'; it has inner_lr, inner_steps, views"):
        reptile.with_settings(sigma=1)


def test_a_learner_without_settings_says_so():
    learner = NearestPrototype()
    assert learner.with_settings() is learner and learner.settings() == ()
    with pytest.raises(ValueError, match="NearestPrototype has no setting 'inner_lr'; it has none"):
        learner.with_settings(inner_lr=0.1)


def test_every_setting_is_a_field_that_can_be_set_within_its_range(learner):
    for setting in learner.settings():
        assert setting.low <= setting.value <= setting.high and getattr(learner.config, setting.name) == setting.value
        for value in (setting.low, setting.high):
            changed = {s.name: s.value for s in learner.with_settings(**{setting.name: value}).settings()}
            assert changed[setting.name] == value


def test_every_learner_says_of_itself_what_it_does(learner):
    assert len(learner.describe()) > 30


NETWORKS = (Conv4Config(norm="batch", width=16), ResNet12Config(widths=(8, 8, 16, 16), norm="group"), PyramidConfig(size=64))


@pytest.mark.parametrize("name", CONFIGS)
def test_configurations_are_saved_whole(name):
    config_class = CONFIGS[name]
    for network in NETWORKS:
        if network.kind not in config_class.networks:
            with pytest.raises(ValueError, match=f"takes a network .*, not {network.kind}"):
                replace(config_class(), network=network)
            continue
        changed = replace(config_class(), network=network)
        assert config_class.from_dict(json.loads(json.dumps(asdict(changed)))) == changed


# --- Reptile's meta-gradient ---

OPTIMIZERS = {"sgd": torch.optim.SGD, "adam": lambda groups: torch.optim.Adam(groups, betas=(0.0, 0.999))}


def in_double(episodes):
    return [episode.map_images(lambda images: images.double()) for episode in episodes]


def training_tasks(n: int, n_shot: int = 3):
    return in_double(noisy_episodes(n, n_shot=n_shot, n_query=0))


def phi_by_torch_optim(learner: Reptile, support: LabelledImages, head: nn.Linear) -> dict[str, torch.Tensor]:
    """Train a copy of the network on the first image of each class, then on the second, and so on."""
    model, config = Classifier(learner.network, head).train(), learner.config
    groups = [
        {"params": model.network.parameters(), "lr": config.train_inner_lr},
        {"params": model.head.parameters(), "lr": config.train_inner_lr * config.head_lr_scale},
    ]
    optimizer = OPTIMIZERS[config.update_rule](groups)
    n_shot = len(support) // support.n_way
    for shot in range(n_shot):
        rows = [label * n_shot + shot for label in range(support.n_way)]
        optimizer.zero_grad()
        F.cross_entropy(model(support.images[rows]), support.labels[rows]).backward()
        optimizer.step()
    return detached(model.parameters_by_name())


def zero_head(learner: Reptile, n_way: int = 3) -> nn.Linear:
    head = nn.Linear(learner.network.n_features, n_way).double()
    for p in head.parameters():
        nn.init.zeros_(p)
    return head


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(("update_rule", "lr"), [("sgd", 0.1), ("adam", 0.001)])
def test_the_meta_gradient_is_theta_minus_phi(norm, update_rule, lr):
    learner = tiny_reptile(norm, update_rule=update_rule, train_inner_lr=lr).double()
    tasks = training_tasks(1 if norm in ("batch", "running") else 2)  # their statistics go on from task to task
    expected = [phi_by_torch_optim(learner, task.support, zero_head(learner)) for task in tasks]
    learner.accumulate_meta_grad(tasks)
    for name, theta in learner.network.named_parameters():
        mean_phi = torch.stack([phi[name] for phi in expected]).mean(0)
        assert theta.grad.abs().max() > 1e-9
        torch.testing.assert_close(theta.grad, theta.detach() - mean_phi, rtol=1e-6, atol=1e-13)


def test_one_inner_step_of_sgd_is_the_rate_times_the_ordinary_gradient():
    learner = tiny_reptile(train_inner_lr=0.03, train_inner_steps=1, head="learned", head_lr_scale=2.0).double()
    task, model = training_tasks(1, n_shot=1)[0], Classifier(learner.network, learner.head)
    learner.accumulate_meta_grad([task])
    F.cross_entropy(model(task.support.images), task.support.labels).backward()
    for name, p in model.named_parameters():
        assert p.grad.abs().max() > 1e-6
        rate = 0.06 if name.startswith("head.") else 0.03
        torch.testing.assert_close(dict(learner.named_parameters())[name].grad, rate * p.grad, rtol=1e-8, atol=1e-12)


def test_meta_gradients_add_up_to_what_is_there_already():
    learner, tasks = tiny_reptile().double(), training_tasks(2)
    single = []
    for task in tasks:
        learner.zero_grad()
        learner.accumulate_meta_grad([task])
        single.append([p.grad.clone() for p in learner.network.parameters()])
    learner.accumulate_meta_grad([tasks[0]])  # on top of the second task's
    for p, first, second in zip(learner.network.parameters(), *single, strict=True):
        torch.testing.assert_close(p.grad, first + second)


def test_meta_training_leaves_theta_and_reports_the_loss_at_the_last_inner_step():
    learner, task = tiny_reptile().double(), training_tasks(1)[0]
    theta = copy.deepcopy(learner.state_dict())
    loss = learner.accumulate_meta_grad([task])
    assert same_state(theta, learner.state_dict())
    phi = phi_by_torch_optim(learner, replace(task.support, **first_shots(task.support, 2)), zero_head(learner))
    last = replace(task.support, images=task.support.images[2::3], labels=task.support.labels[2::3])
    at_phi = logits_of(learner.network, phi, {}, last.images)
    assert loss == pytest.approx(F.cross_entropy(at_phi, last.labels).item())


def first_shots(support: LabelledImages, n: int) -> dict[str, torch.Tensor]:
    keep = [i for i in range(len(support)) if i % 3 < n]
    return {"images": support.images[keep], "labels": support.labels[keep]}


def test_running_statistics_go_on_from_task_to_task():
    learner = tiny_reptile("running").double()
    norm = learner.network.blocks[0][1]
    before, mean = norm.num_batches_tracked.item(), norm.running_mean.clone()
    learner.accumulate_meta_grad(training_tasks(2))
    assert norm.num_batches_tracked.item() == before + 6 and not torch.equal(mean, norm.running_mean)


def test_training_episodes_have_an_image_of_each_class_for_each_inner_step():
    learner = tiny_reptile(meta_batch_size=2, train_way=4, train_inner_steps=5)
    episodes = learner.training_batches(noisy_images(), torch.Generator().manual_seed(0))
    assert len(episodes) == 2
    assert all(episode.n_way == 4 and len(episode.support) == 20 and len(episode.query) == 0 for episode in episodes)


def test_outer_steps_along_the_meta_gradient_make_adapting_better():
    learner, sampler = tiny_reptile(train_way=5), EpisodeSampler(noisy_images(), 5, 1, 5)
    generator = torch.Generator().manual_seed(0)
    episodes = [sampler.sample(generator) for _ in range(20)]

    def loss() -> float:
        logits, _ = learner.predict_episodes(episodes)
        return F.cross_entropy(logits.flatten(0, 1), torch.arange(5).repeat_interleave(5).repeat(20)).item()

    before, optimizer = loss(), torch.optim.Adam(learner.network.parameters(), lr=0.003)
    for _ in range(60):
        optimizer.zero_grad()
        learner.accumulate_meta_grad(learner.training_batches(sampler.dataset, generator))
        optimizer.step()
    assert loss() < 0.9 * before


# --- learners by distances between embeddings ---


@pytest.fixture(params=METRIC)
def metric(request) -> EmbeddingLearner:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return METRIC[request.param]()


def train_a_little(learner: EmbeddingLearner, n_steps: int, *, begin: bool = True) -> list[float]:
    """Train on noisy_images; the losses before each step."""
    dataset, generator, losses = noisy_images(), torch.Generator().manual_seed(0), []
    if begin:
        learner.begin_training(dataset, generator)
    optimizer = torch.optim.Adam(learner.trainable_parameters(), lr=0.003)
    for _ in range(n_steps):
        optimizer.zero_grad()
        losses.append(learner.accumulate_meta_grad(learner.training_batches(dataset, generator)))
        optimizer.step()
    return losses


@pytest.mark.parametrize(("n_way", "n_shot"), [(2, 1), (5, 3)])
def test_an_evaluation_that_embeds_every_image_once_equals_the_plain_loop(metric, n_way, n_shot):
    sampler, generator = EpisodeSampler(noisy_images(), n_way, n_shot, 4), torch.Generator().manual_seed(0)
    drawn = [sampler.draw(generator) for _ in range(12)]
    for transductive in (False, True):
        once, loop = (
            [torch.cat(parts) for parts in zip(*each.predict_drawn(metric, sampler, drawn, transductive=transductive), strict=True)]
            for each in (type(metric), Learner)
        )
        torch.testing.assert_close(once, loop, rtol=1e-5, atol=1e-5)


def test_classes_may_have_different_numbers_of_images(metric):
    episode = one_episode(n_shot=3)
    keep = torch.tensor([0, 5, 3, 8, 7, 6])  # one, two and three images, in no order
    support = LabelledImages(episode.support.images[keep], episode.support.labels[keep], episode.support.class_names)
    tripled = torch.tensor([0] * 6 + [5, 3] * 3 + [8, 7, 6] * 2)  # the same means
    evened = LabelledImages(episode.support.images[tripled], episode.support.labels[tripled], episode.support.class_names)
    metric = metric.with_settings(inner_steps=0) if isinstance(metric, RepMet) else metric
    logits, expected = (metric.adapt(each)(episode.query.images) for each in (support, evened))
    torch.testing.assert_close(logits, expected, **CLOSE)


def test_a_class_without_an_image_is_an_error_that_names_it(metric):
    support = one_episode().support
    keep = support.labels != 1
    with pytest.raises(ValueError, match=rf"'{support.class_names[1]}' has none"):
        metric.adapt(LabelledImages(support.images[keep], support.labels[keep], support.class_names))


@pytest.mark.parametrize("name", ["protonet", "magnet"])  # the others have a predictor of their own, see their tests
def test_the_predictor_of_a_data_set_is_adapted_to_all_its_images(name):
    learner, dataset = METRIC[name](), noisy_images(4)
    images = to_float(dataset.images)
    with torch.no_grad():
        features = learner.embed(images)
        means = features.view(4, 8, -1).mean(1)
        expected = -(features.unsqueeze(1) - means).square().sum(-1)
    logits = learner.predictor_of(dataset)(images)
    if name == "magnet":  # of the L nearest, under a variance of one
        expected = expected / 2
        near = expected >= expected.topk(3, dim=1).values[:, -1:]
        logits, expected = logits[near], expected[near]
    torch.testing.assert_close(logits, expected, **CLOSE)


def test_outer_steps_along_the_gradient_make_the_loss_smaller(metric):
    losses = train_a_little(metric, 25)
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])


def test_predictors_keep_their_answers_while_the_learner_is_trained_on(metric):
    train_a_little(metric, 1)
    episode = one_episode()
    predictors = [metric.adapt(episode.support), metric.predictor_of(noisy_images())]
    before = [predict(episode.query.images) for predict in predictors]
    train_a_little(metric, 2, begin=False)
    for predict, answer in zip(predictors, before, strict=True):
        assert torch.equal(predict(episode.query.images), answer)


def test_a_checkpoint_has_what_predictions_need_and_no_more(metric, tmp_path):
    train_a_little(metric, 2)
    save_checkpoint(tmp_path / "it", metric, training={}, results=[], card="")
    loaded, episode = load_checkpoint(tmp_path / "it").learner, one_episode()
    assert type(loaded) is type(metric) and loaded.config == metric.config
    assert not [name for name in loaded.state_dict() if "training_" in name]
    assert torch.equal(loaded.adapt(episode.support)(episode.query.images), metric.adapt(episode.support)(episode.query.images))


@pytest.mark.usefixtures("own_cache")
@pytest.mark.parametrize("stop_at", [2, 5])
@pytest.mark.parametrize("name", ["magnet", "repmet-1", "softmax"])  # those that train more than the network
def test_an_interrupted_run_goes_on_to_the_same_weights(tmp_path, name, stop_at):
    settings = TrainConfig(
        source=TaskSource("characters_by_alphabet", rotations=False),
        val_way=3,
        val_query=2,
        outer_steps=7,
        evaluate_every=4,
        evaluation_episodes=3,
    )
    config = replace(METRIC[name]().config, network=replace(NETWORK, size=28))

    def cancel(run, _loss):
        if run.step == stop_at:
            raise Cancelled

    for folder, callbacks in (("whole", [None]), ("parts", [cancel, None])):
        for on_step in callbacks:
            finished = train(open_run(tmp_path / folder, config, settings, resume=True), on_step=on_step)
            assert finished == (on_step is None)
    whole, parts = ({file: load_file(tmp_path / folder / file) for file in (LAST, BEST)} for folder in ("whole", "parts"))
    assert same_state(whole[LAST], parts[LAST]) and same_state(whole[BEST], parts[BEST])
    assert any("training_" in tensor for tensor in whole[LAST]) and not any("training_" in tensor for tensor in whole[BEST])


# --- the baseline ---


def test_nearest_prototype_equals_a_loop_by_hand():
    episode = one_episode(n_shot=3)
    support, labels = episode.support.images.flatten(1).double().numpy(), episode.support.labels.numpy()
    logits = NearestPrototype().adapt(episode.support)(episode.query.images)
    for query, row in zip(episode.query.images.flatten(1).double().numpy(), logits, strict=True):
        distances = [((query - support[labels == label].mean(axis=0)) ** 2).sum() for label in range(3)]
        np.testing.assert_allclose(row.numpy(), -np.array(distances), rtol=1e-4)


def test_nearest_prototype_measures_in_given_features():
    episode = one_episode()
    features = nn.Sequential(nn.AvgPool2d(6), nn.Flatten())
    logits = NearestPrototype(features).adapt(episode.support)(episode.query.images)
    pooled = episode.map_images(nn.AvgPool2d(6))
    torch.testing.assert_close(logits, NearestPrototype().adapt(pooled.support)(pooled.query.images))


def test_the_baseline_is_no_learner_that_can_be_trained():
    assert not isinstance(NearestPrototype(), TrainableLearner)
