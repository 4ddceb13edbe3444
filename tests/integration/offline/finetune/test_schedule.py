"""Which samples a step sees, and at what rate."""

import pytest

from offline.finetune.recipe import differences, phases
from offline.finetune.schedule import batch_at, check_batch, epoch_order, rate_factor, share, step_seed, steps_of


def test_an_epoch_shows_every_sample() -> None:
    order = epoch_order(10, seed=1, phase=0, epoch=0)
    assert sorted(order) == list(range(10))
    assert order == epoch_order(10, seed=1, phase=0, epoch=0)
    others = [epoch_order(10, **where) for where in (
        {"seed": 2, "phase": 0, "epoch": 0}, {"seed": 1, "phase": 1, "epoch": 0}, {"seed": 1, "phase": 0, "epoch": 1}
    )]  # fmt: skip
    assert order not in others
    assert steps_of(10, 4) == 3
    shown = [index for step in range(3) for index in batch_at(order, step, 4)]
    assert shown == [*order, *order[:2]]


@pytest.mark.parametrize(("world", "micro_batch"), [(1, 1), (1, 8), (2, 1), (2, 3), (4, 2)])
def test_a_batch_is_the_same_however_it_is_shared(world: int, micro_batch: int) -> None:
    batch = list(range(20, 28))
    pieces = [share(batch, rank=rank, world=world, micro_batch=micro_batch) for rank in range(world)]
    assert sorted(index for own in pieces for piece in own for index in piece) == batch
    assert all(len(piece) <= micro_batch for own in pieces for piece in own)
    assert len({len(own) for own in pieces}) == 1


def test_a_batch_that_cannot_be_shared_is_refused() -> None:
    check_batch(8, 4)
    with pytest.raises(ValueError, match="multiple of 3"):
        check_batch(8, 3)


def test_the_rate_rises_and_falls() -> None:
    rates = [rate_factor(step, 100, 0.1) for step in range(100)]
    assert rates[:10] == pytest.approx([0.1 * (i + 1) for i in range(10)])
    assert rates[10] == 1.0
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[55] == pytest.approx(0.5)
    assert 0 < rates[99] < 0.001
    assert rate_factor(0, 1, 0.0) == 1.0


def test_steps_and_processes_have_seeds_of_their_own() -> None:
    seeds = {step_seed(0, phase, step, rank) for phase in range(2) for step in range(5) for rank in range(2)}
    assert len(seeds) == 20


def test_phases_are_the_papers() -> None:
    assert [phase.parts for phase in phases("multi_task")] == [("d1", "d2", "d3")]
    assert [phase.parts for phase in phases("phased")] == [("d1", "d2"), ("d3",)]


def test_differences_name_what_differs() -> None:
    before = {"recipe": {"epochs": 3, "lora": {"rank": 8}}, "model": "a"}
    now = {"recipe": {"epochs": 2, "lora": None}, "model": "a"}
    assert differences(before, before) == []
    assert differences(before, now) == [
        "recipe.epochs: 3 before, 2 now",
        "recipe.lora: {'rank': 8} before, None now",
    ]
