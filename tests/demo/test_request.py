"""What a panel is asked for, and how much of it a data set can serve."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from synthetic import numbered_images

from fewshot_kit.demo.request import Limits, Request, title
from fewshot_kit.learners.settings import CHOSEN, epochs, learning_rate

REQUEST = Request("some", 3, 1, 1, 0, settings=(learning_rate(0.02, "the card"), epochs(10, "the card")))
requests = st.builds(
    replace,
    st.just(REQUEST),
    dataset=st.sampled_from(["some", "other"]),
    n_way=st.integers(2, 12),
    n_shot=st.integers(1, 12),
    n_query=st.integers(0, 12),
)
sets = st.lists(st.integers(1, 9), min_size=2, max_size=6).map(lambda counts: numbered_images(tuple(counts)))


@given(asked=requests, before=st.none() | requests, images=sets, max_way=st.none() | st.integers(2, 4))
def test_what_is_fitted_can_be_served_and_what_can_be_served_is_left_alone(asked, before, images, max_way):
    limits = Limits.of(images, max_way)
    request, notes = limits.fit(asked, before)
    assert 2 <= request.n_way <= min(len(images), max_way or 9) and request.n_shot >= 1 and request.n_query >= 0
    assert request.n_shot + request.n_query <= min(images.counts)
    assert request.n_way == min(asked.n_way, limits.n_way) and request.n_shot <= asked.n_shot and request.n_query <= asked.n_query
    lowered = [name for name in ("n_way", "n_shot", "n_query") if getattr(request, name) != getattr(asked, name)]
    assert len(notes) == len(lowered) and limits.fit(request, before)[0] == request
    if asked.n_shot + asked.n_query <= min(images.counts):
        assert (request.n_shot, request.n_query) == (asked.n_shot, asked.n_query)


def test_classes_taken_by_hand_stay_with_another_number_of_pictures_only():
    taken = REQUEST.changed(n_way=2, class_ids=(5, 1))
    assert taken.class_ids == taken.changed(n_shot=4, n_query=0).class_ids == (5, 1)
    for change in ({"dataset": "other"}, {"n_way": 3}, {"seed": 9}, {"opened": 1}):
        assert taken.changed(**change).class_ids is None
    assert taken.changed(n_way=2, seed=0) == taken


def test_what_was_turned_by_hand_stays_and_the_rest_follows_the_best_known():
    turned = REQUEST.with_value("inner_lr", 0.5)
    followed = turned.with_defaults((learning_rate(0.01, "the card"), epochs(3, "the card")))
    assert followed.values() == {"inner_lr": 0.5, "inner_steps": 3} and followed.settings[0].source == CHOSEN
    assert REQUEST.with_value("inner_steps", 10) is REQUEST, "nothing was turned"
    assert REQUEST.with_value("inner_lr", 0.1122018454301963).values()["inner_lr"] == 0.1122
    exact = replace(REQUEST, settings=(learning_rate(0.015625, "the card"),))
    assert exact.with_value("inner_lr", 0.015625) is exact


def test_a_folder_is_called_by_its_last_part():
    assert title("folder:/home/ann/kites/") == "own folder 'kites'" and title("omniglot") == "omniglot"
