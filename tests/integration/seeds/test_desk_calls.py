"""Seeds that operators list, change, remove, copy and look at by way of the gateway, and who may."""

from pathlib import Path

import httpx
import pytest

from router_svc.bank.protocol import seed_id_of
from services.api_keys import digest_of, new_key
from services.clients import GatewayClient
from services.contracts import BankStatus, NewSeed, SeedChange, SeedCopy, SeedFilter, SeedPage
from services.deadline import Deadline
from services.errors import Overloaded
from tests.integration.seeds.conftest import NOWHERE, Before, Desk, clip, refused, seed_of

OPERATOR, BOSS, BACKEND = new_key(), new_key(), new_key()


async def test_seeds_are_listed_by_filter_and_page(desk: Desk, clips: dict[str, Path]) -> None:
    made = {(await desk.seed(clips["blue"], clip(0.1 * n, "smoking", kind="feedback"))).id for n in range(3)}
    found: list[str] = []
    cursor = ""
    while True:
        query = f"issue=smoking&kind=feedback&state=active&limit=2{cursor}"
        page = SeedPage.model_validate_json((await desk.client.get(f"/v1/seeds?{query}")).content)
        found += [seed.id for seed in page.seeds]
        if page.next_cursor is None:
            break
        cursor = f"&cursor={page.next_cursor}"
    assert (set(found), len(found)) == (made, 3)


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("limit=0", "query/limit: Input should be greater than or equal to 1"),
        ("limit=201", "query/limit"),
        ("limit=two", "query/limit"),
        ("state=gone", "query/state"),
        ("issue=", "query/issue"),
        ("colour=red", "query/colour: Extra inputs are not permitted"),
        ("kind=text&kind=golden", "query/kind: given more than once"),
        (f"cursor={'x' * 257}", "query/cursor"),
    ],
)
async def test_a_filter_that_is_none_is_refused(desk: Desk, query: str, says: str) -> None:
    assert says in refused(await desk.client.get(f"/v1/seeds?{query}"), 400, "malformed_request")
    assert desk.network.asked == []


async def test_two_operators_cannot_overwrite_each_other(desk: Desk, clips: dict[str, Path]) -> None:
    seed = await desk.seed(clips["red"], clip(0.75))
    path = f"/v1/seeds/{seed.id}"
    refused(await desk.client.patch(path, json={"share": 0.5}), 428, "precondition_required")
    mine = {"If-Match": f'"{seed.version}"'}
    changed = seed_of(await desk.client.patch(path, json={"share": 0.5}, headers=mine))
    assert (changed.share, changed.version, changed.updated_by) == (0.5, seed.version + 1, "local")
    refused(await desk.client.patch(path, json={"share": 0.1}, headers=mine), 412, "precondition_failed")
    any_version = {"If-Match": "*"}
    paused = seed_of(await desk.client.patch(path, json={"state": "paused"}, headers=any_version))
    assert (paused.state, paused.share) == ("paused", 0.5)
    refused(await desk.client.patch(path, json={}, headers=any_version), 422, "invalid_payload")
    refused(await desk.client.patch(path, json={"share": "1"}, headers=any_version), 422, "invalid_payload")
    refused(await desk.client.patch(path, content=b"{}", headers=any_version), 400, "malformed_request")
    refused(await desk.client.patch(path, json={"share": 1}, headers={"If-Match": "3"}), 400, "malformed_request")
    nowhere = await desk.client.patch(f"/v1/seeds/{NOWHERE}", json={"share": 0.5}, headers=any_version)
    refused(nowhere, 404, "not_found")


async def test_a_removed_seed_leaves_a_tombstone(desk: Desk, clips: dict[str, Path]) -> None:
    asked = clip(0.875)
    seed = await desk.seed(clips["red"], asked)
    path, mine = f"/v1/seeds/{seed.id}", {"If-Match": f'"{seed.version}"'}
    refused(await desk.client.delete(path, params={"why": "wrong"}), 428, "precondition_required")
    for query in ("", "why=", "why=%20", "why=a&why=b", f"why={'x' * 1_001}"):
        refused(await desk.client.delete(f"{path}?{query}", headers=mine), 400, "malformed_request")
    gone = seed_of(await desk.client.delete(path, params={"why": "wrong"}, headers=mine))
    assert gone.removed is not None
    assert (gone.state, gone.removed.by, gone.removed.why) == ("removed", "local", "wrong")
    refused(await desk.upload(clips["red"], asked), 409, "conflict")
    assert seed_of(await desk.client.get(path)).state == "removed"


