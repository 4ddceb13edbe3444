"""`winnow seeds reindex`: has the bank indexed with another encoder, shows how far that is, and goes back."""

import asyncio
from typing import Annotated

import typer
from rich.console import Console

from services.clients import SeedCalls
from services.contracts import BankStatus, EncoderSpec, ReindexRequest, ReindexStatus, SwitchRequest
from services.deadline import Deadline
from services.errors import Conflict, Internal
from winnow.display import progress_bar, stderr_console, stdout_console
from winnow.report import printable
from winnow.seed_calls import ask, patiently
from winnow.seed_options import CALL_TIMEOUT_S, AsJson, CallTimeout, DataDir, Url

POLL_S = 1.0

app = typer.Typer()


@app.command()
def reindex(
    model: Annotated[
        str | None, typer.Option(help="open_clip name, hf-hub: name or directory; default: the router's setting.")
    ] = None,
    pretrained: Annotated[str | None, typer.Option(help="Tag of the weights, for an open_clip name.")] = None,
    precision: Annotated[str, typer.Option(help="In which it computes: fp32, bf16 or fp16.")] = "fp32",
    back: Annotated[bool, typer.Option("--back", help="Switch to the encoder before instead.")] = False,
    as_json: AsJson = False,
    url: Url = None,
    data_dir: DataDir = None,
    timeout: CallTimeout = CALL_TIMEOUT_S,
) -> None:
    """Index the bank with another encoder beside the live one, and switch to it when all of it is there.

    Videos are judged with the live one until then. Ctrl-C leaves it running. Needs a key with the scope `admin`.
    """

    async def work(calls: SeedCalls) -> BankStatus:
        if back:
            return await _back(calls, timeout)
        if model is None and pretrained is not None:
            raise ValueError("--pretrained goes with --model.")
        spec = None
        if model is not None:
            spec = EncoderSpec.model_validate({"model": model, "pretrained": pretrained, "precision": precision})
        begun = await calls.reindex(ReindexRequest(encoder=spec), Deadline.after(timeout))
        return await watched(calls, begun, stderr_console(), timeout_s=timeout)

    advice = {"conflict": "`winnow seeds stats` tells which encoder is live, and which one is being built."}
    bank = ask(work, url=url, data_dir=data_dir, advice=advice, interrupted=_goes_on)
    if as_json:
        typer.echo(bank.model_dump_json())
    else:
        before = f"; --back returns to {bank.previous}" if bank.previous else ""
        stdout_console().print(printable(f"The bank is searched with encoder {bank.encoder}{before}."), markup=False)


async def watched(calls: SeedCalls, begun: ReindexStatus, console: Console, *, timeout_s: float) -> BankStatus:
    """Show how far the bank is indexed until the new encoder is live.

    Args:
        calls: of the gateway; answers may come from replicas that do not know of it yet.
        begun: what was started.
        console: where the progress goes.
        timeout_s: seconds for one call; a service that is busy or restarts meanwhile is waited for.

    Raises:
        Internal: the new encoder could not be loaded or did not pass the check; the live one stays.
        Conflict: somebody else has started another one meanwhile.
    """
    with progress_bar(console) as bar:
        task = bar.add_task("Indexing", total=begun.total or None)
        while True:
            bank = await patiently(calls.bank, timeout_s)
            now = bank.reindex
            if now is not None and now.started_at > begun.started_at:
                raise Conflict("Another one was started meanwhile.")
            if now is not None and now.started_at == begun.started_at:
                bar.update(task, completed=now.done, total=now.total or None)
                if now.state == "failed":
                    raise Internal(f"The bank was not switched, and the live encoder stays: {now.error}.")
                if now.state == "live":
                    return bank
            await asyncio.sleep(POLL_S)


async def _back(calls: SeedCalls, timeout_s: float) -> BankStatus:
    bank = await calls.bank(Deadline.after(timeout_s))
    if bank.previous is None:
        raise ValueError("There is no encoder to go back to: the bank has had this one alone.")
    return await calls.switch(SwitchRequest(encoder=bank.previous), Deadline.after(timeout_s))


def _goes_on(console: Console) -> None:
    console.print("The router goes on with it: `winnow seeds stats` tells how far it is.", markup=False)
