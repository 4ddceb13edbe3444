"""What every VectorIndex promises, as tests; a test module makes them its own for each index by `make`."""

import itertools
import uuid
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from router_svc.bank import Entry, Group, MemoryIndex, VectorIndex
from services.deadline import Deadline
from services.errors import DeadlineExceeded, NotReady

DIM = 8
ARSON, LOOK_ALIKE, SMOKING = Group("arson", False), Group("arson", True), Group("smoking", False)
GROUPS = (ARSON, LOOK_ALIKE, SMOKING)

Make = Callable[[str], VectorIndex]
"""An index of an encoder; called again, another one on the same data."""


def new_encoder() -> str:
    return uuid.uuid4().hex[:16]


def sid(number: int) -> str:
    return f"{number:032x}"


def unit(rows: int, rng: np.random.Generator | None = None) -> np.ndarray:
    vectors = (rng or np.random.default_rng(5)).normal(size=(rows, DIM)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def near(vector: np.ndarray, *cosines: float) -> np.ndarray:
    """Vectors with these cosines to a vector of length 1."""
    other = unit(1, np.random.default_rng(99))[0]
    across = other - (other @ vector) * vector
    across /= np.linalg.norm(across)
    return np.array([c * vector + np.sqrt(1 - c * c) * across for c in cosines], np.float32)


async def opened(make: Make, encoder: str | None = None) -> VectorIndex:
    index = make(encoder or new_encoder())
    await index.open()
    return index


class IndexPromises:
    """Of an index in one process; the module that inherits them has a fixture `make`."""

    async def test_the_most_similar_vectors_come_first_with_their_cosines(self, make: Make) -> None:
        index = await opened(make)
        frames = unit(2)
        await index.put([Entry(sid(1), ARSON, near(frames[0], 0.5, 0.9)), Entry(sid(2), ARSON, near(frames[0], 0.7))])
        found = (await index.search(frames, [ARSON], 10))[ARSON]
        assert [hit.seed_id for hit in found[0]] == [sid(1), sid(2), sid(1)]
        assert [hit.similarity for hit in found[0]] == pytest.approx([0.9, 0.7, 0.5], abs=1e-5)
        assert len(found) == 2
        assert [hit.similarity for hit in found[1]] == sorted((hit.similarity for hit in found[1]), reverse=True)
        await index.close()

    async def test_no_group_crowds_out_another(self, make: Make) -> None:
        index = await opened(make)
        frame = unit(1)
        for number, group in enumerate((LOOK_ALIKE, SMOKING)):
            await index.put([Entry(sid(10 * number + i), group, near(frame[0], 0.99, 0.98)) for i in range(5)])
        await index.put([Entry(sid(100), ARSON, near(frame[0], 0.1, 0.2))])
        found = await index.search(frame, GROUPS, 2)
        assert [hit.seed_id for hit in found[ARSON][0]] == [sid(100), sid(100)]
        assert [hit.similarity for hit in found[LOOK_ALIKE][0]] == pytest.approx([0.99, 0.99], abs=1e-5)
        assert {hit.seed_id for hit in found[SMOKING][0]} <= {sid(10 + i) for i in range(5)}
        await index.close()

    async def test_a_frame_has_at_most_so_many_hits(self, make: Make) -> None:
        index = await opened(make)
        await index.put([Entry(sid(i), ARSON, unit(3)) for i in range(4)])
        for limit, expected in ((1, 1), (5, 5), (12, 12), (50, 12)):
            found = (await index.search(unit(2), [ARSON], limit))[ARSON]
            assert [len(hits) for hits in found] == [expected, expected]
        await index.close()

    async def test_an_excluded_seed_is_as_if_it_were_not_there(self, make: Make) -> None:
        index = await opened(make)
        frame = unit(1)
        await index.put([Entry(sid(i), ARSON, near(frame[0], 0.9 - i / 10)) for i in range(5)])
        exclude = {ARSON: {sid(0), sid(2), sid(77)}, SMOKING: {sid(1)}}
        found = (await index.search(frame, [ARSON], 3, exclude=exclude))[ARSON]
        assert [hit.seed_id for hit in found[0]] == [sid(1), sid(3), sid(4)]
        none = await index.search(frame, [ARSON], 3, exclude={ARSON: [sid(i) for i in range(5)]})
        assert list(none.get(ARSON, [[]])[0]) == []
        await index.close()

    async def test_what_is_put_again_replaces_what_was_there(self, make: Make) -> None:
        index = await opened(make)
        frame = unit(1)
        await index.put(
            [Entry(sid(1), ARSON, near(frame[0], 0.9, 0.8, 0.7)), Entry(sid(2), ARSON, near(frame[0], 0.6))]
        )
        await index.put([Entry(sid(1), ARSON, near(frame[0], 0.1)), Entry(sid(1), ARSON, near(frame[0], 0.3, 0.2))])
        found = (await index.search(frame, [ARSON], 9))[ARSON][0]
        assert [hit.seed_id for hit in found] == [sid(2), sid(1), sid(1)]
        assert [hit.similarity for hit in found] == pytest.approx([0.6, 0.3, 0.2], abs=1e-5)
        await index.put([Entry(sid(1), SMOKING, near(frame[0], 0.4))])
        moved = await index.search(frame, [ARSON, SMOKING], 9)
        assert [hit.seed_id for hit in moved[ARSON][0]] == [sid(2)]
        assert [hit.seed_id for hit in moved[SMOKING][0]] == [sid(1)]
        await index.close()

    async def test_what_is_removed_is_not_found(self, make: Make) -> None:
        index = await opened(make)
        await index.put([Entry(sid(i), GROUPS[i], unit(2)) for i in range(3)])
        await index.remove([sid(0), sid(2), sid(55)])
        await index.remove([])
        assert await index.seed_ids() == {sid(1)}
        found = await index.search(unit(1), GROUPS, 5)
        assert {group for group in GROUPS if found.get(group, [[]])[0]} == {LOOK_ALIKE}
        await index.put([Entry(sid(0), ARSON, unit(1))])
        assert len((await index.search(unit(1), [ARSON], 5))[ARSON][0]) == 1
        await index.close()

    async def test_an_empty_index_finds_nothing(self, make: Make) -> None:
        index = await opened(make)
        await index.put([])
        found = await index.search(unit(2), GROUPS, 5)
        assert all(not hits for group in found for hits in found[group])
        assert await index.search(unit(2), [], 5) == {}
        assert await index.seed_ids() == frozenset()
        await index.ping()
        await index.make_live()
        await index.close()

    async def test_many_seeds_in_one_call_are_all_there(self, make: Make) -> None:
        index = await opened(make)
        vectors = unit(300)
        await index.put([Entry(sid(i), GROUPS[i % 3], vectors[2 * i : 2 * i + 2]) for i in range(150)])
        assert await index.seed_ids() == {sid(i) for i in range(150)}
        found = (await index.search(vectors[148 * 2 : 148 * 2 + 1], [GROUPS[148 % 3]], 1))[GROUPS[148 % 3]]
        assert found[0][0].seed_id == sid(148)
        await index.remove([sid(i) for i in range(150)])
        assert await index.seed_ids() == frozenset()
        await index.close()

    @given(data=st.data())
    @settings(
        max_examples=8,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.differing_executors],
    )
    async def test_it_agrees_with_the_oracle(self, make: Make, data: st.DataObject) -> None:
        """Whatever is put, put again and removed; similarities are all different, so that there is one right order."""
        index, oracle = await opened(make), MemoryIndex("oracle", DIM)
        rng = np.random.default_rng(data.draw(st.integers(0, 10_000)))
        seeds = st.integers(0, 7)
        for _ in range(data.draw(st.integers(1, 5))):
            chosen = data.draw(st.lists(seeds, max_size=6))
            if data.draw(st.booleans()) or not chosen:
                entries = [Entry(sid(i), GROUPS[i % 3], unit(int(rng.integers(1, 5)), rng)) for i in chosen]
                for each in (index, oracle):
                    await each.put(entries)
            else:
                for each in (index, oracle):
                    await each.remove([sid(i) for i in chosen])
        frames, limit = unit(3, rng), data.draw(st.integers(1, 9))
        exclude = {group: {sid(i) for i in data.draw(st.sets(seeds, max_size=4))} for group in GROUPS}
        ours = await index.search(frames, GROUPS, limit, exclude=exclude)
        theirs = await oracle.search(frames, GROUPS, limit, exclude=exclude)
        assert await index.seed_ids() == await oracle.seed_ids()
        for group, frame in itertools.product(GROUPS, range(3)):
            expected = theirs[group][frame]
            found = ours[group][frame] if group in ours else []
            assert [hit.seed_id for hit in found] == [hit.seed_id for hit in expected]
            assert [hit.similarity for hit in found] == pytest.approx([hit.similarity for hit in expected], abs=1e-5)
        await index.close()