async def test_a_frame_and_a_copy_are_given_and_a_copy_can_be_restored(desk: Desk, clips: dict[str, Path]) -> None:
    seed = await desk.seed(clips["red"], clip(0.625))
    path = f"/v1/seeds/{seed.id}"
    frame = await desk.client.get(f"{path}/frames/0")
    assert (frame.status_code, frame.headers["Content-Type"]) == (200, "image/jpeg")
    assert frame.content.startswith(b"\xff\xd8")
    refused(await desk.client.get(f"{path}/frames/63"), 404, "not_found")
    refused(await desk.client.get(f"{path}/frames/64"), 400, "malformed_request")
    copied = await desk.client.get(f"{path}/copy")
    copy = SeedCopy.model_validate_json(copied.content)
    assert (copy.seed, copy.frames[0]) == (seed, frame.content)
    headers = {"Content-Type": "application/json"}
    restored = await desk.client.post("/v1/seeds/restore", content=copied.content, headers=headers)
    assert seed_of(restored).id == seed.id
    refused(await desk.client.post("/v1/seeds/restore", json={}), 422, "invalid_payload")


async def test_a_copy_of_an_issue_that_the_policy_does_not_have_is_refused_unless_it_is_a_tombstone(
    desk: Desk, clips: dict[str, Path]
) -> None:
    seed = await desk.seed(clips["green"], clip(0.375))
    copy = (await desk.client.get(f"/v1/seeds/{seed.id}/copy")).json()
    seed_id = seed_id_of(seed.sha256, "theft", seed.kind, seed.start_s, seed.end_s)
    copy["seed"] |= {"issue": "theft", "id": seed_id}
    desk.network.asked.clear()
    said = refused(await desk.client.post("/v1/seeds/restore", json=copy), 422, "unknown_issue")
    assert "the policy knows: arson, smoking" in said
    assert desk.network.asked == []
    removal = {"at": copy["seed"]["created_at"], "by": "ops", "why": "wrong"}
    tomb = {"seed": copy["seed"] | {"state": "removed", "removed": removal}}
    restored = seed_of(await desk.client.post("/v1/seeds/restore", json=tomb), 201)
    assert (restored.id, restored.issue, restored.state) == (seed_id, "theft", "removed")


async def test_the_bank_can_be_looked_at_and_its_encoder_changed(desk: Desk, clips: dict[str, Path]) -> None:
    await desk.seed(clips["red"])
    status = BankStatus.model_validate_json((await desk.client.get("/v1/bank")).content)
    assert status.seeds["arson"] >= 1
    switched = await desk.client.post("/v1/bank/switch", json={"encoder": "f" * 16})
    assert "no vectors of this encoder" in refused(switched, 409, "conflict")
    refused(await desk.client.post("/v1/bank/switch", json={"encoder": "other"}), 422, "invalid_payload")
    refused(await desk.client.post("/v1/bank/reindex", json={"model": "x"}), 422, "invalid_payload")
    begun = await desk.client.post("/v1/bank/reindex", json={})
    assert begun.status_code in (202, 409), begun.text


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("DELETE", "/v1/seeds", "GET, POST"),
        ("POST", f"/v1/seeds/{NOWHERE}", "DELETE, GET, PATCH"),
        ("GET", "/v1/seeds/restore", "POST"),
        ("DELETE", "/v1/seeds/restore", "POST"),
        ("POST", f"/v1/seeds/{NOWHERE}/frames/0", "GET"),
        ("GET", "/v1/bank/reindex", "POST"),
    ],
)
async def test_other_methods_are_refused_with_those_that_there_are(
    desk: Desk, method: str, path: str, allow: str
) -> None:
    response = await desk.client.request(method, path)
    refused(response, 405, "method_not_allowed")
    assert response.headers["Allow"] == allow


@pytest.mark.parametrize(
    "path", ["/v1/seeds/nothing", f"/v1/seeds/{'F' * 32}", f"/v1/seeds/{NOWHERE}%0A", "/v1/seeds/"]
)
async def test_what_is_no_id_is_not_found(desk: Desk, path: str) -> None:
    refused(await desk.client.get(path), 404, "not_found")
    assert desk.network.asked == []


async def test_a_router_that_cannot_be_asked_is_told(desk: Desk, clips: dict[str, Path]) -> None:
    desk.network.answer = httpx.ConnectError("connection refused by 10.0.0.1")
    for response in (await desk.client.get("/v1/bank"), await desk.upload(clips["red"])):
        assert "10.0.0.1" not in refused(response, 503, "router_unavailable")
    busy = Overloaded("All places are taken.", retry_after_s=7).problem("r")
    body, headers = busy.model_dump_json(), {"Content-Type": "application/problem+json", "Retry-After": "7"}
    desk.network.answer = httpx.Response(429, content=body, headers=headers)
    response = await desk.client.get("/v1/seeds")
    refused(response, 429, "overloaded")
    assert response.headers["Retry-After"] == "7"


async def test_a_token_that_the_router_does_not_take_is_no_fault_of_the_operator(before: Before) -> None:
    async with before(router_token="wrong") as desk:
        said = refused(await desk.client.get("/v1/seeds"), 503, "router_unavailable")
        assert "`unauthorized` to the gateway" in said


