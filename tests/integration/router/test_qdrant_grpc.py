"""Every call of the index can be said over gRPC: a server with Qdrant's own services, which answers as if empty."""

from collections.abc import Iterator
from concurrent import futures

import grpc as transport
import pytest
from google.protobuf.message import Message
from pydantic import SecretStr
from qdrant_client import grpc

from router_svc.bank import Entry, Group
from router_svc.bank.qdrant import QdrantIndex
from tests.unit.router.index_promises import ARSON, DIM, sid, unit

ENCODER = "0123456789abcdef"


class Heard(transport.GenericRpcHandler):
    """Keeps what it was asked, and answers with what the call in question answers, empty; every query finds nothing."""

    def __init__(self) -> None:
        self.calls: dict[str, Message] = {}
        self.keys: set[str] = set()

    def service(self, details: transport.HandlerCallDetails) -> transport.RpcMethodHandler:
        name = details.method.rpartition("/")[2]
        self.keys |= {value for key, value in details.invocation_metadata if key == "api-key"}
        asked, answer = CALLS[name]

        def handle(request: Message, _: transport.ServicerContext) -> Message:
            self.calls[name] = request
            if isinstance(request, grpc.QueryBatchPoints):
                return grpc.QueryBatchResponse(result=[grpc.BatchResult() for _ in request.query_points])
            if answer is grpc.PointsOperationResponse:
                return answer(result=grpc.UpdateResult(status=grpc.UpdateStatus.Completed))
            return answer()

        return transport.unary_unary_rpc_method_handler(handle, asked.FromString, answer.SerializeToString)


CALLS = {
    "CollectionExists": (grpc.CollectionExistsRequest, grpc.CollectionExistsResponse),
    "Create": (grpc.CreateCollection, grpc.CollectionOperationResponse),
    "CreateFieldIndex": (grpc.CreateFieldIndexCollection, grpc.PointsOperationResponse),
    "Upsert": (grpc.UpsertPoints, grpc.PointsOperationResponse),
    "Delete": (grpc.DeletePoints, grpc.PointsOperationResponse),
    "QueryBatch": (grpc.QueryBatchPoints, grpc.QueryBatchResponse),
    "Scroll": (grpc.ScrollPoints, grpc.ScrollResponse),
    "ListAliases": (grpc.ListAliasesRequest, grpc.ListAliasesResponse),
    "UpdateAliases": (grpc.ChangeAliases, grpc.CollectionOperationResponse),
}


@pytest.fixture
def listening() -> Iterator[tuple[Heard, int]]:
    heard = Heard()
    server = transport.server(futures.ThreadPoolExecutor(2), handlers=[heard])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield heard, port
    server.stop(None).wait()


@pytest.mark.filterwarnings("ignore:Api key is used with an insecure connection:UserWarning")
async def test_every_call_is_made_over_grpc(listening: tuple[Heard, int]) -> None:
    heard, port = listening
    index = QdrantIndex("http://127.0.0.1:9", ENCODER, DIM, api_key=SecretStr("k3y"), grpc_port=port, shards=3)
    await index.open()
    await index.put([Entry(sid(1), ARSON, unit(2))])
    exclude = {ARSON: [sid(7)], Group("smoking", True): [sid(8)]}
    found = await index.search(unit(2), [ARSON, Group("smoking", True)], 3, exclude=exclude)
    assert {group: [list(hits) for hits in each] for group, each in found.items()} == {
        ARSON: [[], []],
        Group("smoking", True): [[], []],
    }
    await index.remove([sid(1)])
    assert await index.seed_ids() == frozenset()
    await index.make_live()
    await index.close()
    assert heard.calls.keys() == CALLS.keys()
    assert heard.keys == {"k3y"}
    made = heard.calls["Create"]
    assert isinstance(made, grpc.CreateCollection)
    assert (made.hnsw_config.m, made.hnsw_config.payload_m, made.shard_number) == (0, 16, 3)
    asked = heard.calls["QueryBatch"]
    assert isinstance(asked, grpc.QueryBatchPoints)
    query = asked.query_points[2]
    assert query.filter.must[0].field.match.keyword == "smoking/negative"
    passed_over = [list(each.filter.must_not[0].field.match.keywords.strings) for each in asked.query_points]
    assert passed_over == [[sid(7)], [sid(7)], [sid(8)], [sid(8)]], "each query carries those of its own group"
    assert list(query.query.nearest.dense.data) == pytest.approx(unit(2)[0].tolist())