class StoredPromises(IndexPromises):
    """Of an index that outlives its process, or its connection."""

    async def test_it_holds_the_same_when_it_is_opened_again(self, make: Make) -> None:
        encoder = new_encoder()
        first = await opened(make, encoder)
        await first.put([Entry(sid(i), GROUPS[i % 3], unit(3)) for i in range(6)])
        await first.remove([sid(1)])
        before = await first.search(unit(2), GROUPS, 4)
        await first.close()
        second = await opened(make, encoder)
        await second.open()
        assert await second.seed_ids() == {sid(i) for i in (0, 2, 3, 4, 5)}
        after = await second.search(unit(2), GROUPS, 4)
        for group, frame in itertools.product(GROUPS, range(2)):
            expected = [hit.similarity for hit in before[group][frame]]
            assert [hit.similarity for hit in after[group][frame]] == pytest.approx(expected, abs=1e-5)
        await second.close()

    async def test_encoders_see_nothing_of_one_another(self, make: Make) -> None:
        first, second = await opened(make), await opened(make)
        await first.put([Entry(sid(1), ARSON, unit(2))])
        await second.make_live()
        assert await second.seed_ids() == frozenset()
        assert await first.seed_ids() == {sid(1)}
        await first.close()
        await second.close()

    @pytest.mark.parametrize("closed", [False, True])
    async def test_it_is_not_ready_before_it_is_opened_and_after_it_is_closed(self, make: Make, closed: bool) -> None:
        index = make(new_encoder())
        if closed:
            await index.open()
            await index.close()
        calls = [
            lambda: index.put([Entry(sid(1), ARSON, unit(1))]),
            lambda: index.remove([sid(1)]),
            lambda: index.search(unit(1), [ARSON], 1),
            index.seed_ids,
            index.ping,
            index.make_live,
            *([index.open] if closed else []),
        ]
        for call in calls:
            with pytest.raises(NotReady):
                await call()
        await index.close()

    async def test_nothing_is_searched_for_a_caller_whose_time_is_up(self, make: Make) -> None:
        index = await opened(make)
        await index.put([Entry(sid(1), ARSON, unit(1))])
        with pytest.raises(DeadlineExceeded):
            await index.search(unit(1), [ARSON], 1, deadline=Deadline.after(0.0))
        assert (await index.search(unit(1), [ARSON], 1, deadline=Deadline.after(20.0)))[ARSON][0]
        await index.close()