async def test_a_deadline_travels_and_ends_the_call(desk: Desk, clips: dict[str, Path]) -> None:
    await desk.client.get("/v1/bank", headers={"Winnow-Deadline-Ms": "5000"})
    assert 0 < int(desk.network.asked[0].headers["Winnow-Deadline-Ms"]) <= 5_000
    refused(await desk.client.get("/v1/bank", headers={"Winnow-Deadline-Ms": "0"}), 504, "deadline_exceeded")
    late = await desk.upload(clips["red"], **{"Winnow-Deadline-Ms": "0"})
    refused(late, 504, "deadline_exceeded")
    refused(await desk.upload(clips["red"], **{"Winnow-Deadline-Ms": "soon"}), 400, "malformed_request")
    assert desk.spooled() == []


async def test_keys_say_who_may_do_what_and_who_did_it(before: Before, clips: dict[str, Path], tmp_path: Path) -> None:
    keys = tmp_path / "keys.yaml"
    lines = (("anna", OPERATOR, "seeds"), ("boss", BOSS, "seeds, admin"), ("backend", BACKEND, "decide, read"))
    keys.write_text(
        "".join(f'- {{id: {name}, sha256: "{digest_of(key)}", scopes: [{scopes}]}}\n' for name, key, scopes in lines),
        encoding="utf-8",
    )
    async with before(api_keys_path=keys) as desk:

        async def status(method: str, path: str, key: str) -> int:
            headers = {"Authorization": f"Bearer {key}"}
            return (await desk.client.request(method, path, headers=headers, json={})).status_code

        made = await desk.upload(clips["green"], clip(0.25), Authorization=f"Bearer {OPERATOR}")
        seed = seed_of(made, 201)
        assert seed.created_by == "anna"
        change = {"Authorization": f"Bearer {BOSS}", "If-Match": "*", "Winnow-Actor": "anna"}
        changed = await desk.client.patch(f"/v1/seeds/{seed.id}", json={"note": "good"}, headers=change)
        assert seed_of(changed).updated_by == "boss"
        one = f"/v1/seeds/{seed.id}"
        calls = [
            ("POST", "/v1/seeds"), ("GET", "/v1/seeds"), ("POST", "/v1/seeds/restore"), ("GET", one), ("PATCH", one),
            ("DELETE", one), ("GET", f"{one}/frames/0"), ("GET", f"{one}/copy"), ("GET", "/v1/bank"),
        ]  # fmt: skip
        for method, path in calls:
            assert await status(method, path, BACKEND) == 403, (method, path)
            assert await status(method, path, OPERATOR) != 403, (method, path)
        for path in ("/v1/bank/reindex", "/v1/bank/switch"):
            assert await status("POST", path, OPERATOR) == 403
            assert await status("POST", path, BOSS) != 403


async def test_the_client_of_the_gateway_speaks_all_of_it(desk: Desk, clips: dict[str, Path]) -> None:
    transport = desk.client._transport
    soon = Deadline.after(30)
    async with GatewayClient("http://localhost", transport=transport) as client:
        seeds = client.seeds
        seed, new = await seeds.add(clips["green"], NewSeed(issue="smoking", start_s=0.5), soon)
        assert new
        assert [each.id for each in (await seeds.page(SeedFilter(limit=1), soon)).seeds] == [seed.id]
        seed = await seeds.change(seed.id, SeedChange(note="né\0w"), soon, version=seed.version)
        assert await seeds.get(seed.id, soon) == seed
        assert len(await seeds.frame(seed.id, 0, soon)) > 100
        assert (await seeds.restore(await seeds.copy(seed.id, soon), soon))[1] is False
        assert (await seeds.remove(seed.id, "a & b = ç", soon, version=None)).removed is not None
        assert (await seeds.bank(soon)).vectors > 0


async def test_the_document_says_what_is_needed(desk: Desk) -> None:
    paths = (await desk.client.get("/openapi.json")).json()["paths"]
    one = paths["/v1/seeds/{seed_id}"]
    for method in ("patch", "delete"):
        match = next(each for each in one[method]["parameters"] if each["name"] == "If-Match")
        assert match["required"]
        assert {"404", "409", "412", "428"} <= set(one[method]["responses"])
    assert one["get"]["responses"]["200"]["headers"]["ETag"]["required"]
    parameters = {each["name"]: each for each in paths["/v1/seeds"]["get"]["parameters"]}
    assert (parameters["limit"]["schema"]["minimum"], parameters["limit"]["schema"]["maximum"]) == (1, 200)
    assert {"issue", "kind", "state", "cursor", "limit", "Winnow-Deadline-Ms"} == set(parameters)
    bodies = paths["/v1/seeds"]["post"]["requestBody"]["content"]
    sources = [set(each["required"]) for each in bodies["application/json"]["schema"]["oneOf"]]
    assert sources == [{"issue", "kind", "text"}, {"issue", "url"}, {"issue", "decision_id"}]
    part = bodies["multipart/form-data"]["schema"]["properties"]["request"]["properties"]
    assert [part[name] for name in ("text", "url", "decision_id")] == [{"type": "null"}] * 3
    assert set(paths["/v1/seeds/{seed_id}/frames/{index}"]["get"]["responses"]["200"]["content"]) == {"image/jpeg"}
